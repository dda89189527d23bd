internal import Bytes
internal import TensorModel

/// The object that AutoAWQ stores in `config.json` under `quantization_config`.
struct AWQConfig: Sendable {
  static let key = QuantizationKeys.huggingFace
  static let method = "awq"
  static let version = "gemm"
  static let bits = 4

  /// The number of columns of a group; nil for whole rows.
  let groupSize: Int?

  /// Reads the object of a config; nil if it is from another tool.
  ///
  /// Throws `malformed` for invalid values, and `unsupported` for other layouts.
  init?(_ config: JSONValue) throws(ModelError) {
    guard let value = config[Self.key], value["quant_method"]?.string == Self.method else {
      return nil
    }
    for key in ["version", "format", "checkpoint_format"] {
      guard let found = value[key]?.string?.lowercased(), found != Self.version else { continue }
      throw ModelError(
        .unsupported, "config.json states an AWQ layout that Pleat does not read",
        expected: "\(key) \(Self.version)", found: found)
    }
    guard let bits = value["bits"]?.int ?? value["w_bit"]?.int,
      let size = value["group_size"]?.int ?? value["q_group_size"]?.int
    else {
      throw ModelError(
        .malformed, "the quantization in config.json is incomplete",
        expected: "group_size and bits",
        found: (value.members ?? []).map(\.key).joined(separator: ", "))
    }
    guard bits == Self.bits else {
      throw ModelError(
        .unsupported, "config.json states an unsupported code width", expected: "4 bits",
        found: "\(bits) bits")
    }
    guard size > 0 || size == -1 else {
      throw ModelError(
        .malformed, "the quantization in config.json is invalid",
        expected: "a positive group_size, or -1 for a row", found: "\(size)")
    }
    guard value["zero_point"]?.bool != false else {
      throw ModelError(
        .unsupported,
        "config.json states weights without zero points, which AutoAWQ does not write",
        expected: "zero_point true", found: "false")
    }
    groupSize = size == -1 ? nil : size
  }
}
