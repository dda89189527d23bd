import Bytes
import SystemPackage
import TensorModel
import TestSupport
import Testing

@Suite struct ByteReaderTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  /// Two readers of the same bytes: from memory and from a file.
  private func readers(_ bytes: [UInt8]) throws -> [ByteReader] {
    let file = try InputFile(FilePath(scratch.write(bytes, as: "f")))
    return [ByteReader(bytes, path: "memory"), ByteReader(file)]
  }

  @Test("integers are read in either byte order") func integers() throws {
    for var reader in try readers(Array(1...30)) {
      #expect(try reader.integer(UInt8.self, of: "x") == 0x01)
      #expect(try reader.integer(UInt16.self, of: "x") == 0x0302)
      #expect(try reader.integer(UInt32.self, of: "x") == 0x0706_0504)
      #expect(try reader.integer(UInt64.self, of: "x") == 0x0f0e_0d0c_0b0a_0908)
      reader.isBigEndian = true
      #expect(try reader.integer(UInt8.self, of: "x") == 0x10)
      #expect(try reader.integer(UInt16.self, of: "x") == 0x1112)
      #expect(try reader.integer(UInt32.self, of: "x") == 0x1314_1516)
      #expect(try reader.integer(UInt64.self, of: "x") == 0x1718_191a_1b1c_1d1e)
      #expect(reader.remaining == 0)
    }
  }

  @Test("a truncated file is malformed, and a failed read does not advance", arguments: 0..<8)
  func truncation(length: Int) throws {
    for var reader in try readers([UInt8](repeating: 1, count: length)) {
      let errors = [
        Laws.error { () throws(ModelError) in try reader.integer(UInt64.self, of: "a number") },
        Laws.error { () throws(ModelError) in try reader.bytes(length + 1, of: "a text") },
        Laws.error { () throws(ModelError) in try reader.require(length + 1, of: "a text") },
        Laws.error { () throws(ModelError) in try reader.require(.max, of: "a text") },
      ]
      for error in errors {
        #expect(error?.kind == .malformed)
        #expect(error?.what.contains("truncated") == true)
        #expect(error?.offset == 0)
        #expect(error?.found == "\(length)")
      }
      #expect(try reader.bytes(length, of: "x").count == length)
    }
  }

  @Test("a count must fit the remaining bytes at its element size") func counts() throws {
    for (count, elementSize, fits) in [
      (0, 8, true), (2, 8, true), (3, 8, false), (16, 1, true), (17, 1, false), (16, 0, true),
      (UInt64(Int.max), 1, false), (UInt64.max, 8, false), (1 << 63, 1, false),
    ] as [(UInt64, Int, Bool)] {
      let bytes = Numbers.little(count) + [UInt8](repeating: 0, count: 16)
      for var reader in try readers(bytes) {
        let error = Laws.error { () throws(ModelError) in
          try reader.count(of: "things", elementSize: elementSize)
        }
        #expect((error == nil) == fits, "\(count) of \(elementSize)")
        #expect(error == nil || error?.kind == .malformed)
        #expect(error == nil || error?.offset == 0)
      }
    }
  }

  @Test("long and short reads mix across the end of the buffer (seed 12)") func buffering() throws {
    var random = Seeded(12)
    let bytes = random.bytes(300_000)
    for var reader in try readers(bytes) {
      var position = 0
      while position < bytes.count {
        let choices = [1, 7, 8, 1000, 65_535, 65_536, 65_537, 100_000]
        let count = min(choices[random.below(choices.count)], bytes.count - position)
        #expect(reader.offset == position)
        let isSame = try reader.bytes(count, of: "x") == Array(bytes[position..<position + count])
        #expect(isSame, "\(count) at \(position)")
        position += count
        if position + 8 <= bytes.count {
          let value = (0..<8).reduce(UInt64(0)) { $0 | UInt64(bytes[position + $1]) << (8 * $1) }
          #expect(try reader.integer(UInt64.self, of: "x") == value)
          position += 8
        }
      }
      #expect(reader.remaining == 0)
    }
  }

  @Test("a reader can start at any offset") func places() throws {
    let bytes: [UInt8] = Array(0..<100)
    let file = try InputFile(FilePath(scratch.write(bytes, as: "f")))
    var reader = ByteReader(file, at: 40)
    #expect(reader.remaining == 60)
    #expect(try reader.bytes(2, of: "x") == [40, 41])
  }
}
