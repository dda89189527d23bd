package import TensorModel

/// The purpose of a tensor, which decides how it is quantized if no rule applies.
package enum TensorRole: Sendable, Hashable {
  /// A matrix, or a stack of matrices, that inputs are multiplied by.
  case linear
  /// The table of token embeddings.
  case embedding
  /// The output head, which computes logits.
  case head
  /// A weight of a tower for pictures or sound, which only a rule quantizes.
  case tower
  /// Everything else, for the reason given.
  case other(String)

  /// Derives the role of a tensor from its shape and its name in Hugging Face or llama.cpp.
  ///
  /// - Parameters:
  ///   - info: The tensor.
  ///   - isTower: Whether it belongs to a tower for pictures or sound.
  ///   - architecture: llama.cpp's name of the architecture; nil for a Hugging Face checkpoint.
  package init(of info: TensorInfo, isTower: Bool = false, architecture: String? = nil) {
    // Layer and expert numbers do not affect the role.
    let words = info.name.utf8.split(separator: UInt8(ascii: "."))
      .filter { $0.first.map { !(48...57 ~= $0) } ?? false }.map { Substring($0).lowercased() }
    let isVector = info.shape.isVector(inGGUF: architecture != nil)
    if info.shape.rank < 2 {
      self = .other("a vector")
    } else if info.shape.rank > 3 && !isVector {
      self = .other("\(info.shape.rank) dimensions")
    } else if let reason = NeverRounded.reason(words, architecture) {
      self = .other(reason)
    } else if isVector {
      self = .other("a vector")
    } else if let role = Self.role(words) {
      self = isTower ? .tower : role
    } else {
      self = .other("not a weight of a linear layer")
    }
  }

  /// The role of a matrix by the words of its name; nil if it is no weight.
  private static func role(_ words: [String]) -> TensorRole? {
    for word in words {
      if TensorNames.embeddings.contains(word) { return .embedding }
      if TensorNames.heads.contains(word) { return .head }
    }
    if words == ["output", "weight"] { return .head }
    guard words.last == "weight" || words.contains("experts") else { return nil }
    let isTable = words.dropLast().last.map(Self.tables.contains) ?? false
    return isTable ? .embedding : .linear
  }

  /// Words for token embeddings at the end of a layer path only.
  private static let tables: Set<String> = ["embeddings", "shared"]
}

/// A cache of roles by name and shape.
package struct TensorRoles {
  private struct Key: Hashable {
    var name: ExactName
    var rank: Int
    var isVector: Bool
  }

  private let towers: Towers
  private let architecture: String?
  private var known: [Key: (role: TensorRole, isTower: Bool)] = [:]

  /// Creates an empty cache for the tensors of a model.
  package init(_ catalog: Catalog) {
    towers = Towers(catalog)
    architecture = catalog.metadata["general.architecture"]?.text
  }

  /// The role of a tensor.
  package mutating func role(of info: TensorInfo) -> TensorRole { find(info).role }

  /// Whether a tensor belongs to a tower for pictures or sound, whatever its role.
  package mutating func isTower(_ info: TensorInfo) -> Bool { find(info).isTower }

  /// Whether a tensor that was asked about belongs to a tower.
  package var hasFoundTowers: Bool { known.values.contains { $0.isTower } }

  private mutating func find(_ info: TensorInfo) -> (role: TensorRole, isTower: Bool) {
    let key = Key(
      name: ExactName(Self.withoutNumbers(info.name)), rank: info.shape.rank,
      isVector: info.shape.isVector(inGGUF: architecture != nil))
    if let found = known[key] { return found }
    let isTower = towers.contains(info.name)
    let role = TensorRole(of: info, isTower: isTower, architecture: architecture)
    known[key] = (role, isTower)
    return (role, isTower)
  }

  /// The name without words that begin with a digit, such as layer and expert numbers.
  private static func withoutNumbers(_ name: String) -> String {
    var name = name
    // The bytes of the name are read during the call only. No more are written than the name has,
    // and the returned count is that of the bytes written.
    return name.withUTF8 { name in
      unsafe String(unsafeUninitializedCapacity: name.count) { bytes in
        var count = 0
        var last = UInt8(ascii: ".")
        var isNumber = false
        for index in name.indices {
          let byte = unsafe name[index]
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
}

extension Shape {
  /// Whether all dimensions but one are 1, as in a vector that is stored as a stack of columns.
  ///
  /// A matrix of one row is a vector in GGUF only: a linear layer may have one output.
  fileprivate func isVector(inGGUF isGGUF: Bool) -> Bool {
    dimensions.count { $0 != 1 } < 2 && (isGGUF || rank != 2 || columnCount == 1)
  }
}
