internal import Bytes
internal import TensorModel

/// The object that AutoAWQ keeps in `config.json` under `quantization_config`.
struct AWQQuantization: Sendable {
  static let key = QuantizationConfig.key
  static let method = "awq"
  static let version = "gemm"
  static let bits = 4

  /// Columns of a group; nil where a row is one.
  let groupSize: Int?

  /// The object of a config; nil when it is of another tool.
  ///
  /// Throws `malformed` for values that make no sense, `unsupported` for other layouts.
  init?(_ config: JSONValue) throws(ModelError) {
    guard let value = config[Self.key], value["quant_method"]?.string == Self.method else {
      return nil
    }
    for key in ["version", "format", "checkpoint_format"] {
      guard let found = value[key]?.string?.lowercased(), found != Self.version else { continue }
      throw ModelError(
        .unsupported, "config.json has weights in a layout of AWQ that Pleat does not read",
        tensor: key, expected: Self.version, found: found)
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
        .unsupported, "config.json has codes of another width", expected: "4 bits",
        found: "\(bits) bits")
    }
    guard size > 0 || size == -1 else {
      throw ModelError(
        .malformed, "the quantization in config.json makes no sense",
        expected: "a positive group_size, or -1 for a row", found: "\(size)")
    }
    guard value["zero_point"]?.bool != false else {
      throw ModelError(
        .unsupported, "config.json has weights without zero points, which AutoAWQ does not make",
        expected: "zero_point true", found: "false")
    }
    groupSize = size == -1 ? nil : size
  }

  /// The object for a model with such tensors; nil when none is grouped.
  ///
  /// Throws `unsupported` for groups of several sizes, and for layers that cannot be told apart.
  static func describe(_ tensors: [TensorInfo]) throws(ModelError) -> JSONValue? {
    var weights: [(path: String, grouping: Grouping)] = []
    var isRows = true
    for tensor in tensors {
      guard case .grouped(let grouping) = tensor.encoding else { continue }
      weights.append((PlainLayers.path(of: tensor.name), grouping))
      isRows = isRows && grouping.groupSize == tensor.shape.columnCount
    }
    guard let size = weights.first?.grouping.groupSize else { return nil }
    let other = weights.first { $0.grouping.groupSize != size }
    if let other, !isRows {
      throw ModelError(
        .unsupported, "awq has groups of one size", tensor: other.path,
        expected: "groups of \(size)", found: "groups of \(other.grouping.groupSize)")
    }
    let kept = PlainLayers.paths(tensors)
    // Readers look for these names within those of layers.
    let names = NamesWithin(kept)
    for (path, _) in weights {
      guard let found = names.first(in: path) else { continue }
      throw ModelError(
        .unsupported, "awq cannot quantize a layer whose name has that of a plain one in it",
        tensor: path, found: found, hint: "a rule '\(path)=keep' leaves it as it is")
    }
    return [
      "quant_method": .string(method), "bits": JSONValue(bits),
      "group_size": JSONValue(other == nil ? size : -1), "zero_point": true,
      "version": .string(version),
      "modules_to_not_convert": .array(kept.map { .string($0) }),
    ]
  }
}

/// Names that are looked for inside others, in time that does not grow with how many there are.
private struct NamesWithin {
  private let lengths: [(length: Int, names: Set<ArraySlice<UInt8>>)]  // the longest first

  init(_ names: [String]) {
    let bytes = names.map { ArraySlice($0.utf8) }
    lengths = Dictionary(grouping: bytes, by: \.count).map { ($0, Set($1)) }
      .sorted { $0.length > $1.length }
  }

  /// A name that is part of `text`; nil where none is.
  func first(in text: String) -> String? {
    let bytes = Array(text.utf8)
    for (length, names) in lengths where length <= bytes.count {
      for start in 0...bytes.count - length where names.contains(bytes[start..<start + length]) {
        return String(decoding: bytes[start..<start + length], as: UTF8.self)
      }
    }
    return nil
  }
}
