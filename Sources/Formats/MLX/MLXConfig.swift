internal import Architectures
internal import Bytes
internal import TensorModel

/// The object that MLX stores in `config.json` under `quantization`.
///
/// `group_size` and `bits` apply to all layers except those that are named, each with an object of
/// its own.
struct MLXConfig: Sendable {
  private let common: LayerGroups?
  private let layers: [ExactName: LayerGroups]
  /// The config of the text model.
  private let text: JSONValue

  /// Reads the object of a config; nil if the model is not an MLX model.
  ///
  /// Throws `malformed` for invalid values, and `unsupported` for modes that MLX does not have.
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
    text = TextConfig.merged(config)
  }

  /// The number of columns of a matrix; nil if it does not follow from the config.
  ///
  /// `rowCount` returns the number of rows of the matrix with a path; nil if there is none.
  func columnCount(of path: String, rowCount: (String) -> Int?) -> Int? {
    guard !TensorNames.isTower(path + MLXCodec.weight) else { return nil }
    let words = path.split(separator: ".")
    switch words.last {
    case "embed_tokens", "lm_head", "q_proj", "k_proj", "v_proj", "qkv_proj", "gate_proj",
      "up_proj", "gate_up_proj":
      return text["hidden_size"]?.int
    case "down_proj":
      return rowCount((words.dropLast() + ["gate_proj"]).joined(separator: "."))
    case "o_proj":
      // Heads have other sizes in some layers.
      if Architectures.forConfig(text)?.variedLayers != nil {
        return rowCount((words.dropLast() + ["q_proj"]).joined(separator: "."))
      }
      // Values have another size than queries where they are compressed.
      guard text["kv_lora_rank"] == nil, let heads = AttentionHeads(text) else { return nil }
      let (count, isTooLarge) = heads.queryCount.multipliedReportingOverflow(by: heads.size)
      return isTooLarge ? nil : count
    default: return nil
    }
  }

  /// The code width and the group size that the config states for a layer; nil if it states none.
  func groups(of path: String) -> LayerGroups? { layers[ExactName(path)] ?? common }

  /// The modes without biases: their weights are codes with scales.
  static let scaledModes = ScaledMode.allCases.map(\.name)

  /// The groups that an object states; nil for a mode without biases.
  private static func groups(
    _ value: JSONValue, _ key: String
  ) throws(ModelError) -> LayerGroups? {
    let mode = value["mode"]?.string ?? "affine"
    if scaledModes.contains(mode) { return nil }
    guard mode == "affine" else {
      throw ModelError(
        .unsupported, "config.json states a quantization mode that Pleat does not read",
        expected: "mode affine, \(scaledModes.joined(separator: ", "))", found: "\(mode) in \(key)")
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
