internal import Architectures

/// The kinds of tensors that mixes distinguish, by name.
enum MixPart: Sendable, Hashable {
  /// The output head.
  case head
  /// A table of token embeddings.
  case embeddings
  /// The projection to values, alone or fused with others.
  case values
  /// The projection to keys.
  case keys
  /// The projection after attention.
  case attentionOutput
  /// The last projection of a feed-forward network, also of experts.
  case down
  /// Everything else.
  case other

  /// The kind of a tensor, and the part of its name that all tensors of the kind share.
  static func named(_ name: String) -> (part: MixPart, noun: String) {
    if name == TensorNames.ggufHead { return (.head, "the output head") }
    if tables.contains(name) { return (.embeddings, "token embeddings") }
    for (text, noun, part) in words where name.contains(bytes: text) { return (part, noun) }
    return (.other, "")
  }

  /// Whether a name is that of the embeddings per layer.
  static func isPerLayerTable(_ name: String) -> Bool { name == perLayerTable }

  private static let perLayerTable = "per_layer_token_embd.weight"
  private static let tables: Set<String> = [TensorNames.ggufEmbeddings, perLayerTable]

  // The first that a name contains decides.
  private static let words: [(text: String, noun: String, part: MixPart)] = [
    ("attn_qkv.weight", "attn_qkv", .values), ("attn_kv_b.weight", "attn_kv_b", .values),
    ("attn_v.weight", "attn_v", .values), ("attn_k.weight", "attn_k", .keys),
    ("attn_q.weight", "attn_q", .other), ("attn_output.weight", "attn_output", .attentionOutput),
    ("ffn_up", "ffn_up", .other), ("ffn_gate", "ffn_gate", .other),
    ("ffn_down", "ffn_down", .down),
  ]
}
