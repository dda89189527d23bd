internal import Bytes
internal import Kernels
package import TensorModel

/// Converts rows from and to the stripes of a GPTQ layer.
extension GPTQCodec {
  package func write(_ rows: GroupedRows, into parts: inout [[UInt8]], firstRow: Int) {
    let packing = BitPacking(bits: rows.grouping.bits)
    let codes = rows.codes
    parts[0].change(parts[0].indices) {
      packing.packLines(codes.span, rows: rows.rowCount, firstRow: firstRow, into: &$0)
    }
    let positions = rows.parameterPositions
    let zeros = zeroCodes(of: rows, at: positions)
    var words = [UInt8](repeating: 0, count: zeros.count * rows.grouping.bits / 8)
    words.change(words.indices) { packing.pack(zeros.span, rows: positions.count, into: &$0) }
    parts[1].fillStripes(positions.count, at: firstRow * rows.grouping.bits / 8, with: words)
    let scales = rows.transposed(rows.scales, at: positions)
    var halves = [UInt8](repeating: 0, count: 2 * scales.count)
    halves.change(halves.indices) { FloatFormat.float16.encode(scales.span, into: &$0) }
    parts[2].fillStripes(positions.count, at: 2 * firstRow, with: halves)
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

  /// The zero points as they are stored, as positions × rows.
  private func zeroCodes(of rows: GroupedRows, at positions: [Int]) -> [UInt8] {
    func code(_ zero: Float) -> UInt8 { UInt8(truncatingIfNeeded: Int(zero) - version.offset) }
    guard rows.grouping.offset == .zeroPoint else {
      let code = code(Float(rows.grouping.centralCode))
      return [UInt8](repeating: code, count: positions.count * rows.rowCount)
    }
    return rows.transposed(rows.zeros, at: positions).map(code)
  }

  package func read(_ parts: [[UInt8]], firstRow: Int, into rows: GroupedRows) {
    let packing = BitPacking(bits: rows.grouping.bits)
    Self.unpack(parts[0], packing, rows: rows.rowCount, firstRow: firstRow, into: &rows.codes)
    let groups = Self.groupCount(rows.grouping, rows.columnCount)
    let rowCount = rows.rowCount
    var scales = [Float](repeating: 0, count: groups * rowCount)  // groups × rows
    let format = FloatFormat(rows.grouping.parameters)
    let scaleStripe = parts[2].count / groups
    for group in 0..<groups {
      let start = group * scaleStripe + firstRow * format.byteCount
      let bytes = parts[2][start..<start + rowCount * format.byteCount]
      scales.changeElements(group * rowCount..<(group + 1) * rowCount) {
        format.decode(bytes.span, into: &$0)
      }
    }
    var zeros: [Float] = []
    if rows.grouping.offset == .zeroPoint {
      zeros = self.zeros(parts[1], packing, groups, rowCount, firstRow)
    }
    rows.groupIndex = []
    if rows.grouping.isScattered {
      rows.groupIndex =
        parts.count > 3
        ? GroupIndex.numbers(parts[3])
        : (0..<rows.columnCount).map { $0 / rows.grouping.groupSize }
    }
    let index = rows.grouping.isScattered ? rows.groupIndex : Array(0..<groups)
    Self.transpose(scales, index, rowCount, into: &rows.scales)
    if rows.grouping.offset == .zeroPoint {
      Self.transpose(zeros, index, rowCount, into: &rows.zeros)
    }
  }

  /// The zero points of some rows, as groups × rows.
  ///
  /// In the first version gptqmodel subtracts 1 from all codes of a word together, so that a zero
  /// point of 0 takes 1 from the next one; adding to whole words gives it back. Codes of 3 bits, which
  /// straddle words, it changes one by one, modulo 8.
  private func zeros(
    _ bytes: [UInt8], _ packing: BitPacking, _ groups: Int, _ rowCount: Int, _ firstRow: Int
  ) -> [Float] {
    var codes = [UInt8](repeating: 0, count: groups * rowCount)
    let stripeByteCount = bytes.count / groups
    let mask = 1 << packing.bits - 1
    let fillsWords = 32 % packing.bits == 0
    let ones = UInt32.max / UInt32(mask) * UInt32(version.offset)
    for group in 0..<groups {
      let start = group * stripeByteCount + firstRow * packing.bits / 8
      var stripe = Array(bytes[start..<start + rowCount * packing.bits / 8])
      if fillsWords { stripe.addToWords(ones) }
      codes.changeElements(group * rowCount..<(group + 1) * rowCount) {
        packing.unpack(stripe.span, rows: 1, into: &$0)
      }
    }
    let offset = fillsWords ? 0 : version.offset
    return codes.map { Float((Int($0) + offset) & mask) }
  }

  /// Transposes groups × rows numbers to rows × entries of an index, which names a group each.
  private static func transpose(
    _ numbers: [Float], _ index: [Int], _ rowCount: Int, into target: inout [Float]
  ) {
    for row in 0..<rowCount {
      let start = row * index.count
      for (position, group) in index.enumerated() {
        target[start + position] = numbers[group * rowCount + row]
      }
    }
  }

  private static func unpack(
    _ stripes: [UInt8], _ packing: BitPacking, rows: Int, firstRow: Int, into codes: inout [UInt8]
  ) {
    var target = codes.mutableSpan
    packing.unpackLines(stripes.span, rows: rows, firstRow: firstRow, into: &target)
  }
}

extension [UInt8] {
  /// Adds a number to each little-endian word of 32 bits, modulo 2^32.
  fileprivate mutating func addToWords(_ number: UInt32) {
    for start in stride(from: 0, to: count, by: 4) {
      let word = (0..<4).reduce(UInt32(0)) { $0 | UInt32(self[start + $1]) << UInt32(8 * $1) }
      let sum = word &+ number
      for place in 0..<4 {
        self[start + place] = UInt8(truncatingIfNeeded: sum >> UInt32(8 * place))
      }
    }
  }
}

extension GroupedRows {
  /// For each group the position of its parameters among those of a row.
  ///
  /// For scattered groups it is the first column of the group. A group without columns gets the
  /// parameters of column 0, which no column uses.
  fileprivate var parameterPositions: [Int] {
    let count = GPTQCodec.groupCount(grouping, columnCount)
    guard grouping.isScattered else { return Array(0..<count) }
    var positions = [Int](repeating: 0, count: count)
    for (column, group) in groupIndex.enumerated().reversed() where group < count {
      positions[group] = column
    }
    return positions
  }
}
