internal import Bytes
internal import TensorModel

extension Architecture {
  /// Ling 1 and 1.5, with experts in all layers, and one matrix for queries, keys and values.
  ///
  /// Their class is published beside the weights; transformers itself has none.
  static let bailingMoE = Architecture(
    ggufName: "bailingmoe", modelTypes: ["bailing_moe"], className: "BailingMoeForCausalLM",
    needsRemoteCode: true, interleavesRotaryRows: true,
    modelNames: [("model.word_embeddings", "token_embd"), ("model.norm", "output_norm")]
      + CommonNames.head,
    layerNames: [
      ("attention.q_proj", "attn_q"), ("attention.k_proj", "attn_k"),
      ("attention.v_proj", "attn_v"), ("attention.dense", "attn_output"),
    ] + CommonNames.normsBefore + CommonNames.router + CommonNames.sharedExperts,
    experts: ExpertKeys(
      counts: ["num_experts"], width: "moe_intermediate_size", sharedCount: "num_shared_experts",
      leadingCount: "first_k_dense_replace"),
    expertNames: CommonNames.experts,
    arrangements: [TensorArrangement(name: fusedName, views: projections)],
    returns: [
      TensorReturn(
        fusedName, of: ["attn_q.weight", "attn_k.weight", "attn_v.weight"], view: fused)
    ],
    needsHead: true,
    defaults: ["norm_topk_prob": true, "routed_scaling_factor": 1],
    multipliers: [("routed_scaling_factor", "expert_weights_scale")],
    flags: [("norm_topk_prob", "expert_weights_norm")],
    hyperparameters: [
      .rotatedCount, .vocabularySize, .expertCount, .usedExpertCount, .expertWidth,
      .sharedExpertCount, .leadingCount,
    ],
    traits: RuntimeTraits(
      biases: [],
      limits: bailingLimits + [
        ConfigLimit("score_function", only: ["softmax"]),
        ConfigLimit("use_qk_norm", only: [false]),
        number("first_k_dense_replace", 0), number("routed_scaling_factor", 1),
      ]))

  private static let fusedName = "attention.query_key_value.weight"

  /// What llama.cpp computes in neither version.
  static let bailingLimits = [
    ConfigLimit("use_bias", only: [false], default: false),
    ConfigLimit("use_qkv_bias", only: [false]),
    ConfigLimit("norm_head", only: [false]),
  ]

  /// A limit of a number that the metadata states.
  static func number(_ key: String, _ only: Int) -> ConfigLimit {
    ConfigLimit(key, expected: "\(only)") { config in
      guard let stated = config[key], stated != .null, stated.double != Double(only) else {
        return nil
      }
      return JSONWriter.text(stated)
    }
  }

  /// The numbers of heads of queries, keys and values, and the rows of a head.
  private static func heads(
    _ values: ConfigValues
  ) throws(ModelError) -> (counts: [Int], size: Int) {
    let count = try values.extent("num_attention_heads")
    let keyCount = try values.extent("num_key_value_heads")
    let isStated = values["head_dim"] != nil
    let size = try isStated ? values.extent("head_dim") : values.extent("hidden_size") / count
    return ([count, keyCount, keyCount], size)
  }

  /// Queries, keys and values, one after the other.
  private static func projections(
    of tensor: TensorInfo, _ values: ConfigValues
  ) throws(ModelError) -> [TensorView]? {
    let heads = try heads(values)
    let width = tensor.shape.columnCount
    let counts = heads.counts.map { $0 * heads.size }
    guard tensor.shape.dimensions == [counts.reduce(0, +), width] else { return nil }
    var views: [TensorView] = []
    var first = 0
    for (name, count) in zip(["q_proj", "k_proj", "v_proj"], counts) {
      guard let shape = Shape(validating: [count, width]) else { return nil }
      var view = TensorView(name: "attention.\(name).weight", shape: shape, source: 0)
      view.rows = [RowSelection(from: first, count: count)]
      views.append(view)
      first += count
    }
    return views
  }

  /// The same as one matrix, in which pairs of rows are half a head apart again.
  private static func fused(
    of parts: [TensorView], _ values: ConfigValues
  ) throws(ModelError) -> TensorView? {
    let heads = try heads(values)
    let counts = heads.counts.map { $0 * heads.size }
    guard heads.size.isMultiple(of: 2), parts.map(\.shape.rowCount) == counts else { return nil }
    func halves(from first: Int, _ count: Int) -> RowSelection {
      RowSelection(from: first, [(count, heads.size), (2, 1), (heads.size / 2, 2)])
    }
    let rows = [
      halves(from: 0, heads.counts[0]), halves(from: counts[0], heads.counts[1]),
      RowSelection(from: counts[0] + counts[1], count: counts[2]),
    ]
    return .joiningRows(of: parts, [counts.reduce(0, +), parts[0].shape.columnCount], rows: rows)
  }
}
