internal import TensorModel

/// What a tensor is for, as its name tells; decides what is quantized when no rule says.
enum TensorRole: Sendable, Hashable {
  /// A matrix, or a stack of matrices, that inputs are multiplied with.
  case linear
  /// The table of token embeddings.
  case embedding
  /// The matrix that makes logits.
  case head
  /// Everything else, for the reason given.
  case other(String)

  /// The role of a tensor, by the names of Hugging Face and of llama.cpp.
  init(of info: TensorInfo) {
    // Numbers of layers and experts decide nothing.
    let words = info.name.utf8.split(separator: UInt8(ascii: "."))
      .filter { $0.first.map { !(48...57 ~= $0) } ?? false }.map { Substring($0).lowercased() }
    if info.shape.rank < 2 {
      self = .other("a vector")
    } else if info.shape.rank > 3 {
      self = .other("\(info.shape.rank) dimensions")
    } else if let role = words.lazy.compactMap(Self.role).first {
      self = role
    } else if words == ["output", "weight"] {
      self = .head
    } else if words.last == "weight" || words.contains("experts") {
      self = .linear
    } else {
      self = .other("not a weight of a linear layer")
    }
  }

  /// The role that one word of a name decides.
  private static func role(of word: String) -> TensorRole? {
    if let role = roles[word] { return role }
    if word.begins("rotary") || word.begins("rope_") { return .other("a rotary table") }
    if word.begins("conv") || word.begins("ssm_conv") { return .other("a convolution") }
    if word.begins("ln_") || word.isNorm { return .other("a norm") }
    return nil
  }

  private static let roles: [String: TensorRole] = [
    "embed_tokens": .embedding, "token_embd": .embedding, "wte": .embedding,
    "word_embeddings": .embedding, "tok_embeddings": .embedding,
    "lm_head": .head, "embed_out": .head,
    "bias": .other("a bias"),
    "inv_freq": .other("a rotary table"),
    "wpe": .other("position embeddings"), "embed_positions": .other("position embeddings"),
    "position_embeddings": .other("position embeddings"),
    "position_embd": .other("position embeddings"), "pos_embed": .other("position embeddings"),
    "token_types": .other("token type embeddings"),
    "token_type_embeddings": .other("token type embeddings"),
    // "gate" alone routes to experts; "gate_proj" is half of a feed-forward layer.
    "gate": .other("a router"), "router": .other("a router"),
    "ffn_gate_inp": .other("a router"), "ffn_gate_inp_shexp": .other("a router"),
    "shared_expert_gate": .other("a router"),
  ]
}

extension String {
  fileprivate func begins(_ prefix: String) -> Bool { utf8.starts(with: prefix.utf8) }

  /// Whether "norm" is a part of it, as in `input_layernorm`, `q_norm` and `layer_norm1`.
  fileprivate var isNorm: Bool {
    var rest = utf8[...]
    while let start = rest.firstIndex(of: UInt8(ascii: "n")) {
      rest = rest[start...]
      if rest.starts(with: "norm".utf8) { return true }
      rest = rest.dropFirst()
    }
    return false
  }
}
