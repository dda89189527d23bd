import Kernels
import TestSupport
import Testing

@Suite struct CRC32CTests {
  private func twin(_ bytes: some Sequence<UInt8>) -> UInt32 {
    var crc = ~UInt32(0)
    for byte in bytes {
      crc ^= UInt32(byte)
      for _ in 0..<8 { crc = crc >> 1 ^ (crc & 1 == 1 ? 0x82f6_3b78 : 0) }
    }
    return ~crc
  }

  private func checksum(_ bytes: [UInt8], on set: InstructionSet) -> UInt32 {
    CRC32C(of: bytes.span, on: set).value
  }

  @Test("the test vectors of RFC 3720 hold", arguments: InstructionSet.available)
  func vectors(set: InstructionSet) {
    #expect(checksum([UInt8](repeating: 0, count: 32), on: set) == 0x8a91_36aa)
    #expect(checksum([UInt8](repeating: 0xff, count: 32), on: set) == 0x62a8_ab43)
    #expect(checksum(Array(0..<32), on: set) == 0x46dd_794e)
    #expect(checksum((0..<32).reversed(), on: set) == 0x113f_db5c)
    #expect(checksum(Array("123456789".utf8), on: set) == 0xe306_9283)
    #expect(checksum([], on: set) == 0)
  }

  @Test(
    "checksums of all lengths match a bitwise loop (seed 61)", arguments: InstructionSet.available)
  func lengths(set: InstructionSet) {
    var random = Seeded(61)
    let bytes = random.bytes(9300)
    for count in Array(0...130) + [3071, 3072, 3073, 6143, 6144, 6151, 9299] {
      for start in 0...1 {
        let part = Array(bytes[start..<(start + count)])
        #expect(checksum(part, on: set) == twin(part), "\(count) bytes from \(start)")
      }
    }
  }

  @Test(
    "checksums of pieces combine to that of the whole (seed 62)",
    arguments: InstructionSet.available)
  func pieces(set: InstructionSet) {
    var random = Seeded(62)
    let bytes = random.bytes(7001)
    let whole = checksum(bytes, on: set)
    for cut in [0, 1, 7, 8, 1000, 3072, 4096, 7000, 7001] {
      let span = bytes.span
      var read = CRC32C()
      read.update(span.extracting(0..<cut), on: set)
      read.update(span.extracting(cut..<7001), on: set)
      #expect(read.value == whole)

      var appended = CRC32C(of: span.extracting(0..<cut), on: set)
      let next = CRC32C(of: span.extracting(cut..<7001), on: set)
      appended.append(next, byteCount: 7001 - cut)
      #expect(appended == read)
    }
  }

  @Test("appending is associative, even for lengths beyond any memory")
  func longLengths() {
    let (a, b, c) = (CRC32C(0x1234_5678), CRC32C(0x9abc_def0), CRC32C(0x0fed_cba9))
    let (lengthB, lengthC) = (3 << 40, 5 << 50)
    var left = a
    left.append(b, byteCount: lengthB)
    left.append(c, byteCount: lengthC)
    var right = b
    right.append(c, byteCount: lengthC)
    var whole = a
    whole.append(right, byteCount: lengthB + lengthC)
    #expect(left == whole)
  }
}
