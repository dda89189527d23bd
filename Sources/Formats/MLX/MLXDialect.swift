internal import Architectures
package import Bytes
package import TensorModel

/// The dialect of MLX: the object `quantization` in `config.json`.
///
/// MLX writes the same object again under `quantization_config`.
package struct MLXDialect: ConfigDialect {
  package func codec(
    for config: JSONValue, _ stored: StoredContents
  ) throws(ModelError) -> ConfiguredCodec? {
    guard let config = try MLXConfig(config) else { return nil }
    return ConfiguredCodec(codec: MLXCodec(config))
  }

  package var configurationKeys: [String] { [QuantizationKeys.mlx, QuantizationKeys.huggingFace] }

  /// The object: the most common groups, and an object for each layer with other groups.
  package func description(of tensors: [TensorInfo]) -> JSONValue? {
    let layers = tensors.lazy.compactMap { tensor -> (name: String, groups: LayerGroups)? in
      Self.groups(tensor.encoding).map { (tensor.name, $0) }
    }
    guard let common = LayerGroups.mostCommon(layers.map(\.groups)) else { return nil }
    let others = layers.filter { $0.groups != common }.map {
      JSONValue.Member(
        MLXCodec.layerPath(of: $0.name), .object(Self.members(of: $0.groups)))
    }
    return .object(Self.members(of: common) + others)
  }

  package func completed(
    _ config: JSONValue, for tensors: [TensorInfo]
  ) throws(ModelError) -> JSONValue {
    try MLXConfiguration.completed(config, for: tensors)
  }

  private static func members(of groups: LayerGroups) -> [JSONValue.Member] {
    [
      .init("group_size", JSONValue(groups.size)), .init("bits", JSONValue(groups.bits)),
      .init("mode", .string(groups.mode)),
    ]
  }

  /// The groups of a weight; nil for plain numbers.
  private static func groups(_ encoding: Encoding) -> LayerGroups? {
    switch encoding {
    case .grouped(let grouping): LayerGroups(bits: grouping.bits, size: grouping.groupSize)
    case .scaled(let codes):
      ScaledMode(codes).map {
        LayerGroups(bits: $0.bits, size: $0.groupSize, mode: $0.name)
      }
    case .plain, .foreign: nil
    }
  }
}
