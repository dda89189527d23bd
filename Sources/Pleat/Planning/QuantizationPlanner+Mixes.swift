internal import Architectures
internal import Formats
internal import Kernels
internal import Quantization
internal import TensorModel

/// Decisions for the block types of llama.cpp that a mix or a rule names.
extension QuantizationPlanner {
  /// The decision for a type that a mix has chosen.
  mutating func decide(
    _ tensor: TensorInfo, _ choice: MixChoice, _ reason: String
  ) throws(ModelError) -> TensorWish {
    guard let encoding = choice.encoding else { return keep(tensor, reason) }
    var wish: TensorWish
    if case .plain(let type) = encoding {
      // No block of llama.cpp fits the columns.
      wish =
        tensor.isDecodable && tensor.encoding != encoding
        ? TensorWish(decoding: tensor, to: type, reason) : keep(tensor, reason)
    } else {
      wish = try quantize(tensor, encoding, reason)
    }
    if choice.isFallback, wish.exception == nil { wish.exception = .otherType }
    return wish
  }

  /// The wish for a block type of llama.cpp, as groups if its blocks store groups.
  mutating func quantize(
    _ tensor: TensorInfo, _ encoding: Encoding, _ reason: String
  ) throws(ModelError) -> TensorWish {
    let target = GGMLCodec.encoding(of: encoding)
    if tensor.encoding == target { return TensorWish(keeping: tensor, "\(reason), as it is") }
    guard case .foreign(let layout) = target, let type = BlockType(layout) else {
      guard case .grouped(let grouping) = target else { return keep(tensor, reason) }
      // The scheme of the recipe may not support the groups of these blocks.
      return try quantize(
        tensor, bits: grouping.bits, reason, group: .columns(grouping.groupSize),
        schemes: .init(name: mix == nil ? wanted.scheme : recipe.scheme, allowsOthers: true),
        offset: grouping.offset)
    }
    if case .refused(let refusal) = format.carries(target) {
      throw ModelError(
        .usage, "\(format.name) cannot store \(type.name): \(refusal)",
        expected: "a rule with bits and a group size")
    }
    if let wish = try unquantizable(tensor, reason, groupSize: layout.elementCount) { return wish }
    let encoder = try quantizers.encoder(type, columnCount: tensor.shape.columnCount)
    var wish = TensorWish(tensor, to: target, .encode([], .rows(encoder)), reason)
    wish.usesImportance = true
    return wish
  }
}

extension TensorRole {
  /// Whether a mix decides about a tensor.
  ///
  /// One that does not know the names of a checkpoint leaves out what only these names tell.
  func allowsMix(knowsNames: Bool) -> Bool {
    switch self {
    case .linear, .embedding, .head: true
    case .tower: false
    case .other: knowsNames
    }
  }
}
