internal import Bytes
internal import Kernels
package import TensorModel

/// Rows, from the lines of a GPTQ layer and to them.
extension GPTQSpelling {
  package func spell(_ rows: GroupedRows, into parts: inout [[UInt8]], firstRow: Int) {
    let packing = BitPacking(bits: rows.grouping.bits)
    let codes = rows.codes
    parts[0].change(parts[0].indices) {
      packing.packLines(codes.span, rows: rows.rowCount, firstRow: firstRow, into: &$0)
    }
    let places = rows.placesOfGroups
    let zeroLine = parts[1].count / places.count
    let scaleLine = parts[2].count / places.count
    let zeroStart = firstRow * rows.grouping.bits / 8
    for (group, place) in places.enumerated() {
      let zeros = rows.zeros(at: place).map {
        UInt8(truncatingIfNeeded: Int($0) - version.offset)
      }
      let start = group * zeroLine + zeroStart
      parts[1].change(start..<start + zeros.count * rows.grouping.bits / 8) {
        packing.pack(zeros.span, rows: 1, into: &$0)
      }
      let scales = rows.numbers(rows.scales, at: place)
      let scaleStart = group * scaleLine + 2 * firstRow
      parts[2].change(scaleStart..<scaleStart + 2 * scales.count) {
        FloatFormat.float16.encode(scales.span, into: &$0)
      }
    }
    // The index is the same for all rows.
    guard firstRow == 0 else { return }
    var index: [UInt8] = []
    index.reserveCapacity(4 * rows.columnCount)
    for column in 0..<rows.columnCount {
      let group =
        rows.grouping.isScattered ? rows.groupIndex[column] : column / rows.grouping.groupSize
      index.append(littleEndian: Int32(group))
    }
    parts[3] = index
  }

  package func read(_ parts: [[UInt8]], firstRow: Int, into rows: GroupedRows) {
    let packing = BitPacking(bits: rows.grouping.bits)
    Self.unpack(parts[0], packing, rows: rows.rowCount, firstRow: firstRow, into: &rows.codes)
    let groups = Self.groupCount(rows.grouping, rows.columnCount)
    let places = 0..<rows.rowCount
    var scales = [Float](repeating: 0, count: groups * rows.rowCount)  // groups × rows
    let format = FloatFormat(rows.grouping.parameters)
    let scaleLine = parts[2].count / groups
    for group in 0..<groups {
      let start = group * scaleLine + firstRow * format.byteCount
      let bytes = parts[2][start..<start + rows.rowCount * format.byteCount]
      scales.changeElements(group * places.count..<(group + 1) * places.count) {
        format.decode(bytes.span, into: &$0)
      }
    }
    var zeros: [Float] = []
    if rows.grouping.offset == .zeroPoint {
      zeros = self.zeros(parts[1], packing, groups, rows.rowCount, firstRow)
    }
    rows.groupIndex = []
    if rows.grouping.isScattered {
      rows.groupIndex =
        parts.count > 3
        ? GPTQLayer.groups(parts[3])
        : (0..<rows.columnCount).map { $0 / rows.grouping.groupSize }
    }
    let index = rows.grouping.isScattered ? rows.groupIndex : Array(0..<groups)
    Self.turn(scales, index, rows.rowCount, into: &rows.scales)
    if rows.grouping.offset == .zeroPoint {
      Self.turn(zeros, index, rows.rowCount, into: &rows.zeros)
    }
  }

  /// The zero points of some rows, groups × rows.
  private func zeros(
    _ bytes: [UInt8], _ packing: BitPacking, _ groups: Int, _ rowCount: Int, _ firstRow: Int
  ) -> [Float] {
    var codes = [UInt8](repeating: 0, count: groups * rowCount)
    let lineByteCount = bytes.count / groups
    for group in 0..<groups {
      let start = group * lineByteCount + firstRow * packing.bits / 8
      let line = bytes[start..<start + rowCount * packing.bits / 8]
      codes.changeElements(group * rowCount..<(group + 1) * rowCount) {
        packing.unpack(line.span, rows: 1, into: &$0)
      }
    }
    return codes.map { Float(Int($0) + version.offset) }
  }

  /// Puts numbers that are groups × rows where each row has one for each entry of an index.
  private static func turn(
    _ numbers: [Float], _ index: [Int], _ rowCount: Int, into target: inout [Float]
  ) {
    for row in 0..<rowCount {
      let start = row * index.count
      for (place, group) in index.enumerated() {
        target[start + place] = numbers[group * rowCount + row]
      }
    }
  }

  private static func unpack(
    _ lines: [UInt8], _ packing: BitPacking, rows: Int, firstRow: Int, into codes: inout [UInt8]
  ) {
    var target = codes.mutableSpan
    packing.unpackLines(lines.span, rows: rows, firstRow: firstRow, into: &target)
  }
}

extension GroupedRows {
  /// For each group where its parameters are in a row; where an index names no column of it, those
  /// of the first column, which nobody looks at.
  fileprivate var placesOfGroups: [Int] {
    let count = GPTQSpelling.groupCount(grouping, columnCount)
    guard grouping.isScattered else { return Array(0..<count) }
    var places = [Int](repeating: 0, count: count)
    for (column, group) in groupIndex.enumerated().reversed() where group < count {
      places[group] = column
    }
    return places
  }

  /// The numbers of a place in all rows.
  fileprivate func numbers(_ values: [Float], at place: Int) -> [Float] {
    (0..<rowCount).map { values[$0 * groupCount + place] }
  }

  fileprivate func zeros(at place: Int) -> [Float] {
    grouping.offset == .zeroPoint
      ? numbers(zeros, at: place)
      : [Float](repeating: Float(grouping.centralCode), count: rowCount)
  }
}
