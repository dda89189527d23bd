internal import TensorModel

/// Typed access to the metadata of a GGUF file, under the keys of an architecture.
struct GGUFValues {
  private let metadata: Metadata
  private let prefix: String

  init(_ metadata: Metadata, prefix: String) {
    self.metadata = metadata
    self.prefix = prefix
  }

  private subscript(key: String) -> MetadataValue? { metadata["\(prefix).\(key)"] }

  /// A whole number, also as a list of equal ones; nil if the file lacks it.
  func wholeNumber(_ key: String) -> Int? { self[key]?.equalIntegers }

  /// A whole number above zero; nil if the file lacks it.
  ///
  /// Throws `malformed` for another value.
  func count(_ key: String) throws(ModelError) -> Int? {
    guard self[key] != nil else { return nil }
    guard let count = wholeNumber(key), count > 0, count <= Int(UInt32.max) else {
      throw fault(key, "a whole number above 0")
    }
    return count
  }

  /// A whole number above zero.
  ///
  /// Throws `malformed` if the file lacks it or states another value.
  func required(_ key: String) throws(ModelError) -> Int {
    if let count = try count(key) { return count }
    throw fault(key, "a whole number above 0")
  }

  /// A whole number above zero, also as a list in which only 0 is another number.
  ///
  /// Throws `malformed` if the file lacks it or states another value.
  func equalCount(_ key: String) throws(ModelError) -> Int {
    if let count = self[key]?.equalCounts, count > 0 { return count }
    throw fault(key, "a whole number above 0, or a list of such numbers and 0")
  }

  /// A number; nil if the file lacks it.
  func number(_ key: String) -> Double? {
    switch self[key] {
    case .float(let value): Double(value)
    case .double(let value): value
    default: nil
    }
  }

  /// A number.
  ///
  /// Throws `malformed` if the file lacks it.
  func requiredNumber(_ key: String) throws(ModelError) -> Double {
    if let number = number(key) { return number }
    throw fault(key, "a number")
  }

  /// A text; nil if the file lacks it.
  func text(_ key: String) -> String? { self[key]?.text }

  /// A boolean; nil if the file lacks it.
  func flag(_ key: String) -> Bool? {
    if case .bool(let flag) = self[key] { flag } else { nil }
  }

  /// A list of booleans; nil if the file lacks it.
  func flags(_ key: String) -> [Bool]? {
    guard case .array(let list) = self[key], list.elementType == .bool else { return nil }
    return list.bytes.map { $0 != 0 }
  }

  /// A whole number above zero that is small enough to be multiplied with others.
  ///
  /// Throws `malformed` if the file lacks it or states another value, and `limit` if it is too large.
  func extent(_ key: String) throws(ModelError) -> Int {
    let count = try required(key)
    guard count <= 1 << 20 else {
      throw ModelError(
        .limit, "the metadata states too many rows", tensor: "\(prefix).\(key)",
        expected: "at most \(1 << 20)", found: "\(count)")
    }
    return count
  }

  /// Whole numbers of 32 bits; nil if the file lacks them.
  func numbers(_ key: String) -> [Int]? { self[key]?.integers }

  /// The error for a key without such a value.
  func fault(_ key: String, _ expected: String) -> ModelError {
    ModelError(
      .malformed, "the metadata has no valid value for a required key", tensor: "\(prefix).\(key)",
      expected: expected, found: self[key].map { "\($0)" } ?? "nothing")
  }
}

extension MetadataValue {
  /// A whole number, or the one that all elements of a list are; nil for other values.
  ///
  /// llama.cpp reads either for a value that may differ by layer.
  package var equalIntegers: Int? {
    guard let integers, let first = integers.first else { return integer }
    return integers.allSatisfy { $0 == first } ? first : nil
  }

  /// A whole number, or the one that all elements of a list are that are not 0; nil for others.
  ///
  /// Layers without attention have 0 heads.
  package var equalCounts: Int? {
    guard let counts = integers?.filter({ $0 != 0 }), let first = counts.first else {
      return integer
    }
    return counts.allSatisfy { $0 == first } ? first : nil
  }

  /// The elements of a list of whole numbers of 32 bits; nil for other values.
  package var integers: [Int]? {
    guard case .array(let list) = self, [.i32, .u32].contains(list.elementType) else { return nil }
    return stride(from: 0, to: list.bytes.count - 3, by: 4).map { start in
      Int(list.bytes[start..<start + 4].reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) })
    }
  }
}
