internal import Bytes

extension Architecture {
  /// HunYuan with experts in all layers, and a feed-forward network that all tokens use.
  static let hunYuanMoE = Architecture(
    ggufName: "hunyuan-moe", modelTypes: ["hunyuan_v1_moe"],
    className: "HunYuanMoEV1ForCausalLM",
    interleavesRotaryRows: hunYuanDense.interleavesRotaryRows,
    modelNames: hunYuanDense.modelNames,
    layerNames: CommonNames.attention + CommonNames.normsBefore + [
      ("self_attn.query_layernorm", "attn_q_norm"), ("self_attn.key_layernorm", "attn_k_norm"),
    ],
    experts: ExpertKeys(
      counts: ["num_experts"], usedCount: "moe_topk", width: "intermediate_size",
      sharedCount: "num_shared_expert", sharedWidth: "intermediate_size"),
    expertNames: CommonNames.experts,
    laterNames: [("mlp.gate.wg", "ffn_gate_inp")] + CommonNames.sharedNetwork,
    stackNames: CommonNames.stacks,
    defaults: ["num_experts": 1, "moe_topk": 1, "num_shared_expert": 1],
    hyperparameters: [
      .expertCount, .usedExpertCount, .expertWidth, .sharedExpertCount, .sharedExpertWidth,
    ],
    traits: RuntimeTraits(
      biases: [], biasKeys: [("attention_bias", RuntimeTraits.attention)],
      limits: [
        ConfigLimit("use_qk_norm", only: [true]), ConfigLimit("use_cla", only: [false]),
        ConfigLimit("use_mixed_mlp_moe", only: [true]),
        ConfigLimit("num_shared_expert", expected: "1") { config in
          others("num_shared_expert", than: 1, in: config)
        },
        // Transformers does not read it.
        ConfigLimit("moe_intermediate_size", expected: "intermediate_size") { config in
          config["intermediate_size"].flatMap {
            others("moe_intermediate_size", than: $0, in: config)
          }
        },
      ]))

  /// A number, or a list of numbers for each layer, that has others than one; otherwise nil.
  private static func others(_ key: String, than value: JSONValue, in config: JSONValue) -> String?
  {
    guard let stated = config[key], stated != .null else { return nil }
    return (stated.array ?? [stated]).allSatisfy { $0 == value } ? nil : JSONWriter.text(stated)
  }
}
