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
    // A whole row is stated as a group of its length if other weights have groups of that size.
    let sizes = Set(
      tensors.lazy.compactMap { $0.isRowGroup ? nil : $0.grouping?.groupSize })
    // There may be 100,000 weights, so their paths are made when they are needed.
    let weights = tensors.lazy.compactMap { tensor -> (scheme: Config.Scheme, name: String)? in
      tensor.grouping.map { grouping in
        let isRow = tensor.isRowGroup && !sizes.contains(grouping.groupSize)
        let scheme = Config.Scheme(
          bits: grouping.bits, groupSize: isRow ? nil : grouping.groupSize,
          isSymmetric: grouping.offset == .none)
        return (scheme, tensor.name)
      }
    }
    func paths(where isWanted: (Config.Scheme, String) -> Bool) -> [String] {
      weights.compactMap { scheme, name in
        let path = PlainLayers.layerPath(of: name)
        return isWanted(scheme, path) ? path : nil
      }
    }
    var schemes: [Config.Scheme] = []
    for weight in weights where !schemes.contains(weight.scheme) { schemes.append(weight.scheme) }
    guard !schemes.isEmpty else { return nil }
    let plain = PlainLayers.paths(tensors)
    let towers = PlainLayers.towers(
      of: plain, quantized: weights.map { PlainLayers.layerPath(of: $0.name) })
    let ignored = towers.map { "re:" + PlainLayers.pattern(forWord: $0) } + plain
    let groups = schemes.enumerated().map { index, scheme in
      let targets =
        schemes.count == 1
        ? ["Linear"] + paths { TensorNames.isTable($1) } : paths { own, _ in own == scheme }
      return JSONValue.Member("group_\(index)", Self.group(scheme, targets))
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
