/// The shape that a tensor of a checkpoint must have, by the config.
package struct ExpectedShape: Sendable, Hashable {
  /// The dimensions, outermost first.
  package let dimensions: [Int]
  /// The same in keys of the config, such as `intermediate_size × hidden_size`.
  package let formula: String

  init(_ extents: [Extent]) {
    dimensions = extents.map(\.count)
    formula = extents.map(\.formula).joined(separator: " × ")
  }

  /// A dimension, and how the config states it.
  struct Extent {
    let count: Int
    let formula: String
  }
}

extension Architecture {
  /// The shape that a tensor of a checkpoint must have.
  ///
  /// - Parameters:
  ///   - name: The name in the checkpoint.
  ///   - place: Its place, as `place(ofHuggingFaceName:)` finds it.
  ///   - sizes: The sizes of the model.
  ///   - tokenCount: The number of rows of the token embeddings.
  /// - Returns: The shape; nil for tensors whose shape is not known.
  package func expectedShape(
    ofHuggingFaceName name: String, at place: (layer: Int?, names: NamePair)?,
    _ sizes: ModelSizes, tokenCount: Int
  ) -> ExpectedShape? {
    if let number = layerNumber(ofHuggingFaceName: name) {
      let rank = layerNumbers.first { $0.ggufKey == number.ggufKey }?.rank ?? 0
      return ExpectedShape(Array(repeating: .init(count: 1, formula: "1"), count: rank))
    }
    guard let place else { return nil }
    let stem = place.names.huggingFace
    if let extents = sizes.varied?.extents(
      of: stem, layer: place.layer, sizes, tokenCount: tokenCount)
    {
      return ExpectedShape(isBias(name) ? Array(extents.prefix(1)) : extents)
    }
    let found =
      isEncoder
      ? sizes.encoderExtents(
        of: String(stem.dropFirst(place.layer == nil ? modelPath.count : 0)),
        tokenCount: tokenCount)
      : sizes.extents(of: stem, tokenCount: tokenCount, normsAllHeads: normsAllHeads)
    guard let extents = found else { return nil }
    return ExpectedShape(isBias(name) ? Array(extents.prefix(1)) : extents)
  }

  /// The same for a tensor whose place is not known yet.
  package func expectedShape(
    ofHuggingFaceName name: String, _ sizes: ModelSizes, tokenCount: Int
  ) -> ExpectedShape? {
    expectedShape(
      ofHuggingFaceName: name, at: place(ofHuggingFaceName: name), sizes, tokenCount: tokenCount)
  }

  /// Whether a tensor of a checkpoint is a bias.
  package func isBias(_ name: String) -> Bool {
    isEncoder || !otherNames.isEmpty
      ? plainName(name).hasSuffix(".bias") : name.hasSuffix(".bias")
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
    if stem.hasPrefix("linear_attn."), let linear {
      return linear.extents(of: stem, hidden)
    }
    if let found = mixerExtents(of: stem, hidden) { return found }
    switch stem.split(separator: ".").last {
    case "eh_proj":
      return [hidden, Extent(count: 2 * hidden.count, formula: "2 · hidden_size")]
    case "embed_tokens", "word_embeddings", "embeddings", "lm_head", "head":
      return [Extent(count: tokenCount, formula: "rows of the embeddings"), hidden]
    case let name? where latent != nil && Self.latentNames.contains(String(name)):
      return latent?.extents(of: String(name), hidden, headCount)
    case "q_proj":
      let formula = rowsPerQuery == 1 ? queries.formula : "\(rowsPerQuery) · \(queries.formula)"
      return [Extent(count: rowsPerQuery * queries.count, formula: formula), hidden]
    case "k_proj", "v_proj": return [keys, hidden]
    case "o_proj", "dense", "out_proj": return [hidden, queries]
    case "qkv_proj", "query_key_value":
      let formula = "(num_attention_heads + 2 · num_key_value_heads) · head_dim"
      return [Extent(count: queries.count + 2 * keys.count, formula: formula), hidden]
    case "g_proj":
      let isEach = gateRowCount != headCount
      let formula = isEach ? queries.formula : "num_attention_heads"
      return [Extent(count: gateRowCount ?? headCount, formula: formula), hidden]
    case "gate_proj" where stem.hasPrefix("self_attn."): return [queries, hidden]
    case "up_proj" where stem.hasSuffix(".experts.up_proj"): return [experts, inner, hidden]
    case "gate_proj", "up_proj", "w1", "w3", "c_fc", "fc1": return [inner, hidden]
    case "gate_up_proj" where stem.hasSuffix(".experts.gate_up_proj"):
      return [experts, doubled, hidden]
    case "down_proj" where stem.hasSuffix(".experts.down_proj"): return [experts, hidden, inner]
    case "gate_up_proj": return [doubled, hidden]
    case "down_proj", "w2", "c_proj", "fc2": return [hidden, inner]
    case "gate", "wg": return [experts, hidden]
    case "weight": return extents(ofCompleteName: stem, experts, doubled, inner, hidden)
    case "layer" where stem.hasSuffix("router.layer"): return [experts, hidden]
    case "e_score_correction_bias":
      // A matrix of one row in ERNIE.
      return stem.contains("moe_statics") ? [Extent(count: 1, formula: "1"), experts] : [experts]
    case "expert_bias": return [experts]
    case "enorm", "hnorm": return [hidden]
    case "router": return [experts, hidden]
    case "sinks": return [Extent(count: headCount, formula: "num_attention_heads")]
    case "gate_proj_bias", "up_proj_bias": return [experts, inner]
    case "down_proj_bias": return [experts, hidden]
    case "shared_expert_gate": return [Extent(count: 1, formula: "1"), hidden]
    case "query_layernorm", "key_layernorm", "q_layernorm", "k_layernorm": return [head]
    case "q_norm": return [normsAllHeads ? queries : head]
    case "k_norm": return [normsAllHeads ? keys : head]
    default: return stem.contains("norm") ? [hidden] : nil
    }
  }

  private static let latentNames: Set<String> = [
    "q_proj", "q_a_proj", "q_a_layernorm", "q_b_proj", "kv_a_proj_with_mqa", "kv_a_layernorm",
    "k_b_proj", "v_b_proj", "o_proj",
  ]

  /// The extents of matrices of all experts that a table names with their ending `weight`.
  private func extents(
    ofCompleteName name: String, _ experts: ExpectedShape.Extent, _ doubled: ExpectedShape.Extent,
    _ inner: ExpectedShape.Extent, _ hidden: ExpectedShape.Extent
  ) -> [ExpectedShape.Extent]? {
    let stack = name.hasPrefix("shared_mlp.") ? [] : [experts]
    return switch name.split(separator: ".").dropLast().last {
    case "input_linear": stack + [doubled, hidden]
    case "output_linear": stack + [hidden, inner]
    case "down_proj": [experts, hidden, inner]
    case "gate_proj", "up_proj": [experts, inner, hidden]
    case "pre_ff_layernorm": [hidden]
    default: nil
    }
  }

  /// The inner width of a feed-forward network: of an expert, of the shared one, or without experts.
  private func innerExtent(of stem: String) -> ExpectedShape.Extent {
    let paths = [".experts.", ".switch_mlp.", ".switch_glu."]
    if let width = experts?.width, paths.contains(where: { stem.contains($0) }) {
      return .init(count: width, formula: "moe_intermediate_size")
    }
    if let width = experts?.sharedWidth,
      stem.contains(".shared_expert") || stem.contains("shared_mlp.")
    {
      return .init(count: width, formula: "the inner width of shared experts")
    }
    return .init(count: feedForwardSize, formula: "intermediate_size")
  }
}

extension LatentAttentionSizes {
  /// The extents of a tensor of attention.
  fileprivate func extents(
    of name: String, _ hidden: ExpectedShape.Extent, _ headCount: Int
  ) -> [ExpectedShape.Extent]? {
    typealias Extent = ExpectedShape.Extent
    let heads = Extent(count: headCount, formula: "num_attention_heads")
    let queries = Extent(
      count: headCount * headSize,
      formula: "num_attention_heads · (qk_nope_head_dim + qk_rope_head_dim)")
    let values = Extent(count: headCount * valueSize, formula: "num_attention_heads · v_head_dim")
    let queryRank = self.queryRank.map { Extent(count: $0, formula: "q_lora_rank") }
    let rank = Extent(count: keyValueRank, formula: "kv_lora_rank")
    let compressed = Extent(
      count: keyValueRank + rotatedSize, formula: "(kv_lora_rank + qk_rope_head_dim)")
    switch name {
    case "q_proj": return queryRank == nil ? [queries, hidden] : nil
    case "q_a_proj": return queryRank.map { [$0, hidden] }
    case "q_a_layernorm": return queryRank.map { [$0] }
    case "q_b_proj": return queryRank.map { [queries, $0] }
    case "kv_a_proj_with_mqa": return [compressed, hidden]
    case "kv_a_layernorm": return [rank]
    case "k_b_proj": return [heads, rank, Extent(count: plainSize, formula: "qk_nope_head_dim")]
    case "v_b_proj": return [heads, Extent(count: valueSize, formula: "v_head_dim"), rank]
    default: return [hidden, values]
    }
  }
}

extension LinearAttentionSizes {
  /// The extents of a tensor of linear attention, as llama.cpp arranges it.
  fileprivate func extents(
    of stem: String, _ hidden: ExpectedShape.Extent
  ) -> [ExpectedShape.Extent]? {
    typealias Extent = ExpectedShape.Extent
    let heads = Extent(count: valueHeadCount, formula: "linear_num_value_heads")
    let values = Extent(
      count: valueRowCount, formula: "linear_num_value_heads · linear_value_head_dim")
    let channels = Extent(count: channelCount, formula: "the rows of queries, keys and values")
    switch stem {
    case "linear_attn.in_proj_qkv": return [channels, hidden]
    case "linear_attn.in_proj_z": return [values, hidden]
    case "linear_attn.in_proj_a", "linear_attn.in_proj_b": return [heads, hidden]
    case "linear_attn.in_proj_ba":
      return [Extent(count: 2 * heads.count, formula: "2 · \(heads.formula)"), hidden]
    case "linear_attn.conv1d":
      return [channels, Extent(count: kernelSize, formula: "linear_conv_kernel_dim")]
    case "linear_attn.A_log", "linear_attn.dt_bias": return [heads]
    case "linear_attn.norm": return [Extent(count: headSize, formula: "linear_value_head_dim")]
    case "linear_attn.out_proj": return [hidden, values]
    default: return nil
    }
  }
}
