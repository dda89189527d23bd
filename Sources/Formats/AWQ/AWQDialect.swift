package import Bytes
package import TensorModel

/// The dialect of AutoAWQ: the object `quantization_config` in `config.json`.
package struct AWQDialect: ConfigDialect {
  package func codec(
    for config: JSONValue, _ stored: StoredContents
  ) throws(ModelError) -> ConfiguredCodec? {
    guard let config = try AWQConfig(config) else { return nil }
    return ConfiguredCodec(codec: AWQCodec(config))
  }

  package var configurationKeys: [String] { [AWQConfig.key] }

  /// The object: one group size for all layers, and the layers that are not quantized.
  ///
  /// Throws `unsupported` for groups of several sizes, and for quantized layers that readers would
  /// treat as plain because of their names.
  package func description(of tensors: [TensorInfo]) throws(ModelError) -> JSONValue? {
    var weights: [(path: String, grouping: Grouping)] = []
    var isRows = true
    for tensor in tensors {
      guard case .grouped(let grouping) = tensor.encoding else { continue }
      weights.append((PlainLayers.layerPath(of: tensor.name), grouping))
      isRows = isRows && grouping.groupSize == tensor.shape.columnCount
    }
    guard let size = weights.first?.grouping.groupSize else { return nil }
    let other = weights.first { $0.grouping.groupSize != size }
    if let other, !isRows {
      throw ModelError(
        .unsupported, "awq supports only one group size for all layers", tensor: other.path,
        expected: "groups of \(size)", found: "groups of \(other.grouping.groupSize)")
    }
    let plain = PlainLayers.paths(tensors)
    let kept = PlainLayers.towers(of: plain, quantized: weights.map(\.path)) + plain
    // Readers treat a layer as plain if its name contains one of these names.
    let names = NamesWithin(kept)
    for (path, _) in weights {
      guard let found = names.first(in: path) else { continue }
      throw ModelError(
        .unsupported, "awq cannot quantize a layer whose name contains the name of a plain layer",
        tensor: path, found: found, hint: "the rule '\(path)=keep' leaves it unquantized")
    }
    return [
      "quant_method": .string(AWQConfig.method), "bits": JSONValue(AWQConfig.bits),
      "group_size": JSONValue(other == nil ? size : -1), "zero_point": true,
      "version": .string(AWQConfig.version),
      "modules_to_not_convert": .array(kept.map { .string($0) }),
    ]
  }
}

/// Finds names that are contained in another name.
///
/// The time depends on the number of different lengths, not on the number of names.
private struct NamesWithin {
  private let lengths: [(length: Int, names: Set<ArraySlice<UInt8>>)]  // the longest first

  init(_ names: [String]) {
    let bytes = names.map { ArraySlice($0.utf8) }
    lengths = Dictionary(grouping: bytes, by: \.count).map { ($0, Set($1)) }
      .sorted { $0.length > $1.length }
  }

  /// The longest name that `text` contains; nil if it contains none.
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
