package import Bytes
internal import TensorModel

/// Typed access to the values of a `config.json`.
struct ConfigValues {
  let config: JSONValue

  /// A value; nil if the config lacks it or states null.
  subscript(key: String) -> JSONValue? { config[key].flatMap { $0 == .null ? nil : $0 } }

  /// A whole number above zero; nil if the config lacks it.
  ///
  /// Throws `malformed` for another value.
  func count(_ key: String) throws(ModelError) -> Int? {
    guard let value = self[key] else { return nil }
    guard let count = value.int, count > 0, count <= Int(UInt32.max) else {
      throw Self.fault(key, "a whole number above 0", value)
    }
    return count
  }

  /// A whole number above zero.
  ///
  /// Throws `malformed` if the config lacks it or states another value.
  func required(_ key: String) throws(ModelError) -> Int {
    if let count = try count(key) { return count }
    throw Self.fault(key, "a whole number above 0", nil)
  }

  /// A number; nil if the config lacks it.
  ///
  /// Throws `malformed` for another value.
  func number(_ key: String) throws(ModelError) -> Double? {
    guard let value = self[key] else { return nil }
    guard let number = value.double, number.isFinite else {
      throw Self.fault(key, "a number", value)
    }
    return number
  }

  /// The error for a value that is missing or invalid.
  static func fault(_ key: String, _ expected: String, _ value: JSONValue?) -> ModelError {
    ModelError(
      .malformed, "config.json has no valid value for a required key", tensor: key,
      expected: expected, found: value.map { JSONWriter.text($0) } ?? "nothing")
  }
}

extension JSONValue {
  /// The members of this object and of `text`; those of `text` take precedence.
  package func overridden(by text: JSONValue) -> JSONValue {
    let own = text.members ?? []
    let keys = Set(own.map { ExactName($0.key) })
    return .object(own + (members ?? []).filter { !keys.contains(ExactName($0.key)) })
  }

  /// The object without members that are null.
  var withoutNulls: JSONValue { .object((members ?? []).filter { $0.value != .null }) }
}
