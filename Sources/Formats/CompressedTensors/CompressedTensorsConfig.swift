internal import Bytes
internal import TensorModel

/// The object that compressed-tensors stores in `config.json` under `quantization_config`.
///
/// Its schemes name the layers that they apply to by class, name or regular expression. A checkpoint
/// does not contain the classes of its layers. So Pleat finds the scheme of a weight by the shapes
/// of its tensors.
struct CompressedTensorsConfig: Sendable {
  /// How the weights of some layers are quantized.
  struct Scheme: Sendable, Hashable {
    /// The width of a code in bits.
    var bits: Int
    /// The number of columns of a group; nil for whole rows.
    var groupSize: Int?
    /// Whether there are no zero points, so that the central code stands for zero.
    var isSymmetric: Bool
  }

  static let key = QuantizationKeys.huggingFace
  static let method = "compressed-tensors"
  static let format = "pack-quantized"
  /// The formats whose weights are codes with scales, which are found by their tensors.
  private static let scaledFormats: Set<String> = [
    "naive-quantized", "int-quantized", "float-quantized", "nvfp4-pack-quantized",
    "mxfp4-pack-quantized", "mxfp6-pack-quantized", "mxfp8-quantized",
  ]

  /// The schemes of packed codes, without repetition.
  let schemes: [Scheme]
  /// Whether the model has weights in another format, which are codes with scales.
  let hasScaledWeights: Bool
  /// The notes for the user about what the model does besides quantizing weights.
  let notes: [String]
  private let indices: [Scheme: Int]  // in `schemes`

  /// Reads the object of a config; nil if it is from another tool.
  ///
  /// Throws `malformed` for invalid values, and `unsupported` for other ways to store weights.
  init?(_ config: JSONValue) throws(ModelError) {
    guard let value = config[Self.key], value["quant_method"]?.string == Self.method else {
      return nil
    }
    try Self.checkExtras(value)
    guard let groups = value["config_groups"]?.members, !groups.isEmpty else {
      throw ModelError(
        .malformed, "the quantization in config.json is incomplete", expected: "config_groups",
        found: (value.members ?? []).map(\.key).joined(separator: ", "))
    }
    let common = value["format"]?.string
    var schemes: [Scheme] = []
    var indices: [Scheme: Int] = [:]
    var hasScaledWeights = false
    for group in groups {
      guard group.value.members != nil else {
        throw ModelError(
          .unsupported, "config.json names a scheme instead of describing it",
          expected: "an object with weights", found: "\(group.value.kind) in \(group.key)")
      }
      let own = group.value["format"]?.string
      // With several formats, the model states `mixed-precision`, and each scheme its own format.
      try Self.check(format: own ?? common, group.key)
      if own == nil || common != "mixed-precision" { try Self.check(format: common, group.key) }
      guard own ?? common == Self.format else {
        hasScaledWeights = true
        continue
      }
      guard let scheme = try Self.scheme(group) else { continue }
      guard indices[scheme] == nil else { continue }
      indices[scheme] = schemes.count
      schemes.append(scheme)
    }
    self.schemes = schemes
    self.indices = indices
    self.hasScaledWeights = hasScaledWeights
    notes = Self.notes(value)
  }

  /// Throws `unsupported` for a format other than those of packed codes and of codes with scales.
  private static func check(format: String?, _ key: String) throws(ModelError) {
    guard let format, format == Self.format || scaledFormats.contains(format) else {
      throw ModelError(
        .unsupported, "config.json states a weight format that Pleat does not read",
        expected: ([Self.format] + scaledFormats.sorted()).joined(separator: ", "),
        found: "\(format ?? "none") in \(key)")
    }
  }

  /// What runtimes round besides weights, which the decoded model does not.
  private static func notes(_ value: JSONValue) -> [String] {
    let groups = (value["config_groups"]?.members ?? []).map(\.value)
    let keys = ["input_activations", "output_activations"]
    let activations = groups.contains { group in
      keys.contains { (group[$0] ?? .null) != .null }
    }
    let rounded =
      (activations ? ["activations"] : [])
      + ((value["kv_cache_scheme"] ?? .null) != .null ? ["the KV cache"] : [])
    guard !rounded.isEmpty else { return [] }
    return [
      "according to config.json, runtimes also round \(rounded.joined(separator: " and ")); "
        + "only the weights are converted"
    ]
  }

  /// Throws `unsupported` if the model is changed in other ways than by quantizing weights.
  private static func checkExtras(_ value: JSONValue) throws(ModelError) {
    func isPresent(_ value: JSONValue?) -> Bool {
      value.map { $0 != .null && $0 != .object([]) } ?? false
    }
    let sparsity = value["sparsity_config"]
    for (key, what) in [
      ("transform_config", "transforms its weights"), ("sparsity_config", "leaves out weights"),
    ] where isPresent(value[key]) {
      if key == "sparsity_config", sparsity?["format"]?.string == "dense" { continue }
      throw ModelError(
        .unsupported, "according to config.json, the model also \(what)",
        expected: "only quantized weights", found: key)
    }
  }

  private static func scheme(_ group: JSONValue.Member) throws(ModelError) -> Scheme? {
    guard let weights = group.value["weights"], weights != .null else { return nil }
    let type = weights["type"]?.string ?? "int"
    guard type == "int" else {
      throw ModelError(
        .unsupported, "config.json states codes that are not whole numbers",
        expected: "type int", found: "\(type) in \(group.key)")
    }
    guard let bits = weights["num_bits"]?.int else {
      throw ModelError(
        .malformed, "the quantization in config.json is incomplete", expected: "num_bits",
        found: "\((weights.members ?? []).map(\.key).joined(separator: ", ")) in \(group.key)")
    }
    guard Grouping.supportedBits.contains(bits) else {
      throw ModelError(
        (1...8).contains(bits) ? .unsupported : .malformed,
        "config.json states an unsupported code width",
        expected: "2, 3, 4, 5, 6 or 8 bits", found: "\(bits) bits in \(group.key)")
    }
    return Scheme(
      bits: bits, groupSize: try groupSize(weights, group.key),
      isSymmetric: weights["symmetric"]?.bool ?? true)
  }

  /// The number of columns of a group; nil for whole rows.
  private static func groupSize(
    _ weights: JSONValue, _ key: String
  ) throws(ModelError) -> Int? {
    let size = weights["group_size"]?.int
    var strategy = weights["strategy"]?.string
    if strategy == nil { strategy = size == nil ? "tensor" : size == -1 ? "channel" : "group" }
    switch strategy {
    case "channel": return nil
    case "group":
      guard let size, size > 0 else {
        throw ModelError(
          .malformed, "the quantization in config.json is incomplete",
          expected: "a positive group_size",
          found: "\(size.map(String.init) ?? "none") in \(key)")
      }
      return size
    default:
      throw ModelError(
        .unsupported, "config.json states an unsupported quantization strategy",
        expected: "strategy group or channel", found: "\(strategy ?? "none") in \(key)")
    }
  }

  /// The scheme of a weight.
  ///
  /// - Parameters:
  ///   - words: The number of words in a row of codes.
  ///   - columns: The number of columns of the weight.
  ///   - groups: The number of groups in a row.
  ///   - isSymmetric: Whether the weight has no zero points.
  ///   - packing: How codes are packed.
  /// - Returns: The first scheme that fits these numbers; nil if none does.
  func scheme(
    words: Int, columns: Int, groups: Int, isSymmetric: Bool, _ packing: WordPacking
  ) -> Scheme? {
    guard groups > 0, columns % groups == 0 else { return nil }
    var first: Int?
    for bits in Grouping.supportedBits where packing.wordCount(columns, bits: bits) == words {
      // A group that is a whole row may also be stated by its length.
      for groupSize in groups == 1 ? [columns, nil] : [columns / groups] {
        let scheme = Scheme(bits: bits, groupSize: groupSize, isSymmetric: isSymmetric)
        if let index = indices[scheme] { first = min(index, first ?? index) }
      }
    }
    return first.map { schemes[$0] }
  }
}

extension CompressedTensorsConfig.Scheme: CustomStringConvertible {
  /// A text for people, such as `4-bit, groups of 128, symmetric`.
  var description: String {
    let groups = groupSize.map { "groups of \($0)" } ?? "groups of a row"
    return "\(bits)-bit, \(groups), \(isSymmetric ? "symmetric" : "with zero points")"
  }
}
