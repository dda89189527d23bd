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
      let extents = sizes.extents(
        of: place.names.huggingFace, tokenCount: tokenCount, normsAllHeads: normsAllHeads)
    else { return nil }
    return ExpectedShape(name.hasSuffix(".bias") ? Array(extents.prefix(1)) : extents)
  }
}

extension ModelSizes {
  fileprivate func extents(
    of stem: String, tokenCount: Int, normsAllHeads: Bool
  ) -> [ExpectedShape.Extent]? {
    typealias Extent = ExpectedShape.Extent
    let hidden = Extent(count: hiddenSize, formula: "hidden_size")
    let inner = innerExtent(of: stem)
    let queries = Extent(count: headCount * headSize, formula: "num_attention_heads · head_dim")
    let keys = Extent(
      count: keyValueHeadCount * headSize, formula: "num_key_value_heads · head_dim")
    let head = Extent(count: headSize, formula: "head_dim")
    let experts = Extent(count: expertCount ?? 0, formula: "the number of experts")
    let doubled = Extent(count: 2 * inner.count, formula: "2 · \(inner.formula)")
    switch stem.split(separator: ".").last {
    case "eh_proj":
      return [hidden, Extent(count: 2 * hidden.count, formula: "2 · hidden_size")]
    case "embed_tokens", "lm_head", "head":
      return [Extent(count: tokenCount, formula: "rows of the embeddings"), hidden]
    case "q_proj": return [queries, hidden]
    case "k_proj", "v_proj": return [keys, hidden]
    case "o_proj", "dense": return [hidden, queries]
    case "qkv_proj":
      let formula = "(num_attention_heads + 2 · num_key_value_heads) · head_dim"
      return [Extent(count: queries.count + 2 * keys.count, formula: formula), hidden]
    case "gate_proj", "up_proj", "w1", "w3", "c_fc", "fc1": return [inner, hidden]
    case "gate_up_proj" where stem.hasSuffix(".experts.gate_up_proj"):
      return [experts, doubled, hidden]
    case "down_proj" where stem.hasSuffix(".experts.down_proj"): return [experts, hidden, inner]
    case "gate_up_proj": return [doubled, hidden]
    case "down_proj", "w2", "c_proj", "fc2": return [hidden, inner]
    case "gate": return [experts, hidden]
    case "weight": return extents(ofCompleteName: stem, experts, doubled, inner, hidden)
    case "layer" where stem.hasSuffix("router.layer"): return [experts, hidden]
    case "e_score_correction_bias":
      // A matrix of one row in ERNIE.
      return stem.contains("moe_statics") ? [Extent(count: 1, formula: "1"), experts] : [experts]
    case "enorm", "hnorm": return [hidden]
    case "shared_expert_gate": return [Extent(count: 1, formula: "1"), hidden]
    case "query_layernorm", "key_layernorm": return [head]
    case "q_norm": return [normsAllHeads ? queries : head]
    case "k_norm": return [normsAllHeads ? keys : head]
    default: return stem.contains("norm") ? [hidden] : nil
    }
  }

  /// The extents of matrices of all experts that a table names with their ending `weight`.
  private func extents(
    ofCompleteName name: String, _ experts: ExpectedShape.Extent, _ doubled: ExpectedShape.Extent,
    _ inner: ExpectedShape.Extent, _ hidden: ExpectedShape.Extent
  ) -> [ExpectedShape.Extent]? {
    switch name.split(separator: ".").dropLast().last {
    case "input_linear": [experts, doubled, hidden]
    case "output_linear": [experts, hidden, inner]
    default: nil
    }
  }

  /// The inner width of a feed-forward network: of an expert, of the shared one, or without experts.
  private func innerExtent(of stem: String) -> ExpectedShape.Extent {
    if let width = experts?.width, stem.contains(".experts.") {
      return .init(count: width, formula: "moe_intermediate_size")
    }
    if let width = experts?.sharedWidth, stem.contains(".shared_expert") {
      return .init(count: width, formula: "the inner width of shared experts")
    }
    return .init(count: feedForwardSize, formula: "intermediate_size")
  }
}
