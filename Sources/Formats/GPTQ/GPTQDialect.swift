internal import Architectures
package import Bytes
package import TensorModel

/// The dialect of GPTQ tools: `quantization_config` in `config.json`, and `quantize_config.json`.
package struct GPTQDialect: ConfigDialect {
  private let version: GPTQVersion

  /// Creates the dialect of `gptq_v2`, or of the older `gptq`.
  package init(isFirstVersion: Bool = false) { version = isFirstVersion ? .v1 : .v2 }

  package func codec(
    for config: JSONValue, _ stored: StoredContents
  ) throws(ModelError) -> ConfiguredCodec? {
    guard let config = try GPTQConfig(config) else { return nil }
    let layers = try GPTQLayer.all(in: stored.tensors)
    let found = try Self.version(config, layers, stored)
    guard found == version else { return nil }
    let codec = GPTQCodec(found, config)
    guard found != config.version else { return ConfiguredCodec(codec: codec) }
    let note =
      "config.json says \(config.version.rawValue), but the zero points are those of "
      + "\(found.rawValue), so they are read as \(found.rawValue)"
    return ConfiguredCodec(codec: codec, notes: [note])
  }

  /// The version of the stored zero points, which may differ from that of the config.
  ///
  /// If the config does not exclude symmetric weights, and the first zero points of the first eight
  /// layers are all what the other version stores for the central code, it is the other version.
  private static func version(
    _ config: GPTQConfig, _ layers: [GPTQLayer], _ stored: StoredContents
  ) throws(ModelError) -> GPTQVersion {
    guard config.mayBeSymmetric, !layers.isEmpty else { return config.version }
    let other: GPTQVersion = config.version == .v1 ? .v2 : .v1
    for layer in layers.prefix(8)
    where try !layer.isCentral(other, stored, first: 4096 / layer.bits * layer.bits) {
      return config.version
    }
    return other
  }

  package var configurationKeys: [String] { [GPTQConfig.key] }

  package var documentNames: [String] { [GPTQConfig.fileName] }

  /// The object for a model with these tensors; nil if none is grouped.
  package func description(of tensors: [TensorInfo]) -> JSONValue? {
    // There may be 100,000, so their paths are made when they are needed.
    let layers = tensors.lazy.compactMap { tensor -> Layer? in
      guard case .grouped(let grouping) = tensor.encoding else { return nil }
      return Layer(name: tensor.name, grouping: grouping, shape: tensor.shape)
    }
    guard let common = LayerGroups.mostCommon(layers.map(\.groups)) else { return nil }
    // Readers disagree about the names of two keys.
    var members: [JSONValue.Member] = [
      .init("quant_method", "gptq"), .init("method", "gptq"),
      .init("checkpoint_format", .string(version.rawValue)),
      .init("format", .string(version.rawValue)),
      .init("bits", JSONValue(common.bits)), .init("group_size", JSONValue(common.size)),
      .init("desc_act", .bool(layers.contains { $0.grouping.isScattered })),
      // With `sym` true, some kernels do not read zero points at all.
      .init("sym", .bool(layers.allSatisfy { $0.grouping.offset == .none })),
      .init("lm_head", .bool(layers.contains { $0.name == TensorNames.head + GPTQLayer.weight })),
      .init("pack_dtype", "int32"),
    ]
    var rules: [JSONValue.Member] = []
    for layer in layers where layer.groups != common {
      rules.append(
        .init(
          "+:" + Self.pattern(layer.path),
          ["bits": JSONValue(layer.groups.bits), "group_size": JSONValue(layer.groups.size)]))
    }
    let plain = tensors.filter(Self.isPlainLayer).map { GPTQCodec.layerPath(of: $0.name) }
    let towers = PlainLayers.towers(of: plain, quantized: layers.map(\.path))
    let patterns = towers.map { "^" + PlainLayers.pattern(forWord: $0) } + plain.map(Self.pattern)
    for pattern in patterns { rules.append(.init("-:" + pattern, [:])) }
    if !rules.isEmpty { members.append(.init("dynamic", .object(rules))) }
    members.append(
      .init("meta", ["quantizer": .array([.string("pleat:\(PleatVersion.text)")])]))
    return .object(members)
  }

  /// A weight that is quantized.
  private struct Layer {
    var name: String
    var grouping: Grouping
    var shape: Shape

    var path: String { GPTQCodec.layerPath(of: name) }

    /// The code width and the group size; −1 for a row whose length is not a listed size.
    var groups: LayerGroups {
      let isListed = GPTQCodec.groupSizes.contains(grouping.groupSize)
      let isRow = !isListed && grouping.groupSize == shape.columnCount
      return LayerGroups(bits: grouping.bits, size: isRow ? -1 : grouping.groupSize)
    }
  }

  /// Whether readers expect codes for a plain tensor unless a rule excludes it.
  ///
  /// They do so for matrices in numbered blocks and, in some runtimes, in towers.
  private static func isPlainLayer(_ tensor: TensorInfo) -> Bool {
    guard case .plain = tensor.encoding, tensor.shape.rank == 2,
      tensor.name.hasSuffix(GPTQLayer.weight)
    else { return false }
    return TensorNames.isTower(tensor.name)
      || tensor.name.split(separator: ".").contains { Int($0) != nil }
  }

  /// A regular expression that matches only this path.
  private static func pattern(_ path: String) -> String {
    let escaped = path.map { character in
      "\\^$.|?*+()[]{}".contains(character) ? "\\\(character)" : String(character)
    }
    return "^\(escaped.joined())$"
  }
}
