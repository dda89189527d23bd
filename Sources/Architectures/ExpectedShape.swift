/// The shape that a tensor of a checkpoint must have, by the config.
package struct ExpectedShape: Sendable, Hashable {
  /// The dimensions, outermost first.
  package let dimensions: [Int]
  /// The same in keys of the config, such as `intermediate_size × hidden_size`.
  package let formula: String

  fileprivate init(_ extents: [Extent]) {
    dimensions = extents.map(\.count)
    formula = extents.map(\.formula).joined(separator: " × ")
  }

  /// A dimension, and how the config states it.
  fileprivate struct Extent {
    let count: Int
    let formula: String
  }
}

extension Architecture {
  /// The shape that a tensor of a checkpoint must have.
  ///
  /// - Parameters:
  ///   - name: The name in the checkpoint.
  ///   - sizes: The sizes of the model.
  ///   - tokenCount: The number of rows of the token embeddings.
  /// - Returns: The shape; nil for tensors that are in no table.
  package func expectedShape(
    ofHuggingFaceName name: String, _ sizes: ModelSizes, tokenCount: Int
  ) -> ExpectedShape? {
    guard let place = place(ofHuggingFaceName: name),
      let extents = sizes.extents(of: place.names.huggingFace, tokenCount: tokenCount)
    else { return nil }
    return ExpectedShape(name.hasSuffix(".bias") ? Array(extents.prefix(1)) : extents)
  }
}

extension ModelSizes {
  fileprivate func extents(of stem: String, tokenCount: Int) -> [ExpectedShape.Extent]? {
    typealias Extent = ExpectedShape.Extent
    let hidden = Extent(count: hiddenSize, formula: "hidden_size")
    let inner = Extent(count: feedForwardSize, formula: "intermediate_size")
    let queries = Extent(count: headCount * headSize, formula: "num_attention_heads · head_dim")
    let keys = Extent(
      count: keyValueHeadCount * headSize, formula: "num_key_value_heads · head_dim")
    switch stem.split(separator: ".").last {
    case "embed_tokens", "lm_head":
      return [Extent(count: tokenCount, formula: "rows of the embeddings"), hidden]
    case "q_proj": return [queries, hidden]
    case "k_proj", "v_proj": return [keys, hidden]
    case "o_proj": return [hidden, queries]
    case "qkv_proj":
      let formula = "(num_attention_heads + 2 · num_key_value_heads) · head_dim"
      return [Extent(count: queries.count + 2 * keys.count, formula: formula), hidden]
    case "gate_proj", "up_proj", "w1", "w3": return [inner, hidden]
    case "gate_up_proj":
      return [Extent(count: 2 * inner.count, formula: "2 · intermediate_size"), hidden]
    case "down_proj", "w2": return [hidden, inner]
    case "gate": return [Extent(count: expertCount ?? 0, formula: "num_local_experts"), hidden]
    case "q_norm", "k_norm": return [Extent(count: headSize, formula: "head_dim")]
    default: return stem.contains("norm") ? [hidden] : nil
    }
  }
}
