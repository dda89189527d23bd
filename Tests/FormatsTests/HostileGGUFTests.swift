import Formats
import Pleat
import TensorModel
import TestSupport
import Testing

/// GGUF headers that were made to hurt, beyond those in `fixtures/bad/gguf`.
@Suite struct HostileGGUFTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private func error(_ bytes: [UInt8], as name: String = "lie.gguf") throws -> ModelError? {
    let path = try scratch.write(bytes, as: name)
    return Laws.error { () throws(ModelError) in try Model.open(path).readEverything() }
  }

  @Test(
    "rows of endless length are malformed though there are none", arguments: [0, 8, 12, 40, 41])
  func endlessRows(type: UInt32) throws {
    // A multiple of every block size, and as near to 2^63 as that goes.
    let columns = Int.max / 256 * 256
    let bytes = ToyFiles.gguf([(Toy("a", .f32, [0, columns], []), typeNumber: type)])
    let error = try error(bytes)
    #expect(error == nil || error?.kind == .malformed)
  }

  @Test("a split number at the end of numbers is refused")
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

  @Test("an alignment as large as it can be is honoured")
  func alignment() throws {
    var bytes = Array("GGUF".utf8) + Numbers.little(UInt32(3)) + Numbers.little(UInt64(0))
    bytes +=
      Numbers.little(UInt64(1)) + Numbers.little(UInt64(17)) + Array("general.alignment".utf8)
    bytes += Numbers.little(UInt32(4)) + Numbers.little(UInt32(1) << 31)
    #expect(try error(bytes) == nil)
  }
}
