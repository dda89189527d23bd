internal import Bytes
internal import TensorModel

/// The object that compressed-tensors keeps in `config.json` under `quantization_config`.
///
/// Its schemes name the layers that they are for, by class, name or regular expression. Classes are
/// not in a checkpoint; which scheme a weight follows is told by its tensors, whose extents allow
/// one.
struct CompressedTensorsQuantization: Sendable {
  /// How the weights of some layers are rounded.
  struct Scheme: Sendable, Hashable {
    /// Bits of a code.
    var bits: Int
    /// Columns of a group; nil where a row is one.
    var groupSize: Int?
    /// Whether codes count from the centre of their range.
    var isSymmetric: Bool
  }

  static let key = QuantizationConfig.key
  static let method = "compressed-tensors"
  static let format = "pack-quantized"

  /// The schemes, without repetition.
  let schemes: [Scheme]
  private let places: [Scheme: Int]  // in `schemes`

  /// The object of a config; nil when it is of another tool.
  ///
  /// Throws `malformed` for values that make no sense, `unsupported` for other ways to store weights.
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
    var places: [Scheme: Int] = [:]
    for group in groups {
      guard group.value.members != nil else {
        throw ModelError(
          .unsupported, "config.json names a scheme instead of describing it", tensor: group.key,
          expected: "an object with weights", found: group.value.kind)
      }
      let own = group.value["format"]?.string
      // A model of several formats has one for each of its groups.
      try Self.check(format: own ?? common, group.key)
      if own == nil || common != "mixed-precision" { try Self.check(format: common, group.key) }
      guard let scheme = try Self.scheme(group) else { continue }
      guard places[scheme] == nil else { continue }
      places[scheme] = schemes.count
      schemes.append(scheme)
    }
    self.schemes = schemes
    self.places = places
  }

  /// Throws `unsupported` for a way to store weights that is not that of packed codes.
  private static func check(format: String?, _ place: String) throws(ModelError) {
    guard format != Self.format else { return }
    throw ModelError(
      .unsupported, "config.json has weights in a format that Pleat does not read", tensor: place,
      expected: "format \(Self.format)", found: format ?? "none")
  }

  /// Throws `unsupported` for what is done to a model beside rounding its weights.
  private static func checkExtras(_ value: JSONValue) throws(ModelError) {
    func isPresent(_ value: JSONValue?) -> Bool {
      value.map { $0 != .null && $0 != .object([]) } ?? false
    }
    let sparsity = value["sparsity_config"]
    for (key, what) in [
      ("kv_cache_scheme", "rounds its cache"), ("transform_config", "transforms its weights"),
      ("sparsity_config", "leaves out weights"),
    ] where isPresent(value[key]) {
      if key == "sparsity_config", sparsity?["format"]?.string == "dense" { continue }
      throw ModelError(
        .unsupported, "the model \(what) too, as config.json says", tensor: key,
        expected: "nothing but rounded weights")
    }
  }

  private static func scheme(_ group: JSONValue.Member) throws(ModelError) -> Scheme? {
    for key in ["input_activations", "output_activations"] {
      guard let value = group.value[key], value != .null else { continue }
      throw ModelError(
        .unsupported, "the model rounds activations too, as config.json says",
        tensor: "\(group.key).\(key)", expected: "null", found: value.kind)
    }
    guard let weights = group.value["weights"], weights != .null else { return nil }
    let type = weights["type"]?.string ?? "int"
    guard type == "int" else {
      throw ModelError(
        .unsupported, "config.json has weights that are not whole numbers", tensor: group.key,
        expected: "type int", found: type)
    }
    guard let bits = weights["num_bits"]?.int else {
      throw ModelError(
        .malformed, "the quantization in config.json is incomplete", tensor: group.key,
        expected: "num_bits",
        found: (weights.members ?? []).map(\.key).joined(separator: ", "))
    }
    guard Grouping.supportedBits.contains(bits) else {
      throw ModelError(
        (1...8).contains(bits) ? .unsupported : .malformed,
        "config.json has codes of another width", tensor: group.key,
        expected: "2, 3, 4, 5, 6 or 8 bits", found: "\(bits) bits")
    }
    return Scheme(
      bits: bits, groupSize: try groupSize(weights, group.key),
      isSymmetric: weights["symmetric"]?.bool ?? true)
  }

  /// The columns of a group; nil where a row is one.
  private static func groupSize(
    _ weights: JSONValue, _ place: String
  ) throws(ModelError) -> Int? {
    let size = weights["group_size"]?.int
    var strategy = weights["strategy"]?.string
    if strategy == nil { strategy = size == nil ? "tensor" : size == -1 ? "channel" : "group" }
    switch strategy {
    case "channel": return nil
    case "group":
      guard let size, size > 0 else {
        throw ModelError(
          .malformed, "the quantization in config.json is incomplete", tensor: place,
          expected: "a positive group_size", found: size.map(String.init) ?? "none")
      }
      return size
    default:
      throw ModelError(
        .unsupported, "config.json has weights that share scales otherwise", tensor: place,
        expected: "strategy group or channel", found: strategy)
    }
  }

  /// The scheme that a weight follows.
  ///
  /// - Parameters:
  ///   - words: Words in a row of codes.
  ///   - columns: Columns of the weight.
  ///   - groups: Groups in a row.
  ///   - isSymmetric: Whether it has no zero points.
  ///   - packing: How codes are packed.
  /// - Returns: The first one that allows these extents; nil if none does.
  func scheme(
    words: Int, columns: Int, groups: Int, isSymmetric: Bool, _ packing: WordPacking
  ) -> Scheme? {
    guard groups > 0, columns % groups == 0 else { return nil }
    var first: Int?
    for bits in Grouping.supportedBits where packing.wordCount(columns, bits: bits) == words {
      // A row may be one group by its length, too.
      for groupSize in groups == 1 ? [columns, nil] : [columns / groups] {
        let scheme = Scheme(bits: bits, groupSize: groupSize, isSymmetric: isSymmetric)
        if let place = places[scheme] { first = min(place, first ?? place) }
      }
    }
    return first.map { schemes[$0] }
  }
}

extension CompressedTensorsQuantization.Scheme: CustomStringConvertible {
  /// For people, such as `4-bit, groups of 128, symmetric`.
  var description: String {
    let groups = groupSize.map { "groups of \($0)" } ?? "a row a group"
    return "\(bits)-bit, \(groups), \(isSymmetric ? "symmetric" : "with zero points")"
  }
}
