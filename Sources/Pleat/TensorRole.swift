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

/// Roles by name, each found once.
struct TensorRoles {
  private struct Key: Hashable {
    var name: ExactName
    var rank: Int
  }

  private var known: [Key: TensorRole] = [:]

  /// The role of a tensor.
  mutating func role(of info: TensorInfo) -> TensorRole {
    let key = Key(name: ExactName(Self.withoutNumbers(info.name)), rank: info.shape.rank)
    if let role = known[key] { return role }
    let role = TensorRole(of: info)
    known[key] = role
    return role
  }

  /// A name without the words that begin with a digit, as those of layers and experts do: they decide
  /// nothing.
  private static func withoutNumbers(_ name: String) -> String {
    // At most the bytes of the name are written, and as many are told.
    unsafe String(unsafeUninitializedCapacity: name.utf8.count) { bytes in
      var count = 0
      var last = UInt8(ascii: ".")
      var isNumber = false
      for byte in name.utf8 {
        if last == UInt8(ascii: ".") { isNumber = 48...57 ~= byte }
        last = byte
        guard !isNumber || byte == UInt8(ascii: ".") else { continue }
        unsafe bytes.initializeElement(at: count, to: byte)
        count += 1
      }
      return count
    }
  }
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
