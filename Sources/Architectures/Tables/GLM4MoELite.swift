internal import Bytes

extension Architecture {
  /// GLM 4.7 Flash.
  static let glm4MoELite = latent(
    ["glm4_moe_lite"], className: "Glm4MoeLiteForCausalLM", hasSigmoidRouter: true,
    hasPredictionLayers: true, specialTokens: glm4MoE.specialTokens,
    limits: [
      ConfigLimit("rope_interleave", only: [true]),
      ConfigLimit("mlp_layer_types", expected: "first_k_dense_replace dense layers, then others") {
        guard let types = $0["mlp_layer_types"]?.array else { return nil }
        let leading = $0["first_k_dense_replace"]?.int ?? 0
        let expected = types.indices.map { $0 < leading ? "dense" : "sparse" }
        guard types.map(\.string) != expected else { return nil }
        return "\(types.count { $0 == "dense" }) dense layers"
      },
    ])
}
