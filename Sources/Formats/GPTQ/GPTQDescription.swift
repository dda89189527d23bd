internal import Bytes
internal import TensorModel

/// What readers of GPTQ checkpoints want to be told about one.
enum GPTQDescription {
  /// Bits of a code, and columns of a group; −1 for a row.
  private struct Groups: Hashable {
    var bits: Int
    var size: Int

    init(_ grouping: Grouping, _ shape: Shape) {
      bits = grouping.bits
      let isListed = GPTQSpelling.groupSizes.contains(grouping.groupSize)
      size = isListed || grouping.groupSize != shape.columnCount ? grouping.groupSize : -1
    }
  }

  /// The object for a model with such tensors; nil when none is grouped.
  static func object(of tensors: [TensorInfo], _ version: GPTQVersion) -> JSONValue? {
    var layers: [(path: String, groups: Groups)] = []
    var (isSymmetric, isScattered) = (true, false)
    for tensor in tensors {
      guard case .grouped(let grouping) = tensor.encoding else { continue }
      layers.append((GPTQSpelling.module(of: tensor.name), Groups(grouping, tensor.shape)))
      // Kernels that are told so do not look at zero points at all.
      if grouping.offset != .none { isSymmetric = false }
      if grouping.isScattered { isScattered = true }
    }
    var counts: [Groups: Int] = [:]
    for layer in layers { counts[layer.groups, default: 0] += 1 }
    // Of equally many the narrower, so that nothing depends on the order of a table.
    let common = counts.max {
      ($0.value, -$0.key.bits, -$0.key.size) < ($1.value, -$1.key.bits, -$1.key.size)
    }?.key
    guard let common else { return nil }
    // Readers disagree about the names of two keys.
    var members: [JSONValue.Member] = [
      .init("quant_method", "gptq"), .init("method", "gptq"),
      .init("checkpoint_format", .string(version.rawValue)),
      .init("format", .string(version.rawValue)),
      .init("bits", JSONValue(common.bits)), .init("group_size", JSONValue(common.size)),
      .init("desc_act", .bool(isScattered)), .init("sym", .bool(isSymmetric)),
      .init("lm_head", .bool(layers.contains { $0.path == "lm_head" })),
      .init("pack_dtype", "int32"),
    ]
    var rules: [JSONValue.Member] = []
    for layer in layers where layer.groups != common {
      rules.append(
        .init(
          "+:" + pattern(layer.path),
          ["bits": JSONValue(layer.groups.bits), "group_size": JSONValue(layer.groups.size)]))
    }
    for tensor in tensors where isPlainLayer(tensor) {
      rules.append(.init("-:" + pattern(GPTQSpelling.module(of: tensor.name)), [:]))
    }
    if !rules.isEmpty { members.append(.init("dynamic", .object(rules))) }
    members.append(
      .init("meta", ["quantizer": .array([.string("pleat:\(PleatVersion.text)")])]))
    return .object(members)
  }

  /// Whether a reader that is not told otherwise expects codes: of a matrix in a numbered block.
  private static func isPlainLayer(_ tensor: TensorInfo) -> Bool {
    guard case .plain = tensor.encoding, tensor.shape.rank == 2,
      tensor.name.hasSuffix(GPTQLayer.weight)
    else { return false }
    return tensor.name.split(separator: ".").contains { Int($0) != nil }
  }

  /// A regular expression that matches a path, and nothing else.
  private static func pattern(_ path: String) -> String {
    let escaped = path.map { character in
      "\\^$.|?*+()[]{}".contains(character) ? "\\\(character)" : String(character)
    }
    return "^\(escaped.joined())$"
  }
}
