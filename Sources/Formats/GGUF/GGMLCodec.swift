internal import Bytes
internal import Kernels
package import TensorModel

/// The codec of llama.cpp.
///
/// A grouped weight is one tensor of 32-element blocks. A block contains its scale, its bias if
/// there is one, and its codes.
package struct GGMLCodec: WeightCodec {
  private static let groupSize = 32

  /// Creates the codec.
  package init() {}

  package var parameterTypes: [ScalarType] { [.f16] }

  package func admission(of encoding: Encoding) -> Admission {
    switch encoding {
    case .plain(let type):
      return GGMLType.holding(encoding) == nil
        ? .refused("gguf has no type for \(type.name)") : .exact
    case .foreign(let type):
      return GGMLType.holding(encoding) == nil
        ? .refused("gguf has no type \(type.name)") : .exact
    case .scaled(let codes):
      return codes.isInBlocks
        ? .exact : .refused("no gguf type holds \(codes.name) with scales of tiles")
    case .grouped(let grouping):
      guard !grouping.isScattered else {
        return .refused("gguf supports only groups of neighbouring columns, found \(grouping)")
      }
      guard grouping.offset != .zeroPoint else {
        return .refused("no gguf type holds whole zero points")
      }
      guard blockType(for: grouping) != nil else {
        return .refused(
          "no gguf type holds \(grouping.bits)-bit codes with a bias; Q4_1 and Q5_1 hold up to 5 bits"
        )
      }
      guard grouping.groupSize % Self.groupSize == 0 else {
        return .refused("gguf stores groups of 32, found groups of \(grouping.groupSize)")
      }
      return grouping.parameters == .f16
        ? .exact : .rounded("scales and biases become F16, found \(grouping.parameters.name)")
    }
  }

  package func parts(of info: TensorInfo) -> [StoredTensor] {
    if case .scaled(let codes) = info.encoding { return BlockFactors.parts(of: info, codes) }
    guard case .grouped(let grouping) = info.encoding, let type = blockType(for: grouping) else {
      return plainParts(of: info)
    }
    let layout = GGMLType.with(id: type.rawValue)?.encoding ?? info.encoding
    return [
      StoredTensor(
        name: info.name, role: .blocks, shape: info.shape, encoding: layout,
        rowByteCount: info.shape.columnCount / Self.groupSize * type.byteCount)
    ]
  }

  package func gather(_ stored: StoredContents) throws(ModelError) -> [GatheredTensor] {
    let weights = try BlockFactors.weights(in: stored)
    return stored.gathered(weights).map { gathered in
      guard gathered.parts.count == 1 else { return gathered }
      var gathered = gathered
      if let grouping = Self.grouping(of: gathered.info.encoding) {
        gathered.info.encoding = .grouped(grouping)
      }
      return gathered
    }
  }

  /// The grouping of a block type; nil for types that do not store simple groups.
  private static func grouping(of encoding: Encoding) -> Grouping? {
    switch GGMLType.holding(encoding)?.blockType?.groupForm {
    case .symmetric(let bits):
      Grouping(bits: bits, groupSize: groupSize, offset: .none, parameters: .f16)
    case .affine(let bits):
      Grouping(bits: bits, groupSize: groupSize, offset: .bias, parameters: .f16)
    case nil: nil
    }
  }

  /// The encoding of a block type that Pleat makes, by llama.cpp's name for it, in any case.
  ///
  /// It is groups for types that store groups, such as `Q4_1`, and otherwise blocks. Nil for types
  /// that are only read or copied.
  package static func encoding(named name: String) -> Encoding? {
    guard let type = GGMLType.named(name), type.blockType?.isEncodable == true else { return nil }
    return grouping(of: type.encoding).map { .grouped($0) } ?? type.encoding
  }

  /// The encoding that a block type has here: groups for types that store groups.
  package static func encoding(of blocks: Encoding) -> Encoding {
    grouping(of: blocks).map { .grouped($0) } ?? blocks
  }

  /// The encoding as blocks of a type that stores groups; other encodings stay the same.
  package static func blocks(of encoding: Encoding) -> Encoding {
    guard case .grouped = encoding else { return encoding }
    return GGMLType.named(name(of: encoding))?.encoding ?? encoding
  }

  /// llama.cpp's names for the block types that Pleat makes.
  package static let typeNames = BlockType.allCases.filter(\.isEncodable).map(\.name)

  /// llama.cpp's name for the type that stores an encoding.
  package static func name(of encoding: Encoding) -> String {
    guard case .grouped(let grouping) = encoding else { return encoding.description }
    return GGMLCodec().typeName(of: grouping) ?? grouping.description
  }

  package func typeName(of grouping: Grouping) -> String? { blockType(for: grouping)?.name }

  package func write(_ rows: GroupedRows, into parts: inout [[UInt8]], firstRow: Int) {
    guard let type = blockType(for: rows.grouping) else { preconditionFailure("not admitted") }
    let blocksInRow = rows.columnCount / Self.groupSize
    let start = firstRow * blocksInRow * type.byteCount
    let count = rows.rowCount * blocksInRow * type.byteCount
    let repeats = rows.grouping.groupSize / Self.groupSize
    let codes = widened(rows, for: type)
    let scales = Self.repeated(rows.scales, repeats)
    let biases = Self.repeated(rows.biases, repeats)
    parts[0].change(start..<start + count) {
      if rows.grouping.offset == .bias {
        type.pack(codes: codes.span, scales: scales.span, biases: biases.span, into: &$0)
      } else {
        type.pack(codes: codes.span, scales: scales.span, into: &$0)
      }
    }
  }

  package func groupingAsRead(_ grouping: Grouping) -> Grouping {
    let type = blockType(for: grouping).flatMap { GGMLType.with(id: $0.rawValue) }
    return type.flatMap { Self.grouping(of: $0.encoding) } ?? grouping
  }

  package func scaleField(of grouping: Grouping) -> ParameterField? {
    blockType(for: grouping).map { ParameterField(part: 0, stride: $0.byteCount) }
  }

  package func biasField(of grouping: Grouping) -> ParameterField? {
    guard grouping.offset == .bias, grouping.groupSize == Self.groupSize,
      let type = blockType(for: grouping)
    else { return nil }
    // A block begins with its scale and its bias, of two bytes each.
    return ParameterField(part: 0, offset: 2, stride: type.byteCount)
  }

  package func read(_ parts: [[UInt8]], firstRow: Int, into rows: GroupedRows) {
    guard let type = blockType(for: rows.grouping) else { preconditionFailure("never gathered") }
    let rowByteCount = rows.columnCount / Self.groupSize * type.byteCount
    let start = firstRow * rowByteCount
    unpack(
      parts[0][start..<start + rows.rowCount * rowByteCount], type, &rows.codes, &rows.scales,
      &rows.biases)
  }

  private func unpack(
    _ blocks: ArraySlice<UInt8>, _ type: BlockType, _ codes: inout [UInt8],
    _ scales: inout [Float], _ biases: inout [Float]
  ) {
    var codeSpan = codes.mutableSpan
    var scaleSpan = scales.mutableSpan
    guard case .affine = type.groupForm else {
      return type.unpack(blocks.span, codes: &codeSpan, scales: &scaleSpan)
    }
    var biasSpan = biases.mutableSpan
    type.unpack(blocks.span, codes: &codeSpan, scales: &scaleSpan, biases: &biasSpan)
  }

  /// The narrowest block type that can store the codes; nil if there is none.
  private func blockType(for grouping: Grouping) -> BlockType? {
    switch (grouping.offset, grouping.bits) {
    case (.bias, ...4): .q4_1
    case (.bias, 5): .q5_1
    case (.none, ...4): .q4_0
    case (.none, 5): .q5_0
    case (.none, ...8): .q8_0
    default: nil
    }
  }

  // Symmetric codes are relative to the central code, which is larger in a wider type.
  private func widened(_ rows: GroupedRows, for type: BlockType) -> [UInt8] {
    guard case .symmetric(let bits) = type.groupForm, bits > rows.grouping.bits else {
      return rows.codes
    }
    let shift = UInt8(1 << (bits - 1) - rows.grouping.centralCode)
    return rows.codes.map { $0 &+ shift }
  }

  private static func repeated(_ values: [Float], _ repeats: Int) -> [Float] {
    repeats == 1 ? values : values.flatMap { repeatElement($0, count: repeats) }
  }
}
