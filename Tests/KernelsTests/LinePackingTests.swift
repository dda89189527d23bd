import Kernels
import TestSupport
import Testing

/// Codes packed down columns, in stripes.
@Suite struct LinePackingTests {
  private static let columns = [32, 64, 96, 480, 512, 544, 1056]
  private static let rows = [1, 3, 4, 15, 16, 17, 37]

  /// The expected bytes: bit k of the stream of a row is bit k mod 32 of its word in stripe k / 32.
  private func twin(_ codes: [UInt8], rows: Int, bits: Int) -> [UInt8] {
    let columns = codes.count / rows
    var bytes = [UInt8](repeating: 0, count: codes.count * bits / 8)
    for row in 0..<rows {
      for k in 0..<(columns * bits) {
        let bit = codes[row * columns + k / bits] >> (k % bits) & 1
        bytes[(k / 32 * rows + row) * 4 + k % 32 / 8] |= bit << (k % 8)
      }
    }
    return bytes
  }

  @Test(
    "each stripe has one word of a row, and the words unpack again (seed 52)",
    arguments: InstructionSet.available, 1...8)
  func layout(set: InstructionSet, bits: Int) {
    var random = Seeded(52)
    let packing = BitPacking(bits: bits)
    for (columns, rows) in Every.pair(of: Self.columns, Self.rows) {
      let codes = random.codes(rows * columns, bits: bits)
      let expected = twin(codes, rows: rows, bits: bits)
      // The bytes start at an odd address, and every one of them must be written.
      var bytes = [UInt8](repeating: 0xff, count: expected.count + 1)
      var found = [UInt8](repeating: 0xff, count: codes.count)
      for piece in Every.pieces(of: rows, 20) {
        let part = Array(codes[piece.lowerBound * columns..<piece.upperBound * columns])
        var span = bytes.mutableSpan
        var raw = span.mutableBytes
        var target = raw._mutatingExtracting(1...)
        packing.packLines(
          part.span, rows: piece.count, firstRow: piece.lowerBound, into: &target, on: set)
      }
      #expect(Array(bytes[1...]) == expected, "\(rows) rows of \(columns)")
      #expect(bytes[0] == 0xff)
      for piece in Every.pieces(of: rows, 20) {
        var part = [UInt8](repeating: 0xff, count: piece.count * columns)
        var span = part.mutableSpan
        packing.unpackLines(
          expected.span, rows: piece.count, firstRow: piece.lowerBound, into: &span, on: set)
        found.replaceSubrange(
          piece.lowerBound * columns..<piece.upperBound * columns, with: part)
      }
      #expect(found == codes, "\(rows) rows of \(columns)")
    }
  }

  @Test(
    "packing some rows leaves the words of others unchanged", arguments: InstructionSet.available)
  func neighbors(set: InstructionSet) {
    let codes = [UInt8](repeating: 5, count: 2 * 32)
    var bytes = [UInt8](repeating: 0xee, count: 3 * 5 * 4)
    var span = bytes.mutableSpan
    var raw = span.mutableBytes
    BitPacking(bits: 3).packLines(codes.span, rows: 2, firstRow: 2, into: &raw, on: set)
    for position in bytes.indices where !(2..<4).contains(position / 4 % 5) {
      #expect(bytes[position] == 0xee)
    }
  }
}
