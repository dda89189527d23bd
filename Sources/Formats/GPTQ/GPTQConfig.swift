internal import Bytes
internal import TensorModel

/// How zero points are stored: as they are, or less one.
enum GPTQVersion: String, Sendable, CaseIterable {
  case v1 = "gptq"
  case v2 = "gptq_v2"

  /// What is subtracted from a zero point before it is stored.
  var offset: Int { self == .v1 ? 1 : 0 }
}

/// What `quantization_config` says of a GPTQ checkpoint.
struct GPTQConfig: Sendable {
  /// How zero points are stored, as the config says.
  let version: GPTQVersion
  /// Whether all zero points may be the central code: false where the config says that they are not.
  let mayBeSymmetric: Bool
  /// The code widths that layers may have: the common one, then those of `dynamic` rules.
  let bits: [Int]
  /// The groups that layers may have, in columns, likewise; −1 for a row.
  let groupSizes: [Int]

  /// Where the object stands in `config.json`.
  static let key = QuantizationConfig.key
  /// The file that holds the same object by itself.
  static let fileName = "quantize_config.json"

  /// The object of a config; nil when it is of another method.
  ///
  /// Throws `malformed` for values that make no sense, `unsupported` for layouts of other kernels.
  init?(_ config: JSONValue) throws(ModelError) {
    guard let value = config[Self.key], value.members != nil,
      (value["quant_method"] ?? value["method"])?.string?.lowercased() == "gptq"
    else { return nil }
    version = try Self.version(value)
    let words = value["pack_dtype"]?.string ?? "int32"
    guard words.split(separator: ".").last == "int32" else {
      throw ModelError(
        .unsupported, "config.json has codes in words of another length", expected: "int32",
        found: words)
    }
    mayBeSymmetric = value["sym"]?.bool ?? true
    guard let bits = value["bits"]?.int, let size = value["group_size"]?.int else {
      throw ModelError(
        .malformed, "the quantization in config.json is incomplete",
        expected: "bits and group_size",
        found: (value.members ?? []).map(\.key).joined(separator: ", "))
    }
    var allBits = [bits]
    var sizes = [size]
    // A rule that begins with a minus leaves layers as they are, which their tensors say too.
    for rule in value["dynamic"]?.members ?? [] where !rule.key.hasPrefix("-") {
      if let bits = rule.value["bits"]?.int { allBits.append(bits) }
      if let size = rule.value["group_size"]?.int { sizes.append(size) }
    }
    guard allBits.allSatisfy(GPTQSpelling.bits.contains),
      sizes.allSatisfy({ $0 == -1 || $0 > 0 })
    else {
      throw ModelError(
        .malformed, "the quantization in config.json makes no sense",
        expected: "2, 3, 4 or 8 bits, groups of -1 or more columns",
        found: "\(allBits.map(String.init).joined(separator: ", ")) bits, "
          + "groups of \(sizes.map(String.init).joined(separator: ", "))")
    }
    self.bits = allBits
    groupSizes = sizes
  }

  private static func version(_ value: JSONValue) throws(ModelError) -> GPTQVersion {
    let isMarlin = value["is_marlin_format"]?.bool == true
    let name =
      isMarlin ? "marlin" : (value["checkpoint_format"] ?? value["format"])?.string ?? "gptq"
    if let version = GPTQVersion(rawValue: name.lowercased()) { return version }
    throw ModelError(
      .unsupported, "config.json has weights in the layout of another kernel",
      expected: "checkpoint_format gptq or gptq_v2", found: name)
  }
}
