internal import Bytes
internal import TensorModel

/// A value of a config that mlx-lm does not compute.
struct MLXLimit: Sendable {
  /// The model types, of the whole model or of its text model.
  let modelTypes: Set<String>
  private let limit: ConfigLimit

  /// A limit by a rule for the config of the text model, see `ConfigLimit`.
  init(
    _ modelTypes: Set<String>, _ key: String, expected: String,
    _ found: @escaping @Sendable (JSONValue) -> String?
  ) {
    self.modelTypes = modelTypes
    limit = ConfigLimit(key, expected: expected, found)
  }

  /// A key with the only values that mlx-lm computes, see `ConfigLimit`.
  init(
    _ modelTypes: Set<String>, _ key: String, only values: [JSONValue], default: JSONValue? = nil
  ) {
    self.modelTypes = modelTypes
    limit = ConfigLimit(key, only: values, default: `default`)
  }

  /// A limit that llama.cpp has, too.
  init(_ modelTypes: Set<String>, _ limit: ConfigLimit) {
    self.modelTypes = modelTypes
    self.limit = limit
  }

  /// Throws `unsupported` with the key if a config has a value that mlx-lm does not compute.
  func check(_ config: JSONValue, modelType: String) throws(ModelError) {
    try limit.check(config, modelType: modelType, runtime: .mlxLM)
  }
}
