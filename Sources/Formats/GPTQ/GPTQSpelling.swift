package import Bytes
internal import Kernels
package import TensorModel

/// The spelling of GPTQ: a grouped weight is `qweight`, `qzeros`, `scales` and `g_idx`, all of them
/// transposed; how zero points are stored is in `config.json` alone.
package struct GPTQSpelling: Spelling {
  let version: GPTQVersion
  /// The groups of a model that is read; nil for one that is written, whose tensors tell.
  private let config: GPTQConfig?
  package private(set) var notes: [String] = []

  /// The spelling for writing: `gptq_v2`, or the older `gptq`.
  package init(isFirstVersion: Bool = false) {
    version = isFirstVersion ? .v1 : .v2
    config = nil
  }

  private init(_ version: GPTQVersion, _ config: GPTQConfig, _ notes: [String]) {
    self.version = version
    self.config = config
    self.notes = notes
  }

  static let bits = [2, 3, 4, 8]
  /// What gptqmodel takes, beside whole rows.
  static let groupSizes = [16, 32, 64, 128, 256, 512, 1024]

  // MARK: - Configs

  package func configured(
    by config: JSONValue, _ stored: StoredContents
  ) throws(ModelError) -> (any Spelling)? {
    guard let config = try GPTQConfig(config) else { return nil }
    let layers = try GPTQLayer.all(in: stored.tensors)
    let found = try Self.version(config, layers, stored)
    guard found == version else { return nil }
    guard found != config.version else { return GPTQSpelling(found, config, []) }
    let note =
      "config.json says \(config.version.rawValue), but the zero points are those of "
      + "\(found.rawValue), as which they are read"
    return GPTQSpelling(found, config, [note])
  }

  /// How zero points are stored.
  ///
  /// Where all are the central code, they tell better than a config.
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

  package func configuration(
    _ config: JSONValue?, for tensors: [TensorInfo]
  ) throws(ModelError) -> JSONValue? {
    try QuantizationConfig.describing(
      config, as: GPTQDescription.object(of: tensors, version), under: [GPTQConfig.key],
      of: "gptq")
  }

  package var documentNames: [String] { [GPTQConfig.fileName] }

  package func document(_ name: String, for tensors: [TensorInfo]) -> JSONValue? {
    name == GPTQConfig.fileName ? GPTQDescription.object(of: tensors, version) : nil
  }

  // MARK: - Writing

  package func admits(_ info: TensorInfo) -> Admission {
    switch info.encoding {
    case .plain: return .exact
    case .foreign(let type): return .refused("gptq has no type \(type.name)")
    case .grouped(let grouping):
      guard grouping.offset != .bias else {
        return .refused("gptq has whole zero points, found \(grouping)")
      }
      guard Self.bits.contains(grouping.bits) else {
        return .refused("gptq has codes of 2, 3, 4 or 8 bits, found \(grouping)")
      }
      guard info.name.isEmpty || info.name.hasSuffix(GPTQLayer.weight) else {
        return .refused("gptq quantizes tensors that are called weight")
      }
      let isRow = grouping.groupSize == info.shape.columnCount
      guard isRow || grouping.isScattered || Self.groupSizes.contains(grouping.groupSize) else {
        return .refused(
          "gptq has groups of \(Self.groupSizes.map(String.init).joined(separator: ", ")) or a row, "
            + "found \(grouping)")
      }
      if !info.name.isEmpty, let reason = misfit(info.shape, grouping) { return .refused(reason) }
      return grouping.parameters == .f16
        ? .exact : .rounded("scales become F16, found \(grouping.parameters.name)")
    }
  }

  package func misfit(_ shape: Shape, _ grouping: Grouping) -> String? {
    guard shape.rank == 2 else { return "gptq has no stacks of matrices, found \(shape)" }
    let step = Self.rowsPerStep(grouping.bits)
    // Words of codes go down the inputs, those of zero points along the outputs.
    for (name, count) in [("columns", shape.columnCount), ("rows", shape.rowCount)]
    where count % step != 0 {
      return "gptq packs \(step) \(name) of \(grouping.bits)-bit codes together, found \(shape)"
    }
    return nil
  }

  package func parts(of info: TensorInfo) -> [StoredTensor] {
    guard case .grouped(let grouping) = info.encoding else { return plainParts(of: info) }
    let path = Self.module(of: info.name)
    let (columns, rows) = (info.shape.columnCount, info.shape.rowCount)
    let groups = Self.groupCount(grouping, columns)
    func part(
      _ name: String, _ role: PartRole, _ dimensions: [Int], _ type: ScalarType, _ rows: RowLayout
    ) -> StoredTensor {
      StoredTensor(
        name: path + name, role: role, shape: Shape(validating: dimensions) ?? info.shape,
        encoding: .plain(type), rows: rows)
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

  package func stored(_ grouping: Grouping) -> Grouping {
    var stored = grouping
    stored.parameters = .f16
    return stored
  }

  package func check(_ rows: GroupedRows, firstRow: Int) throws(ModelError) {
    let (least, most) = (version.offset, rows.grouping.largestCode)
    guard
      let index = rows.zeros.firstIndex(where: { !(Float(least)...Float(most)).contains($0) })
    else { return }
    let (row, place) = (firstRow + index / rows.groupCount, index % rows.groupCount)
    let group = rows.groupIndex.isEmpty ? place : rows.groupIndex[place]
    throw ModelError(
      .unsupported, "a zero point has no place", expected: "\(least) to \(most)",
      found: "\(Int(rows.zeros[index])) in row \(row), group \(group)",
      hint: rows.zeros[index] == 0 ? "--to gptq holds it" : nil)
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

  // MARK: - Places

  /// The path of the layer that a weight belongs to.
  static func module(of name: String) -> String { String(name.dropLast(GPTQLayer.weight.count)) }

  /// Codes that fill whole words.
  static func rowsPerStep(_ bits: Int) -> Int { bits == 3 ? 32 : 32 / bits }

  /// The groups of a row, the last of which may have fewer columns.
  static func groupCount(_ grouping: Grouping, _ columns: Int) -> Int {
    (columns + grouping.groupSize - 1) / grouping.groupSize
  }

  /// Where rows are in codes, zero points, scales and index.
  private static func layouts(
    bits: Int, rows: Int, columns: Int, groups: Int, parameters: ScalarType
  ) -> [RowLayout] {
    let step = rowsPerStep(bits)
    let width = parameters.bitWidth / 8
    return [
      RowLayout(
        lineCount: columns * bits / 32, lineByteCount: 4 * rows, rowsPerStep: 1, bytesPerStep: 4),
      RowLayout(
        lineCount: groups, lineByteCount: rows * bits / 8, rowsPerStep: step,
        bytesPerStep: step * bits / 8),
      RowLayout(
        lineCount: groups, lineByteCount: width * rows, rowsPerStep: 1, bytesPerStep: width),
      RowLayout(wholeByteCount: 4 * columns),
    ]
  }
}
