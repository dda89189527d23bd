import Kernels
import TestSupport
import Testing

@Suite struct AWQPackingTests {
  /// The row of each nibble of a word, from the lowest nibble up: the table of AutoAWQ.
  private static let order = [0, 2, 4, 6, 1, 3, 5, 7]

  /// The expected bytes, one stripe for each column, written nibble by nibble.
  private func twin(_ codes: [UInt8], rows: Int, columns: Int, distance: Int) -> [UInt8] {
    var bytes = [UInt8](repeating: 0xff, count: columns * distance)
    for column in 0..<columns {
      for word in 0..<rows / 8 {
        for byte in 0..<4 {
          let nibbles = [2 * byte, 2 * byte + 1].map {
            codes[(8 * word + Self.order[$0]) * columns + column]
          }
          bytes[column * distance + 4 * word + byte] = nibbles[0] | nibbles[1] << 4
        }
      }
    }
    return bytes
  }

  @Test(
    "words hold eight rows in the order of AWQ, and unpack to the codes (seed 61)",
    arguments: InstructionSet.available)
  func layout(set: InstructionSet) {
    var random = Seeded(61)
    for (rows, columns) in Every.pair(of: [8, 16, 24, 40], Array(1...18) + [31, 32, 64, 100]) {
      for gap in [0, 3] {
        let distance = rows / 2 + gap
        let codes = random.codes(rows * columns, bits: 4)
        let expected = twin(codes, rows: rows, columns: columns, distance: distance)
        // The bytes start at an odd address. Bytes between stripes must stay unchanged.
        var bytes = [UInt8](repeating: 0xff, count: columns * distance + 1)
        var span = bytes.mutableSpan
        var raw = span.mutableBytes
        var part = raw._mutatingExtracting(1...)
        AWQPacking.pack(codes.span, rows: rows, into: &part, distance: distance, on: set)
        #expect(bytes[0] == 0xff)
        #expect(Array(bytes[1...]) == expected, "\(rows)×\(columns)")
        var again = [UInt8](repeating: 0xff, count: rows * columns)
        var target = again.mutableSpan
        AWQPacking.unpack(
          bytes.span.extracting(1...), distance: distance, rows: rows, into: &target, on: set)
        #expect(again == codes, "\(rows)×\(columns)")
      }
    }
  }

  @Test("rows 0 to 7 are nibbles 0, 4, 1, 5, 2, 6, 3, 7") func example() {
    var bytes = [UInt8](repeating: 0, count: 4)
    var span = bytes.mutableSpan
    var raw = span.mutableBytes
    let codes: [UInt8] = [0, 1, 2, 3, 4, 5, 6, 7]
    AWQPacking.pack(codes.span, rows: 8, into: &raw, distance: 4)
    #expect(bytes == [0x20, 0x64, 0x31, 0x75])
  }
}
