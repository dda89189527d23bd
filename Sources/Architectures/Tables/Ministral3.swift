internal import Bytes

extension Architecture {
  /// Ministral 3, which is Mistral with queries that grow with their position.
  static let ministral3 = Architecture(
    ggufName: "mistral3", modelTypes: ["ministral3"], className: "Ministral3ForCausalLM",
    interleavesRotaryRows: llama.interleavesRotaryRows, modelNames: llama.modelNames,
    layerNames: llama.layerNames,
    defaults: [
      "head_dim": 128,
      "rope_parameters": [
        "rope_type": "yarn", "rope_theta": 1_000_000, "factor": 16,
        "original_max_position_embeddings": 16_384, "beta_fast": 32, "beta_slow": 1,
        "mscale_all_dim": 1, "mscale": 1, "llama_4_scaling_beta": .number(0.1),
      ],
    ],
    hyperparameters: llama.hyperparameters + [.queryGrowth, .yarnScaleOfAll],
    traits: RuntimeTraits(
      biases: [], ropeScalings: [.yarn], sliding: .ignored(defaultWindow: nil),
      limits: [queryGrowth]))

  /// llama.cpp knows the original context length of YaRN only.
  private static let queryGrowth = ConfigLimit(
    RopeParameters.queryGrowthKey, expected: "a number with rope_type yarn, else 0"
  ) { config in
    let rope = RopeParameters.object(in: config).value
    guard rope.members != nil else { return nil }
    let growth = rope[RopeParameters.queryGrowthKey] ?? .null
    let type = rope["rope_type"] ?? rope["type"] ?? "default"
    guard growth.double == nil || type != "yarn" && growth.double != 0 else { return nil }
    return "\(JSONWriter.text(growth)) with rope_type \(JSONWriter.text(type))"
  }
}
