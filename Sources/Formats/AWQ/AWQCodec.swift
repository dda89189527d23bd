internal import Bytes
internal import Kernels
package import TensorModel

/// The codec of AutoAWQ, version `gemm`.
///
/// A grouped weight consists of `qweight`, which contains the codes, `qzeros` and `scales`. Each has
/// a stripe for each column, or for each group of columns, with the rows along the stripe.
package struct AWQCodec: WeightCodec {
  /// The config of a model that is read; nil for writing.
  private let config: AWQConfig?

  /// Creates the codec for writing.
  package init() { config = nil }

  /// Creates the codec for reading a model with a config.
  init(_ config: AWQConfig) { self.config = config }

  static let bits = [AWQConfig.bits]
  static let groupSizes = [128, 32, 64]

  package var groupedNameEnding: String? { Self.weight }

  package var parameterTypes: [ScalarType] { [.f16] }

  package func admission(of encoding: Encoding) -> Admission {
    guard case .grouped(let grouping) = encoding else {
      switch encoding {
      case .foreign(let type): return .refused("awq has no type \(type.name)")
      case .scaled(let codes): return .refused("awq has no type \(codes.name)")
      case .plain, .grouped: return .exact
      }
    }
    guard grouping.bits == AWQConfig.bits, grouping.offset == .zeroPoint,
      !grouping.isScattered, !grouping.hasFractionalZeroPoints
    else {
      return .refused(
        "awq needs 4-bit codes and a whole zero point for each group, found \(grouping)")
    }
    return grouping.parameters == .f16
      ? .exact : .rounded("scales become F16, found \(grouping.parameters.name)")
  }

  package func shapeRefusal(_ shape: Shape, _ grouping: Grouping) -> String? {
    let isRow = grouping.groupSize == shape.columnCount
    guard isRow || Self.groupSizes.contains(grouping.groupSize) else {
      return "awq supports groups of 32, 64 or 128, or a row, found \(grouping)"
    }
    guard shape.rank == 2 else { return "awq does not support stacks of matrices, found \(shape)" }
    guard shape.rowCount % AWQPacking.rowsPerWord == 0 else {
      return "awq packs \(AWQPacking.rowsPerWord) rows into a word, found \(shape)"
    }
    return nil
  }

  package func parts(of info: TensorInfo) -> [StoredTensor] {
    guard case .grouped(let grouping) = info.encoding else { return plainParts(of: info) }
    let (rows, columns) = (info.shape.rowCount, info.shape.columnCount)
    let (words, groups) = (rows / AWQPacking.rowsPerWord, columns / grouping.groupSize)
    let layouts = Self.layouts(rows: rows, columns: columns, groups: groups, parameters: .f16)
    func part(
      _ name: String, _ role: PartRole, _ extents: [Int], _ type: ScalarType, _ layout: RowLayout
    ) -> StoredTensor {
      StoredTensor(
        partOf: info.name, .init(name, replacing: Self.weight), role: role,
        shape: Shape(validating: extents) ?? info.shape, encoding: .plain(type), rows: layout)
    }
    return [
      part(Self.codes, .codes, [columns, words], .i32, layouts[0]),
      part(Self.scales, .scales, [groups, rows], .f16, layouts[1]),
      part(Self.zeros, .zeros, [groups, words], .i32, layouts[2]),
    ]
  }

  /// The row layouts of the codes, the scales and the zero points.
  private static func layouts(
    rows: Int, columns: Int, groups: Int, parameters: ScalarType
  ) -> [RowLayout] {
    func stripes(_ count: Int, bits: Int) -> RowLayout {
      RowLayout(
        stripeCount: count, stripeByteCount: rows * bits / 8, rowsPerStep: AWQPacking.rowsPerWord,
        bytesPerStep: AWQPacking.rowsPerWord * bits / 8)
    }
    return [
      stripes(columns, bits: AWQConfig.bits), stripes(groups, bits: parameters.bitWidth),
      stripes(groups, bits: AWQConfig.bits),
    ]
  }

  package func gather(_ contents: StoredContents) throws(ModelError) -> [GatheredTensor] {
    let stored = contents.tensors
    let names = StoredNames(stored)
    var weights: [Int: GatheredTensor] = [:]
    for path in names.layerPaths(endingIn: [Self.codes, Self.zeros]) {
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
  /// Throws `malformed` if their shapes do not fit the config, and `unsupported` for other types.
  private func info(
    _ parts: [StoredTensor], _ path: String
  ) throws(ModelError) -> (TensorInfo, ScalarType) {
    let (codes, scales, zeros) = (parts[0], parts[1], parts[2])
    guard codes.encoding == .plain(.i32), zeros.encoding == .plain(.i32),
      case .plain(let type) = scales.encoding, Grouping.supportedParameters.contains(type)
    else {
      throw ModelError(
        .unsupported, "the tensors of the weight do not have the types of AWQ", tensor: codes.name,
        expected: "I32 words, scales in F16, BF16 or F32, I32 words",
        found: parts.map(\.encoding.description).joined(separator: ", "),
        hint: "another tool packed them: start from the 16-bit model")
    }
    // A word contains eight rows, so the product of rows and columns may overflow although that of
    // the words does not.
    guard codes.shape.rank == 2, scales.shape.rank == 2,
      case (let columns, let words) = (codes.shape.dimensions[0], codes.shape.dimensions[1]),
      case (let groups, let rows) = (scales.shape.dimensions[0], scales.shape.dimensions[1]),
      rows % AWQPacking.rowsPerWord == 0, rows / AWQPacking.rowsPerWord == words,
      zeros.shape.dimensions == [groups, words], groups > 0, columns > 0, columns % groups == 0,
      (config?.groupSize).map({ $0 == columns / groups }) ?? (groups == 1),
      let shape = Shape(validating: [rows, columns])
    else {
      throw ModelError(
        .malformed, "the tensors of the weight do not fit the groups of the config",
        tensor: codes.name,
        expected: "4-bit codes, "
          + (config?.groupSize.map { "groups of \($0) columns" } ?? "groups of a row"),
        found: "\(codes.shape) words, \(scales.shape) scales, \(zeros.shape) words of zero points")
    }
    let grouping = Grouping(
      bits: AWQConfig.bits, groupSize: columns / groups, offset: .zeroPoint,
      parameters: type)
    let info = TensorInfo(name: path + Self.weight, shape: shape, encoding: .grouped(grouping))
    return (info, type)
  }

  // MARK: - Rows

  package func check(_ rows: GroupedRows, firstRow: Int) throws(ModelError) {
    try rows.checkZeros(firstRow: firstRow)
  }

  package func write(_ rows: GroupedRows, into parts: inout [[UInt8]], firstRow: Int) {
    Self.write(rows.codes, rows, stripeCount: rows.columnCount, firstRow, into: &parts[0])
    let zeros = rows.zeros.map { UInt8($0) }
    Self.write(zeros, rows, stripeCount: rows.groupCount, firstRow, into: &parts[2])
    let count = rows.groupCount
    guard count > 0, rows.rowCount > 0 else { return }
    let scales = rows.transposed(rows.scales, at: 0..<count)
    var halves = [UInt8](repeating: 0, count: 2 * scales.count)
    halves.change(halves.indices) { FloatFormat(.f16).encode(scales.span, into: &$0) }
    parts[1].fillStripes(count, at: 2 * firstRow, with: halves)
  }

  private static func write(
    _ codes: [UInt8], _ rows: GroupedRows, stripeCount: Int, _ firstRow: Int,
    into part: inout [UInt8]
  ) {
    guard stripeCount > 0, rows.rowCount > 0 else { return }
    let distance = part.count / stripeCount
    part.change(firstRow / 2..<part.count) {
      AWQPacking.pack(codes.span, rows: rows.rowCount, into: &$0, distance: distance)
    }
  }

  package func read(_ parts: [[UInt8]], firstRow: Int, into rows: GroupedRows) {
    let count = rows.groupCount
    guard count > 0, rows.rowCount > 0 else { return }
    Self.read(parts[0], rows, stripeCount: rows.columnCount, firstRow, into: &rows.codes)
    var zeros = [UInt8](repeating: 0, count: rows.zeros.count)
    Self.read(parts[2], rows, stripeCount: count, firstRow, into: &zeros)
    for index in zeros.indices { rows.zeros[index] = Float(zeros[index]) }
    let distance = parts[1].count / count
    let format = FloatFormat(rows.grouping.parameters)
    let width = format.byteCount
    var stripe = [Float](repeating: 0, count: rows.rowCount)
    for group in 0..<count {
      let start = group * distance + firstRow * width
      Self.decode(parts[1][start..<start + width * stripe.count], format, into: &stripe)
      for row in stripe.indices { rows.scales[row * count + group] = stripe[row] }
    }
  }

  private static func decode(
    _ bytes: ArraySlice<UInt8>, _ format: FloatFormat, into values: inout [Float]
  ) {
    var target = values.mutableSpan
    format.decode(bytes.span, into: &target)
  }

  private static func read(
    _ part: [UInt8], _ rows: GroupedRows, stripeCount: Int, _ firstRow: Int,
    into codes: inout [UInt8]
  ) {
    let distance = part.count / stripeCount
    let stripes = part[(firstRow / 2)...]
    var target = codes.mutableSpan
    AWQPacking.unpack(
      stripes.span, distance: distance, rows: rows.rowCount, into: &target)
  }

  // MARK: - Names

  private static let weight = ".weight"
  private static let codes = ".qweight"
  private static let scales = ".scales"
  private static let zeros = ".qzeros"
}
