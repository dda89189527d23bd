internal import Bytes
internal import TensorModel

extension CompressedTensorsQuantization {
  /// The version that writes what Pleat does: the first with codes that cross words.
  private static let version = "0.18.0"

  /// The object for a model with such tensors; nil when none is grouped.
  ///
  /// One scheme is for all linear layers but those listed; several name theirs.
  static func describe(_ tensors: [TensorInfo]) -> JSONValue? {
    var schemes: [(scheme: Scheme, paths: [String])] = []
    var tables: [String] = []
    // A row that is as long as the groups of others is one of them.
    let sizes = Set(tensors.compactMap { $0.isRowGroup ? nil : $0.grouping?.groupSize })
    for tensor in tensors {
      guard let grouping = tensor.grouping else { continue }
      let path = PlainLayers.path(of: tensor.name)
      if PlainLayers.isTable(path) { tables.append(path) }
      let isRow = tensor.isRowGroup && !sizes.contains(grouping.groupSize)
      let scheme = Scheme(
        bits: grouping.bits, groupSize: isRow ? nil : grouping.groupSize,
        isSymmetric: grouping.offset == .none)
      if let index = schemes.firstIndex(where: { $0.scheme == scheme }) {
        schemes[index].paths.append(path)
      } else {
        schemes.append((scheme, [path]))
      }
    }
    guard !schemes.isEmpty else { return nil }
    if schemes.count == 1 { schemes[0].paths = ["Linear"] + tables }
    let groups = schemes.enumerated().map { index, scheme in
      JSONValue.Member("group_\(index)", group(scheme.scheme, scheme.paths))
    }
    return [
      "version": .string(version), "quant_method": .string(method), "format": .string(format),
      "quantization_status": "compressed", "global_compression_ratio": .null,
      "config_groups": .object(groups),
      "ignore": .array(PlainLayers.paths(tensors).map { .string($0) }),
      "kv_cache_scheme": .null,
    ]
  }

  private static func group(_ scheme: Scheme, _ targets: [String]) -> JSONValue {
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
      "input_activations": .null, "output_activations": .null, "format": .string(format),
    ]
  }
}

extension TensorInfo {
  /// How it is cut into groups; nil where it is plain.
  fileprivate var grouping: Grouping? {
    if case .grouped(let grouping) = encoding { grouping } else { nil }
  }

  /// Whether a row is one group.
  fileprivate var isRowGroup: Bool { grouping?.groupSize == shape.columnCount }
}
