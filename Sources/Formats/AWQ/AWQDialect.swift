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
    // There may be 100,000, so their paths are made one after the other.
    let weights = tensors.lazy.compactMap { tensor -> (groupSize: Int, tensor: TensorInfo)? in
      guard case .grouped(let grouping) = tensor.encoding else { return nil }
      return (grouping.groupSize, tensor)
    }
    let paths = weights.map { PlainLayers.layerPath(of: $0.tensor.name) }
    guard let size = weights.first?.groupSize else { return nil }
    let other = weights.first { $0.groupSize != size }
    if let other, !weights.allSatisfy({ $0.groupSize == $0.tensor.shape.columnCount }) {
      throw ModelError(
        .unsupported, "awq supports only one group size for all layers",
        tensor: PlainLayers.layerPath(of: other.tensor.name),
        expected: "groups of \(size)", found: "groups of \(other.groupSize)")
    }
    let plain = PlainLayers.paths(tensors)
    let kept = PlainLayers.towers(of: plain, quantized: paths) + plain
    // Readers treat a layer as plain if its name contains one of these names.
    let names = NamesWithin(kept)
    for path in paths {
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
  private let groups: [SameLength]  // the longest first

  /// Names of the same length.
  private struct SameLength {
    let length: Int
    let names: Set<ArraySlice<UInt8>>
    // Whether a name begins, or ends, with each byte, which is sooner looked up than a name.
    private let begins: [Bool]
    private let ends: [Bool]

    init(_ length: Int, _ names: [ArraySlice<UInt8>]) {
      (self.length, self.names) = (length, Set(names))
      var flags = Array(repeating: Array(repeating: false, count: 256), count: 2)
      for name in names {
        if let first = name.first { flags[0][Int(first)] = true }
        if let last = name.last { flags[1][Int(last)] = true }
      }
      (begins, ends) = (flags[0], flags[1])
    }

    func contains(_ bytes: ArraySlice<UInt8>) -> Bool {
      guard let first = bytes.first, let last = bytes.last, begins[Int(first)], ends[Int(last)]
      else { return false }
      return names.contains(bytes)
    }
  }

  init(_ names: [String]) {
    let bytes = names.map { ArraySlice($0.utf8) }
    groups = Dictionary(grouping: bytes, by: \.count).map(SameLength.init)
      .sorted { $0.length > $1.length }
  }

  /// The longest name that `text` contains; nil if it contains none.
  func first(in text: String) -> String? {
    let bytes = Array(text.utf8)
    for group in groups where group.length <= bytes.count {
      for start in 0...bytes.count - group.length {
        let range = start..<start + group.length
        if group.contains(bytes[range]) { return String(decoding: bytes[range], as: UTF8.self) }
      }
    }
    return nil
  }
}
