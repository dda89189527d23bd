internal import Bytes
internal import TensorModel

/// How zero points are stored: minus one in version 1, unchanged in version 2.
enum GPTQVersion: String, Sendable, CaseIterable {
  case v1 = "gptq"
  case v2 = "gptq_v2"

  /// The number that is subtracted from a zero point before it is stored.
  var offset: Int { self == .v1 ? 1 : 0 }
}

/// The contents of `quantization_config` of a GPTQ checkpoint.
struct GPTQConfig: Sendable {
  /// How zero points are stored, according to the config.
  let version: GPTQVersion
  /// Whether all zero points may equal the central code; false if the config says `sym` is false.
  let mayBeSymmetric: Bool
  /// The code widths that layers may have in bits: the common one, then those of `dynamic` rules.
  let bits: [Int]
  /// The group sizes that layers may have in columns, in the same order; −1 for a row.
  let groupSizes: [Int]

  /// The key of the object in `config.json`.
  static let key = QuantizationKeys.huggingFace
  /// The file that contains the same object by itself.
  static let fileName = QuantizationKeys.gptqFileName

  /// Reads the object of a config; nil if it states another method.
  ///
  /// Throws `malformed` for invalid values, and `unsupported` for layouts of other kernels.
  init?(_ config: JSONValue) throws(ModelError) {
    guard let value = config[Self.key], value.members != nil,
      (value["quant_method"] ?? value["method"])?.string?.lowercased() == "gptq"
    else { return nil }
    version = try Self.version(value)
    let words = value["pack_dtype"]?.string ?? "int32"
    guard words.split(separator: ".").last == "int32" else {
      throw ModelError(
        .unsupported, "config.json states an unsupported word type", expected: "int32",
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
    // A rule that begins with a minus excludes layers; their tensors show that they are plain.
    for rule in value["dynamic"]?.members ?? [] where !rule.key.hasPrefix("-") {
      if let bits = rule.value["bits"]?.int { allBits.append(bits) }
      if let size = rule.value["group_size"]?.int { sizes.append(size) }
    }
    guard allBits.allSatisfy(GPTQCodec.bits.contains),
      sizes.allSatisfy({ $0 == -1 || $0 > 0 })
    else {
      throw ModelError(
        .malformed, "the quantization in config.json is invalid",
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
      .unsupported, "config.json states a weight layout of another kernel",
      expected: "checkpoint_format gptq or gptq_v2", found: name)
  }
}
