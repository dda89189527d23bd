package import Bytes
internal import Kernels
package import TensorModel

/// The spelling of AutoAWQ, version `gemm`: a grouped weight is `qweight` with its codes, `qzeros`
/// and `scales`, all with a line for each column, or group of columns, and rows along it.
package struct AWQSpelling: Spelling {
  /// The groups of a model that is read; nil for one that is written, whose tensors tell.
  private let quantization: AWQQuantization?

  /// The spelling for writing.
  package init() { quantization = nil }

  private init(_ quantization: AWQQuantization) { self.quantization = quantization }

  static let bits = [AWQQuantization.bits]
  static let groupSizes = [128, 32, 64]

  package func configured(
    by config: JSONValue, _ stored: StoredContents
  ) throws(ModelError) -> (any Spelling)? {
    guard let quantization = try AWQQuantization(config) else { return nil }
    return AWQSpelling(quantization)
  }

  package var configurationKeys: [String] { [AWQQuantization.key] }

  package func configuration(
    _ config: JSONValue?, for tensors: [TensorInfo]
  ) throws(ModelError) -> JSONValue? {
    try QuantizationConfig.describing(
      config, as: try AWQQuantization.describe(tensors), under: [AWQQuantization.key], of: "awq")
  }

  package func admits(_ info: TensorInfo) -> Admission {
    guard case .grouped(let grouping) = info.encoding else {
      guard case .foreign(let type) = info.encoding else { return .exact }
      return .refused("awq has no type \(type.name)")
    }
    guard grouping.bits == AWQQuantization.bits, grouping.offset == .zeroPoint,
      !grouping.isScattered
    else {
      return .refused(
        "awq has codes of 4 bits and a whole zero point for each group, found \(grouping)")
    }
    let isRow = grouping.groupSize == info.shape.columnCount
    guard isRow || Self.groupSizes.contains(grouping.groupSize) else {
      return .refused("awq has groups of 32, 64 or 128, or a row, found \(grouping)")
    }
    guard info.name.isEmpty || info.name.hasSuffix(Self.weight) else {
      return .refused("awq quantizes tensors that are called weight")
    }
    // Whether a format holds groups at all is asked without a name.
    if !info.name.isEmpty, let reason = misfit(info.shape, grouping) { return .refused(reason) }
    return grouping.parameters == .f16
      ? .exact : .rounded("scales become F16, found \(grouping.parameters.name)")
  }

  package func misfit(_ shape: Shape, _ grouping: Grouping) -> String? {
    guard shape.rank == 2 else { return "awq has no stacks of matrices, found \(shape)" }
    guard shape.rowCount % AWQPacking.rowsPerWord == 0 else {
      return "awq packs \(AWQPacking.rowsPerWord) rows into a word, found \(shape)"
    }
    return nil
  }

  package func stored(_ grouping: Grouping) -> Grouping {
    var grouping = grouping
    grouping.parameters = .f16
    return grouping
  }

  package func parts(of info: TensorInfo) -> [StoredTensor] {
    guard case .grouped(let grouping) = info.encoding else { return plainParts(of: info) }
    let path = String(info.name.dropLast(Self.weight.count))
    let (rows, columns) = (info.shape.rowCount, info.shape.columnCount)
    let (words, groups) = (rows / AWQPacking.rowsPerWord, columns / grouping.groupSize)
    let layouts = Self.layouts(rows: rows, columns: columns, groups: groups, parameters: .f16)
    func part(
      _ name: String, _ role: PartRole, _ extents: [Int], _ type: ScalarType, _ layout: RowLayout
    ) -> StoredTensor {
      StoredTensor(
        name: path + name, role: role, shape: Shape(validating: extents) ?? info.shape,
        encoding: .plain(type), rows: layout)
    }
    return [
      part(Self.codes, .codes, [columns, words], .i32, layouts[0]),
      part(Self.scales, .scales, [groups, rows], .f16, layouts[1]),
      part(Self.zeros, .zeros, [groups, words], .i32, layouts[2]),
    ]
  }

  /// For codes, scales and zero points how rows lie in them.
  private static func layouts(
    rows: Int, columns: Int, groups: Int, parameters: ScalarType
  ) -> [RowLayout] {
    func lines(_ count: Int, bits: Int) -> RowLayout {
      RowLayout(
        lineCount: count, lineByteCount: rows * bits / 8, rowsPerStep: AWQPacking.rowsPerWord,
        bytesPerStep: AWQPacking.rowsPerWord * bits / 8)
    }
    return [
      lines(columns, bits: AWQQuantization.bits), lines(groups, bits: parameters.bitWidth),
      lines(groups, bits: AWQQuantization.bits),
    ]
  }

  package func gather(_ contents: StoredContents) throws(ModelError) -> [GatheredTensor] {
    let stored = contents.tensors
    let names = StoredNames(stored)
    var weights: [Int: GatheredTensor] = [:]
    for path in names.layers(endingIn: [Self.codes, Self.zeros]) {
      let found = try names.parts([Self.codes, Self.scales, Self.zeros], of: path)
      let (info, type) = try info(found.map { stored[$0] }, path)
      let layouts = Self.layouts(
        rows: info.shape.rowCount, columns: info.shape.columnCount,
        groups: stored[found[1]].shape.dimensions[0], parameters: type)
      weights[found[0]] = GatheredTensor(info: info, parts: found, layouts: layouts)
    }
    return contents.gathered(weights)
  }

  /// The weight that codes, scales and zero points make up, and the type of its scales.
  ///
  /// Throws `malformed` when their shapes do not fit what the config says.
  private func info(
    _ parts: [StoredTensor], _ path: String
  ) throws(ModelError) -> (TensorInfo, ScalarType) {
    let (codes, scales, zeros) = (parts[0], parts[1], parts[2])
    guard codes.encoding == .plain(.i32), zeros.encoding == .plain(.i32),
      case .plain(let type) = scales.encoding, Grouping.supportedParameters.contains(type)
    else {
      throw ModelError(
        .malformed, "the tensors of the weight have the wrong types", tensor: codes.name,
        expected: "I32 words, scales in F16, BF16 or F32, I32 words",
        found: parts.map(\.encoding.description).joined(separator: ", "))
    }
    // Rows times columns may be eight times what was checked for the words.
    guard codes.shape.rank == 2, scales.shape.rank == 2,
      case (let columns, let words) = (codes.shape.dimensions[0], codes.shape.dimensions[1]),
      case (let groups, let rows) = (scales.shape.dimensions[0], scales.shape.dimensions[1]),
      rows % AWQPacking.rowsPerWord == 0, rows / AWQPacking.rowsPerWord == words,
      zeros.shape.dimensions == [groups, words], groups > 0, columns > 0, columns % groups == 0,
      (quantization?.groupSize).map({ $0 == columns / groups }) ?? (groups == 1),
      let shape = Shape(validating: [rows, columns])
    else {
      throw ModelError(
        .malformed, "the tensors of the weight do not fit the groups of the config",
        tensor: codes.name,
        expected: "4-bit codes, "
          + (quantization?.groupSize.map { "groups of \($0) columns" } ?? "a row a group"),
        found: "\(codes.shape) words, \(scales.shape) scales, \(zeros.shape) words of zero points")
    }
    let grouping = Grouping(
      bits: AWQQuantization.bits, groupSize: columns / groups, offset: .zeroPoint,
      parameters: type)
    let info = TensorInfo(name: path + Self.weight, shape: shape, encoding: .grouped(grouping))
    return (info, type)
  }

  // MARK: - Rows

  package func check(_ rows: GroupedRows, firstRow: Int) throws(ModelError) {
    try rows.checkZeros(firstRow: firstRow)
  }

  package func spell(_ rows: GroupedRows, into parts: inout [[UInt8]], firstRow: Int) {
    Self.spell(rows.codes, rows, lineCount: rows.columnCount, firstRow, into: &parts[0])
    let zeros = rows.zeros.map { UInt8($0) }
    Self.spell(zeros, rows, lineCount: rows.groupCount, firstRow, into: &parts[2])
    let count = rows.groupCount
    guard count > 0, rows.rowCount > 0 else { return }
    let distance = parts[1].count / count
    var line = [Float](repeating: 0, count: rows.rowCount)
    for group in 0..<count {
      for row in line.indices { line[row] = rows.scales[row * count + group] }
      let start = group * distance + firstRow * 2
      let values = line
      parts[1].change(start..<start + 2 * line.count) {
        FloatFormat(.f16).encode(values.span, into: &$0)
      }
    }
  }

  private static func spell(
    _ codes: [UInt8], _ rows: GroupedRows, lineCount: Int, _ firstRow: Int,
    into part: inout [UInt8]
  ) {
    guard lineCount > 0, rows.rowCount > 0 else { return }
    let distance = part.count / lineCount
    part.change(firstRow / 2..<part.count) {
      AWQPacking.pack(codes.span, rows: rows.rowCount, into: &$0, distance: distance)
    }
  }

  package func read(_ parts: [[UInt8]], firstRow: Int, into rows: GroupedRows) {
    let count = rows.groupCount
    guard count > 0, rows.rowCount > 0 else { return }
    Self.read(parts[0], rows, lineCount: rows.columnCount, firstRow, into: &rows.codes)
    var zeros = [UInt8](repeating: 0, count: rows.zeros.count)
    Self.read(parts[2], rows, lineCount: count, firstRow, into: &zeros)
    for index in zeros.indices { rows.zeros[index] = Float(zeros[index]) }
    let distance = parts[1].count / count
    let format = FloatFormat(rows.grouping.parameters)
    let width = format.byteCount
    var line = [Float](repeating: 0, count: rows.rowCount)
    for group in 0..<count {
      let start = group * distance + firstRow * width
      Self.decode(parts[1][start..<start + width * line.count], format, into: &line)
      for row in line.indices { rows.scales[row * count + group] = line[row] }
    }
  }

  private static func decode(
    _ bytes: ArraySlice<UInt8>, _ format: FloatFormat, into values: inout [Float]
  ) {
    var target = values.mutableSpan
    format.decode(bytes.span, into: &target)
  }

  private static func read(
    _ part: [UInt8], _ rows: GroupedRows, lineCount: Int, _ firstRow: Int,
    into codes: inout [UInt8]
  ) {
    let distance = part.count / lineCount
    let lines = part[(firstRow / 2)...]
    var target = codes.mutableSpan
    AWQPacking.unpack(
      lines.span, distance: distance, rows: rows.rowCount, into: &target)
  }

  // MARK: - Names

  private static let weight = ".weight"
  private static let codes = ".qweight"
  private static let scales = ".scales"
  private static let zeros = ".qzeros"
}
