internal import Bytes
internal import TensorModel

/// A value of a config that a runtime does not compute.
package struct ConfigLimit: Sendable {
  let key: String
  private let expected: String
  /// The value of a config that states the key; nil if it follows from no list of values.
  private(set) var usual: JSONValue?
  /// The value that the runtime does not compute, as a text; nil for others.
  private let found: @Sendable (JSONValue) -> String?

  /// A limit by a rule for the config of the text model.
  init(_ key: String, expected: String, _ found: @escaping @Sendable (JSONValue) -> String?) {
    self.key = key
    self.expected = expected
    self.found = found
  }

  /// A key with the only values that the runtime computes.
  ///
  /// A config that lacks the key, or states null, has the default of transformers. Without a default
  /// here, the runtime computes it.
  init(_ key: String, only values: [JSONValue], default: JSONValue? = nil) {
    self.init(key, expected: Self.list(values)) {
      let stated = $0[key].flatMap { $0 == .null ? nil : $0 }
      guard let value = stated ?? `default`,
        !values.contains(where: { $0 == value || $0.double != nil && $0.double == value.double })
      else { return nil }
      return stated == nil
        ? "nothing, which means \(JSONWriter.text(value))" : JSONWriter.text(value)
    }
    usual = values.first
  }

  private static func list(_ values: [JSONValue]) -> String {
    values.isEmpty ? "null" : values.map { JSONWriter.text($0) }.joined(separator: " or ")
  }

  /// Whether a config has no value that a runtime does not compute.
  func accepts(_ config: JSONValue) -> Bool { found(config) == nil }

  /// Throws `unsupported` with the key if a config has a value that a runtime does not compute.
  func check(
    _ config: JSONValue, modelType: String, runtime: LimitedRuntime
  ) throws(ModelError) {
    guard !runtime.computedKeys.contains(key), let found = found(config) else { return }
    throw runtime.refusal(key, expected, found, modelType: modelType)
  }
}

/// A program that runs models, and does not compute what some configs ask for.
package struct LimitedRuntime: Sendable {
  /// Its name, for messages.
  let name: String
  /// What a user can do about a config; nil if nothing is known.
  let hint: String?
  /// The keys of which it computes all values, although the tables limit them.
  let computedKeys: Set<String>

  /// llama.cpp, for which GGUF is written.
  package static let llamaCpp = LimitedRuntime("llama.cpp", hint: otherFormat)
  /// mlx-lm, for which MLX is written.
  static let mlxLM = LimitedRuntime("mlx-lm", hint: otherFormat)

  private static let otherFormat = "write another format, such as --to safetensors"

  /// Describes a runtime.
  package init(_ name: String, hint: String?, computing computedKeys: Set<String> = []) {
    (self.name, self.hint, self.computedKeys) = (name, hint, computedKeys)
  }

  /// The error for a value that it does not compute.
  func refusal(
    _ key: String, _ expected: String, _ found: String, modelType: String
  ) -> ModelError {
    ModelError(
      .unsupported, "\(name) does not compute this for \(modelType)", tensor: key,
      expected: expected, found: found, hint: hint)
  }
}

// MARK: - Limits of several architectures

extension ConfigLimit {
  /// As many heads of keys and values as heads of queries.
  static let sameHeads = ConfigLimit("num_key_value_heads", expected: "num_attention_heads") {
    let stated = $0["num_key_value_heads"]?.int
    return stated == nil || stated == $0["num_attention_heads"]?.int
      ? nil : stated.map(String.init)
  }

  /// Sections of positions, without which llama.cpp does not load a model.
  static let ropeSections = ConfigLimit("mrope_section", expected: "three numbers") {
    let stated = RopeParameters.object(in: $0).value["mrope_section"]
    return stated?.array?.count == 3 ? nil : stated.map { JSONWriter.text($0) } ?? "nothing"
  }

  /// Layers without experts among others, which some models of Qwen could have.
  static let expertsInAllLayers = [
    ConfigLimit("decoder_sparse_step", only: [1]), ConfigLimit("mlp_only_layers", only: [[]]),
  ]
}
