internal import Bytes
internal import Kernels
package import TensorModel

/// The codec of compressed-tensors, format `pack-quantized`.
///
/// A grouped weight consists of `weight_packed`, which contains the codes, `weight_scale`,
/// `weight_zero_point` unless it is symmetric, and `weight_shape`, which contains its extents.
package struct CompressedTensorsCodec: WeightCodec {
  /// The config of a model that is read; nil for writing.
  let config: CompressedTensorsConfig?
  /// How codes and zero points are packed.
  let packing: WordPacking
  /// Scales have the same bytes as in the parts of a pleat file.
  private let parts = PleatFileCodec()

  /// Creates the codec for writing.
  package init() { (config, packing) = (nil, .dense) }

  /// Creates the codec for reading a model with a config and a packing.
  init(_ config: CompressedTensorsConfig, _ packing: WordPacking) {
    (self.config, self.packing) = (config, packing)
  }

  static let bits = Grouping.supportedBits

  package var groupedNameEnding: String? { Self.weight }

  package func admission(of encoding: Encoding) -> Admission {
    guard case .grouped(let grouping) = encoding else {
      switch encoding {
      case .foreign(let type):
        return .refused("compressed-tensors has no type \(type.name)")
      case .scaled:
        return .refused("Pleat writes only whole numbers as codes of compressed-tensors")
      case .plain, .grouped: return .exact
      }
    }
    guard grouping.offset != .bias, !grouping.hasFractionalZeroPoints else {
      return .refused("compressed-tensors stores whole zero points or none, found \(grouping)")
    }
    guard !grouping.isScattered else {
      return .refused(
        "compressed-tensors supports only groups of neighbouring columns, found \(grouping)")
    }
    guard Self.bits.contains(grouping.bits) else {
      return .refused("compressed-tensors does not support codes of \(grouping.bits) bits")
    }
    return .exact
  }

  package func shapeRefusal(_ shape: Shape, _ grouping: Grouping) -> String? {
    shape.rank == 2
      ? nil : "compressed-tensors does not support stacks of matrices, found \(shape)"
  }

  package func parts(of info: TensorInfo) -> [StoredTensor] {
    guard case .grouped(let grouping) = info.encoding else { return plainParts(of: info) }
    let (rows, columns) = (info.shape.rowCount, info.shape.columnCount)
    let groups = columns / grouping.groupSize
    let words = packing.wordCount(columns, bits: grouping.bits)
    func part(
      _ name: String, _ role: PartRole, _ extents: [Int], _ type: ScalarType, _ layout: RowLayout
    ) -> StoredTensor {
      StoredTensor(
        partOf: info.name, .init(name, replacing: Self.weight), role: role,
        shape: Shape(validating: extents) ?? info.shape, encoding: .plain(type), rows: layout)
    }
    let layouts = layouts(info, grouping)
    var parts = [
      part(Self.codes, .codes, [rows, words], .i32, layouts[0]),
      part(Self.scales, .scales, [rows, groups], grouping.parameters, layouts[1]),
    ]
    if grouping.offset == .zeroPoint {
      let wordRows = packing.wordCount(rows, bits: grouping.bits)
      parts.append(part(Self.zeros, .zeros, [wordRows, groups], .i32, layouts[2]))
    }
    var extents = part(Self.extents, .extents, [2], .i64, layouts[layouts.count - 1])
    var content: [UInt8] = []
    for extent in [rows, columns] { content.append(littleEndian: Int64(extent)) }
    extents.content = content
    return parts + [extents]
  }

  /// The row layout of each part of a weight; that of the group index of scattered groups is last.
  func layouts(_ info: TensorInfo, _ grouping: Grouping) -> [RowLayout] {
    let (rows, columns) = (info.shape.rowCount, info.shape.columnCount)
    let groups = columns / grouping.groupSize
    let codes = packing.wordCount(columns, bits: grouping.bits) * 4
    let scales = groups * grouping.parameters.bitWidth / 8
    var layouts = [
      RowLayout(rowByteCount: codes, byteCount: rows * codes),
      RowLayout(rowByteCount: scales, byteCount: rows * scales),
    ]
    if grouping.offset == .zeroPoint {
      let step = packing.step(bits: grouping.bits)
      layouts.append(
        RowLayout(
          stripeCount: 1,
          stripeByteCount: packing.wordCount(rows, bits: grouping.bits) * groups * 4,
          rowsPerStep: step.numbers, bytesPerStep: step.words * groups * 4))
    }
    layouts.append(RowLayout(wholeByteCount: 16))
    if grouping.isScattered { layouts.append(RowLayout(wholeByteCount: columns * 4)) }
    return layouts
  }

  // MARK: - Rows

  package func check(_ rows: GroupedRows, firstRow: Int) throws(ModelError) {
    try rows.checkZeros(firstRow: firstRow)
  }

  package func write(_ rows: GroupedRows, into parts: inout [[UInt8]], firstRow: Int) {
    let bits = rows.grouping.bits
    let packing = BitPacking(bits: bits)
    let rowByteCount = packing.byteCount(columns: rows.columnCount)
    let codes = rows.codes
    parts[0].change(firstRow * rowByteCount..<(firstRow + rows.rowCount) * rowByteCount) {
      packing.pack(codes.span, rows: rows.rowCount, into: &$0)
    }
    self.parts.write(rows.scales, of: rows, to: &parts[1], firstRow)
    guard rows.grouping.offset == .zeroPoint else { return }
    let zeros = WordPacking.packedZeros(rows.zeros, bits: bits, rows: rows.rowCount)
    let step = WordPacking.dense.step(bits: bits)
    let start = firstRow / step.numbers * step.words * rows.groupCount * 4
    parts[2].replaceSubrange(start..<start + zeros.count, with: zeros)
  }

  package func read(_ parts: [[UInt8]], firstRow: Int, into rows: GroupedRows) {
    let grouping = rows.grouping
    let rowByteCount = packing.wordCount(rows.columnCount, bits: grouping.bits) * 4
    packing.unpack(
      parts[0][firstRow * rowByteCount..<(firstRow + rows.rowCount) * rowByteCount],
      bits: grouping.bits, rows: rows.rowCount, into: &rows.codes)
    guard grouping.isScattered else {
      self.parts.read(parts[1], of: rows, into: &rows.scales, firstRow)
      readZeros(parts, firstRow, rows.rowCount, grouping, into: &rows.zeros)
      return
    }
    // The parts have one scale and zero point for each group; `rows` needs them for each column.
    let stored = GroupedRows(
      grouping: Self.gathered(grouping), columnCount: rows.columnCount, rowCount: rows.rowCount)
    self.parts.read(parts[1], of: stored, into: &stored.scales, firstRow)
    readZeros(parts, firstRow, rows.rowCount, grouping, into: &stored.zeros)
    let groups = GroupIndex.numbers(parts[parts.count - 1])
    rows.groupIndex = groups
    let (scales, zeros) = (stored.scales, stored.zeros)
    for row in 0..<rows.rowCount {
      for (column, group) in groups.enumerated() {
        let (to, from) = (row * rows.columnCount + column, row * stored.groupCount + group)
        rows.scales[to] = scales[from]
        if !zeros.isEmpty { rows.zeros[to] = zeros[from] }
      }
    }
  }

  private func readZeros(
    _ parts: [[UInt8]], _ firstRow: Int, _ rowCount: Int, _ grouping: Grouping,
    into zeros: inout [Float]
  ) {
    guard grouping.offset == .zeroPoint, rowCount > 0 else { return }
    let (bits, groups) = (grouping.bits, zeros.count / rowCount)
    let step = packing.step(bits: bits)
    let start = firstRow / step.numbers * step.words * groups * 4
    let count = packing.wordCount(rowCount, bits: bits) * groups * 4
    packing.unpackZeros(
      parts[2][start..<start + count], bits: bits, rows: rowCount, into: &zeros)
  }

  /// The same grouping with groups of neighbouring columns.
  private static func gathered(_ grouping: Grouping) -> Grouping {
    var grouping = grouping
    grouping.isScattered = false
    return grouping
  }

  // MARK: - Names

  static let weight = ".weight"
  static let codes = ".weight_packed"
  static let scales = ".weight_scale"
  static let zeros = ".weight_zero_point"
  static let extents = ".weight_shape"
  static let groupIndex = ".weight_g_idx"
}
