/// Layers that some checkpoints store as one matrix, or as a stack, and others one by one.
///
/// The rows of the parts stand one after another. Names lack the path of the layer, which ends in a
/// number.
package enum FusedLayers {
  /// A matrix, and the layers whose rows it contains, in order.
  package static let matrices: [(fused: String, parts: [String])] = [
    ("self_attn.qkv_proj", attention), ("self_attn.W_pack", attention),
    ("mlp.gate_up_proj", ["mlp.gate_proj", "mlp.up_proj"]),
  ]

  private static let attention = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]

  /// A stack of experts, and the layers of each expert, with `*` for its number, in order.
  package static let stacks: [(fused: String, parts: [String])] = [
    ("mlp.experts.gate_up_proj", ["mlp.experts.*.gate_proj", "mlp.experts.*.up_proj"]),
    ("mlp.experts.down_proj", ["mlp.experts.*.down_proj"]),
    (
      "mlp.experts.gate_up_proj",
      ["block_sparse_moe.experts.*.w1", "block_sparse_moe.experts.*.w3"]
    ),
    ("mlp.experts.down_proj", ["block_sparse_moe.experts.*.w2"]),
    ("feed_forward.experts.gate_up_proj", feedForward),
    (
      "feed_forward.experts.down_proj",
      [
        "feed_forward.experts.*.w2"
      ]
    ),
  ]

  private static let feedForward = ["feed_forward.experts.*.w1", "feed_forward.experts.*.w3"]

  /// A name in two parts: the path that ends with the last layer number and a dot, and the rest.
  ///
  /// Nil if the name has no number. Numbers of experts belong to the rest.
  package static func split(_ name: String) -> (path: String, rest: String)? {
    let words = name.split(separator: ".", omittingEmptySubsequences: false)
    let expert = words.firstIndex(of: "experts") ?? words.endIndex
    guard let index = words[..<expert].lastIndex(where: { Int($0) != nil }) else { return nil }
    return (
      words[...index].joined(separator: ".") + ".",
      words[(index + 1)...].joined(separator: ".")
    )
  }
}
