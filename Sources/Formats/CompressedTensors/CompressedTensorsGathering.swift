package import TensorModel

/// Finds the weights of a checkpoint.
extension CompressedTensorsCodec {
  /// The path of a layer and the indices of its stored tensors.
  private struct Found {
    var codes: Int
    var scales: Int
    var zeros: Int?
    var extents: Int
    var groupIndex: Int?
    var path: String
  }

  package func gather(_ contents: StoredContents) throws(ModelError) -> [GatheredTensor] {
    let stored = contents.tensors
    var weights: [Int: GatheredTensor] = [:]
    let found = try Self.find(stored, besides: config?.hasScaledWeights ?? false)
    for found in found { weights[found.codes] = try gather(found, contents) }
    // A group index is left out unless it is a part of a weight with scattered groups.
    return contents.gathered(weights, leavingOut: Set(found.compactMap(\.groupIndex)))
  }

  /// How codes and zero points are packed.
  ///
  /// It is the dense packing, unless a row of codes has the length of the older packing and not that
  /// of the dense one. Throws `malformed` if parts are missing, and what reading extents throws.
  static func packing(
    of contents: StoredContents, _ config: CompressedTensorsConfig
  ) throws(ModelError) -> WordPacking {
    let stored = contents.tensors
    for found in try find(stored, besides: config.hasScaledWeights)
    where stored[found.codes].shape.rank == 2 {
      guard let shape = try extents(found, contents) else { continue }
      func fits(_ packing: WordPacking) -> Bool {
        config.scheme(
          words: stored[found.codes].shape.columnCount, columns: shape.columnCount,
          groups: stored[found.scales].shape.columnCount, isSymmetric: found.zeros == nil, packing
        ) != nil
      }
      if !fits(.dense), fits(.wholeNumbers) { return .wholeNumbers }
    }
    return .dense
  }

  /// The layers with packed weights, in file order.
  ///
  /// - Parameters:
  ///   - stored: The stored tensors.
  ///   - hasScaledWeights: Whether some layers have codes with scales instead, and no extents.
  /// - Returns: The layers.
  /// - Throws: `malformed` if a weight lacks one of its parts.
  private static func find(
    _ stored: [StoredTensor], besides hasScaledWeights: Bool
  ) throws(ModelError) -> [Found] {
    let names = StoredNames(stored)
    var all: [Found] = []
    for path in names.layerPaths(endingIn: [codes, scales, zeros, extents, groupIndex]) {
      if hasScaledWeights, names[path + extents] == nil { continue }
      let needed = try names.parts([codes, scales, extents], of: path)
      all.append(
        Found(
          codes: needed[0], scales: needed[1], zeros: names[path + zeros], extents: needed[2],
          groupIndex: names[path + groupIndex], path: path))
    }
    return all
  }

  /// The shape of a weight, as the tensor of its extents states it; nil if that is not a shape.
  ///
  /// Extents are two numbers of 64 bits, or of 32 bits in some models.
  private static func extents(
    _ found: Found, _ contents: StoredContents
  ) throws(ModelError) -> Shape? {
    let tensor = contents.tensors[found.extents]
    guard [.plain(.i64), .plain(.i32)].contains(tensor.encoding), tensor.shape.elementCount == 2
    else { return nil }
    let bytes = try contents.bytes(of: found.extents, 0..<tensor.byteCount)
    return Shape(
      validating: tensor.encoding == .plain(.i64)
        ? GroupIndex.numbers(bytes, as: Int64.self) : GroupIndex.numbers(bytes))
  }

  private func gather(
    _ found: Found, _ contents: StoredContents
  ) throws(ModelError) -> GatheredTensor {
    let stored = contents.tensors
    let (codes, scales) = (stored[found.codes], stored[found.scales])
    guard let shape = try Self.extents(found, contents), codes.shape.rank == 2,
      shape.columnCount > 0, shape.rowCount == codes.shape.rowCount
    else {
      throw ModelError(
        .malformed, "the extents of the weight are invalid", tensor: codes.name,
        expected: "two, the rows of \(codes.shape) words first",
        found: (try Self.extents(found, contents)).map(\.description) ?? "none")
    }
    guard codes.encoding == .plain(.i32), case .plain(let type) = scales.encoding,
      Grouping.supportedParameters.contains(type),
      found.zeros.map({ stored[$0].encoding == .plain(.i32) }) ?? true
    else {
      let tensors = [codes, scales] + (found.zeros.map { [stored[$0]] } ?? [])
      throw ModelError(
        .malformed, "the tensors of the weight have the wrong types", tensor: codes.name,
        expected: "I32 words, scales in F16, BF16 or F32, I32 words of zero points",
        found: tensors.map(\.encoding.description).joined(separator: ", "))
    }
    let groups = scales.shape.columnCount
    guard
      let scheme = config?.scheme(
        words: codes.shape.columnCount, columns: shape.columnCount, groups: groups,
        isSymmetric: found.zeros == nil, packing),
      scales.shape.dimensions == [shape.rowCount, groups],
      found.zeros.map({
        stored[$0].shape.dimensions
          == [packing.wordCount(shape.rowCount, bits: scheme.bits), groups]
      }) ?? true
    else {
      throw ModelError(
        .malformed, "the tensors of the weight do not fit the schemes of the config",
        tensor: codes.name,
        expected: config?.schemes.map(\.description).joined(separator: "; "),
        found: "\(codes.shape) words for \(shape) codes, \(scales.shape) scales"
          + (found.zeros.map { ", \(stored[$0].shape) words of zero points" } ?? ""))
    }
    var grouping = Grouping(
      bits: scheme.bits, groupSize: shape.columnCount / groups,
      offset: found.zeros == nil ? .none : .zeroPoint, parameters: type)
    grouping.isScattered = try isScattered(found, contents, grouping, shape)
    let info = TensorInfo(
      name: found.path + Self.weight, shape: shape, encoding: .grouped(grouping))
    var parts = [found.codes, found.scales]
    if let zeros = found.zeros { parts.append(zeros) }
    parts.append(found.extents)
    if grouping.isScattered, let index = found.groupIndex { parts.append(index) }
    return GatheredTensor(info: info, parts: parts, layouts: layouts(info, grouping))
  }

  /// Whether a group index assigns columns to groups that are not runs of neighbouring columns.
  private func isScattered(
    _ found: Found, _ contents: StoredContents, _ grouping: Grouping, _ shape: Shape
  ) throws(ModelError) -> Bool {
    guard let index = found.groupIndex else { return false }
    let tensor = contents.tensors[index]
    guard tensor.encoding == .plain(.i32), tensor.shape.dimensions == [shape.columnCount] else {
      throw ModelError(
        .malformed, "the group index does not fit the weight", tensor: tensor.name,
        expected: "I32, \(shape.columnCount)", found: "\(tensor.encoding), \(tensor.shape)")
    }
    let numbers = GroupIndex.numbers(try contents.bytes(of: index, 0..<tensor.byteCount))
    guard !GroupIndex.isTrivial(numbers, groupSize: grouping.groupSize) else { return false }
    let groups = shape.columnCount / grouping.groupSize
    if let wrong = numbers.first(where: { !(0..<groups).contains($0) }) {
      throw ModelError(
        .malformed, "the group index names a group that does not exist", tensor: tensor.name,
        expected: "0 to \(groups - 1)", found: "\(wrong)")
    }
    return true
  }
}
