internal import Bytes
internal import TensorModel

/// The object that MLX keeps in `config.json` under `quantization`.
///
/// `group_size` and `bits` hold for all layers but those that are named, each with an object of its
/// own.
struct MLXQuantization: Sendable {
  /// Bits of a code, and columns of a group.
  struct Groups: Sendable, Hashable {
    var bits: Int
    var size: Int
  }

  /// Under which the object stands, twice, as mlx-lm writes it.
  static let keys = QuantizationConfig.keys

  private let common: Groups?
  private let layers: [ExactName: Groups]

  /// The object of a config; nil when the model is not one of MLX.
  ///
  /// Throws `malformed` for values that make no sense, `unsupported` for modes without biases.
  init?(_ config: JSONValue) throws(ModelError) {
    // Other tools write `quantization_config` too, with a method; MLX does not.
    guard let value = config["quantization"] ?? config["quantization_config"],
      value["quant_method"] == nil, value["method"] == nil,
      value["bits"] != nil || value["group_size"] != nil
    else { return nil }
    common = try Self.groups(value, "quantization")
    var layers: [ExactName: Groups] = [:]
    for member in value.members ?? [] where member.value.members != nil {
      layers[ExactName(member.key)] = try Self.groups(member.value, member.key)
    }
    self.layers = layers
  }

  /// The groups of a layer.
  func groups(of path: String) -> Groups? { layers[ExactName(path)] ?? common }

  private static func groups(_ value: JSONValue, _ place: String) throws(ModelError) -> Groups {
    let mode = value["mode"]?.string ?? "affine"
    guard mode == "affine" else {
      throw ModelError(
        .unsupported, "config.json has weights quantized without biases", tensor: place,
        expected: "mode affine", found: mode)
    }
    guard let bits = value["bits"]?.int, let size = value["group_size"]?.int else {
      throw ModelError(
        .malformed, "the quantization in config.json is incomplete", tensor: place,
        expected: "group_size and bits",
        found: (value.members ?? []).map(\.key).joined(separator: ", "))
    }
    guard MLXSpelling.bits.contains(bits), MLXSpelling.groupSizes.contains(size) else {
      throw ModelError(
        .malformed, "the quantization in config.json makes no sense", tensor: place,
        expected: "2, 3, 4, 5, 6 or 8 bits, groups of 32, 64 or 128",
        found: "\(bits) bits, groups of \(size)")
    }
    return Groups(bits: bits, size: size)
  }

  /// The object for a model with such tensors; nil when none is grouped.
  static func describe(_ tensors: [TensorInfo]) -> JSONValue? {
    var found: [(path: String, groups: Groups)] = []
    for tensor in tensors {
      guard case .grouped(let grouping) = tensor.encoding else { continue }
      found.append(
        (
          MLXSpelling.module(of: tensor.name),
          Groups(bits: grouping.bits, size: grouping.groupSize)
        ))
    }
    var counts: [Groups: Int] = [:]
    for layer in found { counts[layer.groups, default: 0] += 1 }
    // Of equally many the narrower, so that nothing depends on the order of a table.
    let common = counts.max {
      ($0.value, -$0.key.bits, -$0.key.size) < ($1.value, -$1.key.bits, -$1.key.size)
    }?.key
    guard let common else { return nil }
    var members: [JSONValue.Member] = [
      .init("group_size", JSONValue(common.size)), .init("bits", JSONValue(common.bits)),
      .init("mode", "affine"),
    ]
    for layer in found where layer.groups != common {
      members.append(
        .init(
          layer.path,
          [
            "group_size": JSONValue(layer.groups.size), "bits": JSONValue(layer.groups.bits),
            "mode": "affine",
          ]))
    }
    return .object(members)
  }
}
