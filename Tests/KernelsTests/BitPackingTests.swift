import Kernels
import TestSupport
import Testing

@Suite struct BitPackingTests {
  private static let lengths = Array(0...70) + [96, 127, 128, 129, 160, 255, 256, 257, 1000, 4096]

  /// The expected bytes: bit k of the stream is bit k mod `bits` of code k / `bits`.
  private func twin(_ row: ArraySlice<UInt8>, bits: Int) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: (row.count * bits + 31) / 32 * 4)
    for k in 0..<(row.count * bits) {
      let bit = row[row.startIndex + k / bits] >> (k % bits) & 1
      bytes[k / 8] |= bit << (k % 8)
    }
    return bytes
  }

  private func packed(
    _ codes: [UInt8], rows: Int, bits: Int, on set: InstructionSet
  ) -> [UInt8] {
    let packing = BitPacking(bits: bits)
    let size = rows * packing.byteCount(columns: codes.count / rows)
    // The bytes start at an odd address, and every one of them must be written.
    var bytes = [UInt8](repeating: 0xff, count: size + 1)
    var span = bytes.mutableSpan
    var raw = span.mutableBytes
    var part = raw._mutatingExtracting(1...)
    packing.pack(codes.span, rows: rows, into: &part, on: set)
    #expect(bytes[0] == 0xff)
    return Array(bytes[1...])
  }

  private func unpacked(
    _ bytes: [UInt8], rows: Int, columns: Int, bits: Int, on set: InstructionSet
  ) -> [UInt8] {
    var codes = [UInt8](repeating: 0xff, count: rows * columns)
    var span = codes.mutableSpan
    BitPacking(bits: bits).unpack(bytes.span, rows: rows, into: &span, on: set)
    return codes
  }

  @Test(
    "rows are bit streams, and unpack again (seed 51)", arguments: InstructionSet.available, 1...8)
  func layout(set: InstructionSet, bits: Int) {
    var random = Seeded(51)
    for columns in Self.lengths {
      let rows = 3
      let codes = random.codes(rows * columns, bits: bits)
      let bytes = packed(codes, rows: rows, bits: bits, on: set)
      let expected = (0..<rows).flatMap {
        twin(codes[($0 * columns)..<(($0 + 1) * columns)], bits: bits)
      }
      #expect(bytes == expected, "\(columns) columns")
      #expect(unpacked(bytes, rows: rows, columns: columns, bits: bits, on: set) == codes)
    }
  }

  @Test("padding bits are ignored", arguments: InstructionSet.available, 1...8)
  func filling(set: InstructionSet, bits: Int) {
    for columns in Self.lengths where columns * bits % 32 != 0 {
      var bytes = [UInt8](repeating: 0, count: (columns * bits + 31) / 32 * 4)
      for k in (columns * bits)..<(8 * bytes.count) { bytes[k / 8] |= 1 << (k % 8) }
      let codes = unpacked(bytes, rows: 1, columns: columns, bits: bits, on: set)
      #expect(codes.allSatisfy { $0 == 0 }, "\(columns) columns")
    }
  }

  @Test("eight 4-bit codes are one word, with the first code lowest")
  func example() {
    let bytes = packed([1, 2, 3, 4, 5, 6, 7, 8, 9], rows: 1, bits: 4, on: .best)
    #expect(bytes == [0x21, 0x43, 0x65, 0x87, 0x09, 0, 0, 0])
  }
}
