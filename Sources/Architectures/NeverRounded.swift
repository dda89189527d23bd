/// The tensors that llama-quantize never rounds, and the same tensors in Hugging Face checkpoints.
///
/// They are small, and a rounded one costs accuracy, or is read by runtimes as plain numbers only.
package enum NeverRounded {
  /// Why a tensor is never rounded.
  ///
  /// - Parameters:
  ///   - words: The words of its name in lower case, without numbers.
  ///   - architecture: llama.cpp's name of the architecture; nil for a Hugging Face checkpoint.
  /// - Returns: The reason; nil if the name does not exclude that it is rounded.
  static func reason(_ words: [String], _ architecture: String?) -> String? {
    var previous = ""
    for (index, word) in words.enumerated() {
      // The layers around a short convolution have its name in front.
      let next = index + 1 < words.count ? words[index + 1] : ""
      let isPath = word == "conv" && ["in_proj", "out_proj"].contains(next)
      if !isPath, let reason = reason(word, after: previous) { return reason }
      previous = word
    }
    return architecture.flatMap { Self.reason(words.joined(separator: "."), inGGUFOf: $0) }
  }

  /// Why llama-quantize does not round a tensor of one architecture only; nil for other tensors.
  package static func reason(_ name: String, inGGUFOf architecture: String) -> String? {
    guard architecture == "glm5-next", glm5.contains(where: { name.contains(bytes: $0) })
    else { return nil }
    return "a small matrix of GLM 5"
  }

  private static func reason(_ word: String, after previous: String) -> String? {
    if let reason = exact[word] { return reason }
    if timeMixLeaves.contains(word), attention.contains(previous) { return timeMix }
    if previous == "indexer", word == "q_proj" || word == "k_proj" { return indexer }
    if previous == "sam", word == "neck" || word.begins("net_") { return "a part of SAM" }
    if previous == "mm", word == "patch_merger" { return "a patch merger" }
    if TensorNames.isRelativeBias(word) { return "relative position biases" }
    if TensorNames.isPositions(word) { return "position embeddings" }
    if TensorNames.isTokenTypes(word) { return "token type embeddings" }
    if let found = beginnings.first(where: { word.begins($0.text) }) { return found.reason }
    if let found = parts.first(where: { word.contains(bytes: $0.text) }) { return found.reason }
    return isConvolution(word) ? "a convolution" : nil
  }

  private static func isConvolution(_ word: String) -> Bool {
    word.begins("conv") || word.begins("ssm_conv")
      || ["_conv", "conv1d", "conv2d"].contains { word.hasSuffix($0) }
  }

  private static let timeMix = "a time mix of RWKV"
  private static let indexer = "an indexer"
  private static let router = "a router"

  /// Reasons for whole words.
  private static let exact: [String: String] = {
    var reasons = [
      "bias": "a bias", "inv_freq": "a rotary table",
      // "gate" alone routes to experts; "gate_proj" is half of a feed-forward layer.
      "gate": router, "ffn_gate_inp": router, "ffn_gate_inp_shexp": router,
      "ffn_gate_tid2eid": router, "shared_expert_gate": router,
      "per_layer_model_proj": "a projection to per-layer inputs",
      "per_layer_model_projection": "a projection to per-layer inputs",
      "index_q_proj": indexer, "index_k_proj": indexer,
      "patch_embd": "patch embeddings", "codebook": "a codebook", "code_embd": "a codebook",
      "time_faaaa": timeMix, "time_first": timeMix,
    ]
    for leaf in timeMixLeaves { reasons["time_mix_" + leaf] = timeMix }
    for leaf in ["first", "decay_w1", "decay_w2", "lerp_fused"] {
      reasons["time_mix_" + leaf] = timeMix
    }
    for leaf in ["w", "a", "v", "g"] { reasons[leaf + "_lora"] = timeMix }
    return reasons
  }()

  /// The last words of matrices of RWKV, after a word for attention or in `time_mix_w1`.
  private static let timeMixLeaves: Set<String> = [
    "w0", "w1", "w2", "v0", "v1", "v2", "a0", "a1", "a2", "g1", "g2",
  ]
  private static let attention: Set<String> = ["attention", "self_attn", "attn", "att"]

  private static let beginnings: [(text: String, reason: String)] = [
    ("rotary", "a rotary table"), ("rope_", "a rotary table"), ("ln_", "a norm"),
    ("time_maa", timeMix), ("time_decay", timeMix),
  ]

  private static let parts: [(text: String, reason: String)] = [
    ("norm", "a norm"), ("router", router), ("altup", "a part of AltUp"),
    ("laurel", "a part of LAuReL"), ("_bias", "a bias"),
  ]

  /// Parts of names that exclude a tensor of glm5-next.
  private static let glm5 = [
    "hc_", "indexer.attn_q_b", "indexer.attn_k", "indexer.proj", "indexer_compressor_gate",
    "indexer_compressor_ape", "ssm_f_a.weight", "ssm_f_b.weight", "ssm_g_a.weight",
    "ssm_g_b.weight", "ssm_beta.weight", "attn_kv_a_mqa.weight", "attn_k_b.weight",
    "attn_v_b.weight",
  ]
}

extension String {
  /// Whether the text begins with another, byte by byte.
  func begins(_ prefix: String) -> Bool { utf8.starts(with: prefix.utf8) }

  /// Whether the text contains another, byte by byte.
  package func contains(bytes part: String) -> Bool {
    var rest = utf8[...]
    while rest.count >= part.utf8.count {
      if rest.starts(with: part.utf8) { return true }
      rest = rest.dropFirst()
    }
    return false
  }
}
