internal import Architectures
package import Bytes
package import TensorModel

/// The dialect of compressed-tensors: the object `quantization_config` in `config.json`.
package struct CompressedTensorsDialect: ConfigDialect {
  private typealias Config = CompressedTensorsConfig

  /// The first version of compressed-tensors whose codes cross word boundaries, as Pleat's do.
  private static let version = "0.18.0"

  package func codec(
    for config: JSONValue, _ stored: StoredContents
  ) throws(ModelError) -> ConfiguredCodec? {
    guard let config = try Config(config) else { return nil }
    let packing = try CompressedTensorsCodec.packing(of: stored, config)
    return ConfiguredCodec(codec: CompressedTensorsCodec(config, packing), notes: config.notes)
  }

  package var configurationKeys: [String] { [Config.key] }

  /// The object for a model with these tensors; nil if none is grouped.
  ///
  /// A single scheme applies to all linear layers except those that are listed. Of several schemes,
  /// each names its layers.
  package func description(of tensors: [TensorInfo]) -> JSONValue? {
    var schemes: [(scheme: Config.Scheme, paths: [String])] = []
    var tables: [String] = []
    // A whole row is stated as a group of its length if other weights have groups of that size.
    let sizes = Set(tensors.compactMap { $0.isRowGroup ? nil : $0.grouping?.groupSize })
    for tensor in tensors {
      guard let grouping = tensor.grouping else { continue }
      let path = PlainLayers.layerPath(of: tensor.name)
      if TensorNames.isTable(path) { tables.append(path) }
      let isRow = tensor.isRowGroup && !sizes.contains(grouping.groupSize)
      let scheme = Config.Scheme(
        bits: grouping.bits, groupSize: isRow ? nil : grouping.groupSize,
        isSymmetric: grouping.offset == .none)
      if let index = schemes.firstIndex(where: { $0.scheme == scheme }) {
        schemes[index].paths.append(path)
      } else {
        schemes.append((scheme, [path]))
      }
    }
    guard !schemes.isEmpty else { return nil }
    let plain = PlainLayers.paths(tensors)
    let towers = PlainLayers.towers(of: plain, quantized: schemes.flatMap(\.paths))
    let ignored = towers.map { "re:" + PlainLayers.pattern(forWord: $0) } + plain
    if schemes.count == 1 { schemes[0].paths = ["Linear"] + tables }
    let groups = schemes.enumerated().map { index, scheme in
      JSONValue.Member("group_\(index)", Self.group(scheme.scheme, scheme.paths))
    }
    return [
      "version": .string(Self.version), "quant_method": .string(Config.method),
      "format": .string(Config.format),
      "quantization_status": "compressed", "global_compression_ratio": .null,
      "config_groups": .object(groups),
      "ignore": .array(ignored.map { .string($0) }),
      "kv_cache_scheme": .null,
    ]
  }

  private static func group(_ scheme: Config.Scheme, _ targets: [String]) -> JSONValue {
    [
      "targets": .array(targets.map { .string($0) }),
      "weights": [
        "num_bits": JSONValue(scheme.bits), "type": "int",
        "symmetric": .bool(scheme.isSymmetric),
        "strategy": scheme.groupSize == nil ? "channel" : "group",
        "group_size": scheme.groupSize.map { JSONValue($0) } ?? .null,
        "block_structure": .null, "dynamic": false, "actorder": .null, "observer": "minmax",
        "observer_kwargs": [:],
      ],
      "input_activations": .null, "output_activations": .null, "format": .string(Config.format),
    ]
  }
}

extension TensorInfo {
  /// How the tensor is divided into groups; nil if it is not grouped.
  fileprivate var grouping: Grouping? {
    if case .grouped(let grouping) = encoding { grouping } else { nil }
  }

  /// Whether a group is a whole row.
  fileprivate var isRowGroup: Bool { grouping?.groupSize == shape.columnCount }
}
