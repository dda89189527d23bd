internal import Bytes
internal import TensorModel

/// The object that MLX stores in `config.json` under `quantization`.
///
/// `group_size` and `bits` apply to all layers except those that are named, each with an object of
/// its own.
struct MLXConfig: Sendable {
  private let common: LayerGroups?
  private let layers: [ExactName: LayerGroups]

  /// Reads the object of a config; nil if the model is not an MLX model.
  ///
  /// Throws `malformed` for invalid values, and `unsupported` for modes without biases.
  init?(_ config: JSONValue) throws(ModelError) {
    // Other tools write `quantization_config` too, but they state a method and MLX does not.
    guard let value = config["quantization"] ?? config["quantization_config"],
      value["quant_method"] == nil, value["method"] == nil,
      value["bits"] != nil || value["group_size"] != nil
    else { return nil }
    common = try Self.groups(value, "quantization")
    var layers: [ExactName: LayerGroups] = [:]
    for member in value.members ?? [] where member.value.members != nil {
      layers[ExactName(member.key)] = try Self.groups(member.value, member.key)
    }
    self.layers = layers
  }

  /// The code width and the group size of a layer; nil if the config does not state them.
  func groups(of path: String) -> LayerGroups? { layers[ExactName(path)] ?? common }

  private static func groups(
    _ value: JSONValue, _ key: String
  ) throws(ModelError) -> LayerGroups {
    let mode = value["mode"]?.string ?? "affine"
    guard mode == "affine" else {
      throw ModelError(
        .unsupported, "config.json states a quantization mode without biases",
        expected: "mode affine", found: "\(mode) in \(key)")
    }
    guard let bits = value["bits"]?.int, let size = value["group_size"]?.int else {
      throw ModelError(
        .malformed, "the quantization in config.json is incomplete",
        expected: "group_size and bits",
        found: "\((value.members ?? []).map(\.key).joined(separator: ", ")) in \(key)")
    }
    guard MLXCodec.bits.contains(bits), MLXCodec.groupSizes.contains(size) else {
      throw ModelError(
        .malformed, "the quantization in config.json is invalid",
        expected: "2, 3, 4, 5, 6 or 8 bits, groups of 32, 64 or 128",
        found: "\(bits) bits, groups of \(size) in \(key)")
    }
    return LayerGroups(bits: bits, size: size)
  }
}
