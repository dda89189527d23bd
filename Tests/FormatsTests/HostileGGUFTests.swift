import Formats
import Pleat
import TensorModel
import TestSupport
import Testing

/// Malicious GGUF headers besides those in `fixtures/bad/gguf`.
@Suite struct HostileGGUFTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private func error(_ bytes: [UInt8], as name: String = "wrong.gguf") throws -> ModelError? {
    let path = try scratch.write(bytes, as: name)
    return Laws.error { () throws(ModelError) in try Model.open(path).readEverything() }
  }

  @Test(
    "a tensor of no rows with nearly 2^63 columns overflows, and one with nearly 2^57 may be read",
    arguments: [0, 8, 12, 40, 41])
  func endlessRows(type: UInt32) throws {
    func error(columns: Int) throws -> ModelError? {
      try self.error(ToyFiles.gguf([(Toy("a", .f32, [0, columns], []), typeNumber: type)]))
    }
    // Both are multiples of every block size.
    let endless = try error(columns: Int.max / 256 * 256)
    #expect(endless?.kind == .malformed)
    #expect(endless?.what == "the shape overflows")
    // Only rows of groups have a limit: of these types, those of Q8_0.
    let long = try error(columns: Int.max / 64 / 256 * 256)
    #expect(long?.kind == (type == 8 ? .limit : nil))
  }

  @Test("a split number at the limit of its type is refused")
  func splitNumber() throws {
    func entry(_ key: String, _ type: UInt32, _ value: [UInt8]) -> [UInt8] {
      Numbers.little(UInt64(key.utf8.count)) + Array(key.utf8) + Numbers.little(type) + value
    }
    var bytes = Array("GGUF".utf8) + Numbers.little(UInt32(3)) + Numbers.little(UInt64(0))
    bytes += Numbers.little(UInt64(2))
    bytes += entry("split.count", 2, Numbers.little(UInt16(2)))
    for number in [UInt64(Int.max), .max, 1 << 62] {
      let whole = bytes + entry("split.no", 10, Numbers.little(number))
      #expect(try error(whole) != nil)
    }
    let negative = bytes + entry("split.no", 11, Numbers.little(Int64.min))
    #expect(try error(negative) != nil)
  }

  @Test("the largest possible alignment is accepted")
  func alignment() throws {
    var bytes = Array("GGUF".utf8) + Numbers.little(UInt32(3)) + Numbers.little(UInt64(0))
    bytes +=
      Numbers.little(UInt64(1)) + Numbers.little(UInt64(17)) + Array("general.alignment".utf8)
    bytes += Numbers.little(UInt32(4)) + Numbers.little(UInt32(1) << 31)
    #expect(try error(bytes) == nil)
  }
}
