package import TensorModel

/// The purpose of a tensor, which decides how it is quantized if no rule applies.
package enum TensorRole: Sendable, Hashable {
  /// A matrix, or a stack of matrices, that inputs are multiplied by.
  case linear
  /// The table of token embeddings.
  case embedding
  /// The output head, which computes logits.
  case head
  /// Everything else, for the reason given.
  case other(String)

  /// Derives the role of a tensor from its rank and its name in Hugging Face or llama.cpp.
  package init(of info: TensorInfo) {
    // Layer and expert numbers do not affect the role.
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

  /// The role that a word of a name implies; nil if it implies none.
  private static func role(of word: String) -> TensorRole? {
    if let role = roles[word] { return role }
    if word.begins("rotary") || word.begins("rope_") { return .other("a rotary table") }
    if word.begins("conv") || word.begins("ssm_conv") { return .other("a convolution") }
    if word.begins("ln_") || word.isNorm { return .other("a norm") }
    return nil
  }

  private static let roles: [String: TensorRole] = {
    var roles: [String: TensorRole] = [
      "bias": .other("a bias"),
      "inv_freq": .other("a rotary table"),
      // "gate" alone routes to experts; "gate_proj" is half of a feed-forward layer.
      "gate": .other("a router"), "router": .other("a router"),
      "ffn_gate_inp": .other("a router"), "ffn_gate_inp_shexp": .other("a router"),
      "shared_expert_gate": .other("a router"),
    ]
    for word in TensorNames.embeddings { roles[word] = .embedding }
    for word in TensorNames.heads { roles[word] = .head }
    for word in TensorNames.otherTables {
      let isType = word.hasPrefix("token_type")
      roles[word] = .other(isType ? "token type embeddings" : "position embeddings")
    }
    return roles
  }()
}

/// A cache of roles by name and rank.
package struct TensorRoles {
  private struct Key: Hashable {
    var name: ExactName
    var rank: Int
  }

  private var known: [Key: TensorRole] = [:]

  /// Creates an empty cache.
  package init() {}

  /// The role of a tensor.
  package mutating func role(of info: TensorInfo) -> TensorRole {
    let key = Key(name: ExactName(Self.withoutNumbers(info.name)), rank: info.shape.rank)
    if let role = known[key] { return role }
    let role = TensorRole(of: info)
    known[key] = role
    return role
  }

  /// The name without words that begin with a digit, such as layer and expert numbers.
  private static func withoutNumbers(_ name: String) -> String {
    // No more bytes are written than the name has, and the returned count is that of the bytes
    // written.
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

  /// Whether the text contains "norm", as `input_layernorm`, `q_norm` and `layer_norm1` do.
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
