extension ModelSizes {
  /// The extents of a tensor of an encoder, by its name in the tables; nil for other names.
  func encoderExtents(of stem: String, tokenCount: Int) -> [ExpectedShape.Extent]? {
    typealias Extent = ExpectedShape.Extent
    let hidden = Extent(count: hiddenSize, formula: "hidden_size")
    let inner = Extent(count: feedForwardSize, formula: "intermediate_size")
    func times(_ factor: Int, _ extent: Extent) -> Extent {
      Extent(count: factor * extent.count, formula: "\(factor) · \(extent.formula)")
    }
    switch stem {
    case "embeddings.word_embeddings", "embeddings.tok_embeddings":
      return [Extent(count: tokenCount, formula: "rows of the embeddings"), hidden]
    case "embeddings.position_embeddings":
      return [Extent(count: positionCount ?? 0, formula: "max_position_embeddings"), hidden]
    case "embeddings.token_type_embeddings":
      return [Extent(count: tokenTypeCount ?? 0, formula: "type_vocab_size"), hidden]
    case "attention.self.query", "attention.self.key", "attention.self.value",
      "attention.output.dense", "attention.q_lin", "attention.k_lin", "attention.v_lin",
      "attention.out_lin", "attn.out_proj", "attn.Wo":
      return [hidden, hidden]
    case "attn.Wqkv": return [times(3, hidden), hidden]
    case "intermediate.dense", "ffn.lin1", "mlp.fc11", "mlp.fc12": return [inner, hidden]
    case "mlp.Wi": return [times(2, inner), hidden]
    case "output.dense", "ffn.lin2", "mlp.fc2", "mlp.Wo": return [hidden, inner]
    default: return stem.lowercased().contains("norm") || stem == "emb_ln" ? [hidden] : nil
    }
  }
}
