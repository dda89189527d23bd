internal import Bytes
internal import TensorModel

/// A value of a config that mlx-lm does not compute.
struct MLXLimit: Sendable {
  /// The model types, of the whole model or of its text model.
  let modelTypes: Set<String>
  private let key: String
  private let expected: String
  /// The value that mlx-lm does not compute, as a text; nil for others.
  private let found: @Sendable (JSONValue) -> String?

  /// A limit by a rule for the config of the text model.
  init(
    _ modelTypes: Set<String>, _ key: String, expected: String,
    _ found: @escaping @Sendable (JSONValue) -> String?
  ) {
    self.modelTypes = modelTypes
    self.key = key
    self.expected = expected
    self.found = found
  }

  /// A key with the only values that mlx-lm computes.
  ///
  /// A config that lacks the key, or states null, has the default of transformers. Without a default
  /// here, mlx-lm computes it.
  init(
    _ modelTypes: Set<String>, _ key: String, only values: [JSONValue], default: JSONValue? = nil
  ) {
    self.init(modelTypes, key, expected: Self.list(values)) {
      let stated = $0[key].flatMap { $0 == .null ? nil : $0 }
      guard let value = stated ?? `default`,
        !values.contains(where: { $0 == value || $0.double != nil && $0.double == value.double })
      else { return nil }
      return stated == nil
        ? "nothing, which means \(JSONWriter.text(value))" : JSONWriter.text(value)
    }
  }

  private static func list(_ values: [JSONValue]) -> String {
    values.isEmpty ? "null" : values.map { JSONWriter.text($0) }.joined(separator: " or ")
  }

  /// Throws `unsupported` with the key if a config has a value that mlx-lm does not compute.
  func check(_ config: JSONValue, modelType: String) throws(ModelError) {
    guard let found = found(config) else { return }
    throw ModelError(
      .unsupported, "mlx-lm does not compute this for \(modelType)", tensor: key,
      expected: expected, found: found, hint: "write another format, such as --to safetensors")
  }
}
