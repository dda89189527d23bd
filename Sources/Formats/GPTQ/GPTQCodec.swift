internal import Bytes
internal import Kernels
package import TensorModel

/// The codec of GPTQ checkpoints.
///
/// A grouped weight consists of `qweight`, `qzeros` and `scales`, all transposed, and `g_idx`. Only
/// `config.json` states how zero points are stored.
package struct GPTQCodec: WeightCodec {
  let version: GPTQVersion
  /// The config of a model that is read; nil for writing.
  private let config: GPTQConfig?

  /// Creates the codec for writing `gptq_v2`, or the older `gptq`.
  package init(isFirstVersion: Bool = false) {
    version = isFirstVersion ? .v1 : .v2
    config = nil
  }

  /// Creates the codec for reading a model with a config, and zero points stored as in `version`.
  init(_ version: GPTQVersion, _ config: GPTQConfig) {
    self.version = version
    self.config = config
  }

  static let bits = [2, 3, 4, 8]
  /// The group sizes that gptqmodel accepts besides whole rows.
  static let groupSizes = [16, 32, 64, 128, 256, 512, 1024]

  // MARK: - Writing

  package var groupedNameEnding: String? { GPTQLayer.weight }

  package var parameterTypes: [ScalarType] { [.f16] }

  package func admission(of encoding: Encoding) -> Admission {
    switch encoding {
    case .plain: return .exact
    case .foreign(let type): return .refused("gptq has no type \(type.name)")
    case .scaled(let codes): return .refused("gptq has no type \(codes.name)")
    case .grouped(let grouping):
      guard grouping.offset != .bias, !grouping.hasFractionalZeroPoints else {
        return .refused("gptq stores only whole zero points, found \(grouping)")
      }
      guard Self.bits.contains(grouping.bits) else {
        return .refused("gptq stores codes of 2, 3, 4 or 8 bits, found \(grouping)")
      }
      return grouping.parameters == .f16
        ? .exact : .rounded("scales become F16, found \(grouping.parameters.name)")
    }
  }

  package func shapeRefusal(_ shape: Shape, _ grouping: Grouping) -> String? {
    let isRow = grouping.groupSize == shape.columnCount
    guard isRow || grouping.isScattered || Self.groupSizes.contains(grouping.groupSize) else {
      let sizes = Self.groupSizes.map(String.init).joined(separator: ", ")
      return "gptq supports groups of \(sizes) or a row, found \(grouping)"
    }
    guard shape.rank == 2 else { return "gptq does not support stacks of matrices, found \(shape)" }
    let step = Self.rowsPerStep(grouping.bits)
    // Codes are packed along the inputs, and zero points along the outputs.
    for (name, count) in [("columns", shape.columnCount), ("rows", shape.rowCount)]
    where count % step != 0 {
      return "gptq packs \(step) \(name) of \(grouping.bits)-bit codes together, found \(shape)"
    }
    return nil
  }

  package func parts(of info: TensorInfo) -> [StoredTensor] {
    guard case .grouped(let grouping) = info.encoding else { return plainParts(of: info) }
    let (columns, rows) = (info.shape.columnCount, info.shape.rowCount)
    let groups = Self.groupCount(grouping, columns)
    func part(
      _ name: String, _ role: PartRole, _ dimensions: [Int], _ type: ScalarType, _ rows: RowLayout
    ) -> StoredTensor {
      StoredTensor(
        partOf: info.name, .init(name, replacing: GPTQLayer.weight), role: role,
        shape: Shape(validating: dimensions) ?? info.shape, encoding: .plain(type), rows: rows)
    }
    let layouts = Self.layouts(
      bits: grouping.bits, rows: rows, columns: columns, groups: groups, parameters: .f16)
    return [
      part(GPTQLayer.codes, .codes, [columns * grouping.bits / 32, rows], .i32, layouts[0]),
      part(GPTQLayer.zeros, .zeros, [groups, rows * grouping.bits / 32], .i32, layouts[1]),
      part(GPTQLayer.scales, .scales, [groups, rows], .f16, layouts[2]),
      part(GPTQLayer.groupIndex, .groupIndex, [columns], .i32, layouts[3]),
    ]
  }

  package func check(_ rows: GroupedRows, firstRow: Int) throws(ModelError) {
    let (least, most) = (version.offset, rows.grouping.largestCode)
    guard
      let index = rows.zeros.firstIndex(where: { !(Float(least)...Float(most)).contains($0) })
    else { return }
    let (row, position) = (firstRow + index / rows.groupCount, index % rows.groupCount)
    let group = rows.groupIndex.isEmpty ? position : rows.groupIndex[position]
    throw ModelError(
      .unsupported, "a zero point cannot be stored", expected: "\(least) to \(most)",
      found: "\(Int(rows.zeros[index])) in row \(row), group \(group)",
      hint: rows.zeros[index] == 0 ? "--to gptq can store it" : nil)
  }

  // MARK: - Reading

  package func gather(_ contents: StoredContents) throws(ModelError) -> [GatheredTensor] {
    var weights: [Int: GatheredTensor] = [:]
    guard let config else { return contents.gathered(weights) }
    for layer in try GPTQLayer.all(in: contents.tensors) {
      let grouping = try grouping(of: layer, config, contents)
      let parts = [layer.codes, layer.zeros, layer.scales] + (layer.groupIndex.map { [$0] } ?? [])
      let info = TensorInfo(
        name: layer.path + GPTQLayer.weight, shape: Shape(layer.outputs, layer.inputs),
        encoding: .grouped(grouping))
      let layouts = Self.layouts(
        bits: layer.bits, rows: layer.outputs, columns: layer.inputs, groups: layer.groupCount,
        parameters: layer.parameters)
      weights[layer.codes] = GatheredTensor(
        info: info, parts: parts, layouts: Array(layouts[..<parts.count]))
    }
    return contents.gathered(weights)
  }

  private func grouping(
    of layer: GPTQLayer, _ config: GPTQConfig, _ contents: StoredContents
  ) throws(ModelError) -> Grouping {
    guard config.bits.contains(layer.bits), let size = layer.groupSize(of: config) else {
      func list(_ numbers: [Int]) -> String {
        numbers.map { $0 == -1 ? "a row" : "\($0)" }.joined(separator: " or ")
      }
      throw ModelError(
        .malformed, "the tensors of the weight do not fit the bits and groups of the config",
        tensor: layer.path + GPTQLayer.codes,
        expected: "\(list(config.bits)) bits, groups of \(list(config.groupSizes)) columns",
        found: "\(layer.bits) bits, \(layer.groupCount) groups in \(layer.inputs) columns")
    }
    var grouping = Grouping(
      bits: layer.bits, groupSize: size, offset: .zeroPoint, parameters: layer.parameters)
    grouping.isScattered = try layer.isScattered(size, contents)
    if config.mayBeSymmetric, try layer.isCentral(version, contents) { grouping.offset = .none }
    return grouping
  }

  // MARK: - Layout

  /// The path of the layer that a weight belongs to.
  static func layerPath(of name: String) -> String { String(name.dropLast(GPTQLayer.weight.count)) }

  /// The smallest number of codes that fills whole words.
  static func rowsPerStep(_ bits: Int) -> Int { bits == 3 ? 32 : 32 / bits }

  /// The number of groups in a row; the last group may have fewer columns.
  static func groupCount(_ grouping: Grouping, _ columns: Int) -> Int {
    (columns + grouping.groupSize - 1) / grouping.groupSize
  }

  /// The row layouts of the codes, the zero points, the scales and the group index.
  private static func layouts(
    bits: Int, rows: Int, columns: Int, groups: Int, parameters: ScalarType
  ) -> [RowLayout] {
    let step = rowsPerStep(bits)
    let width = parameters.bitWidth / 8
    return [
      RowLayout(
        stripeCount: columns * bits / 32, stripeByteCount: 4 * rows, rowsPerStep: 1,
        bytesPerStep: 4),
      RowLayout(
        stripeCount: groups, stripeByteCount: rows * bits / 8, rowsPerStep: step,
        bytesPerStep: step * bits / 8),
      RowLayout(
        stripeCount: groups, stripeByteCount: width * rows, rowsPerStep: 1, bytesPerStep: width),
      RowLayout(wholeByteCount: 4 * columns),
    ]
  }
}
