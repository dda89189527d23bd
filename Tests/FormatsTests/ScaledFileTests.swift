import Formats
import Kernels
import Pleat
import TensorModel
import TestSupport
import Testing
import Weights

/// Pleat files with codes that are numbers themselves, and scales of tiles.
@Suite struct ScaledFileTests {
  /// The parts of a tensor in a file, each at the next multiple of 64.
  private struct Parts {
    var body: [UInt8] = []
    var members: [String] = []

    init(_ parts: [(role: String, bytes: [UInt8])]) {
      for (role, bytes) in parts {
        body += [UInt8](repeating: 0, count: (64 - body.count % 64) % 64)
        members.append(
          #""\#(role)":{"offset":\#(64 + body.count),"length":\#(bytes.count),"#
            + #""crc32c":"\#(PleatText.checksum(bytes))"}"#)
        body += bytes
      }
    }
  }

  private func values(
    _ shape: String, _ encoding: String, _ parts: [(role: String, bytes: [UInt8])]
  ) throws -> [Float] {
    let parts = Parts(parts)
    let scratch = try Scratch()
    let path = try scratch.write(
      PleatText.file(
        tensor: #""shape":\#(shape),"encoding":{\#(encoding),"decoded":"F32"},"#
          + #""parts":{\#(parts.members.joined(separator: ","))}"#,
        body: parts.body), as: "model.pleat")
    let model = try Model.open(path)
    let reader = WeightReader(model: model)
    let tensor = try #require(reader.tensor(0))
    let rows = 0..<model.catalog.tensors[0].shape.rowCount
    let found = try reader.values(of: tensor, rows: rows)
    // Copied into another file, with and without compression, they stay the same.
    for compresses in [false, true] {
      let copy = try Rewriting.convert(
        path, to: scratch.path("copy-\(compresses).pleat"), .pleat, compresses: compresses)
      let again = try Model.open(copy)
      #expect(again.catalog.tensors == model.catalog.tensors)
      #expect(try again.partBytes(of: 0) == model.partBytes(of: 0))
    }
    return found
  }

  @Test("a scale belongs to a tile, of which the last one may be smaller")
  func tiles() throws {
    // 1, 1.5, −2 and 448, the largest number.
    let codes: [UInt8] = [
      0x38, 0x3C, 0xC0, 0x7E, 0x38, 0x3C, 0xC0, 0x7E, 0x38, 0x3C, 0xC0, 0x7E, 0x38, 0x3C, 0xC0,
    ]
    let found = try values(
      "[3,5]", #""codes":"F8_E4M3","scales":"F32","tileRows":2,"tileColumns":4"#,
      [("codes", codes), ("scales", Numbers.bytes([2, 3, 4, 5], .f32))])
    #expect(found == [2, 3, -4, 896, 3, 3, -4, 896, 2, 4.5, -8, 1792, 4, 6, -10])
  }

  @Test("codes of 4 and of 6 bits begin in the low bits of a byte")
  func smallCodes() throws {
    let fours = try values(
      "[1,8]", #""codes":"F4","scales":"F8_E8M0","tileRows":1,"tileColumns":4"#,
      [("codes", [0x10, 0x32, 0x54, 0xF7]), ("scales", [128, 126])])
    #expect(fours == [0, 1, 2, 3, 1, 1.5, 3, -3])
    // 1, 2, 3 and 63 are 0.125, 0.25, 0.375 and −7.5.
    let sixes = try values(
      "[1,4]", #""codes":"F6_E2M3","scales":"F8_E8M0","tileRows":1,"tileColumns":4"#,
      [("codes", [0x81, 0x30, 0xFC]), ("scales", [128])])
    #expect(sixes == [0.25, 0.5, 0.75, -15])
  }

  @Test("a tensor may have one scale, and one that multiplies or divides all")
  func factors() throws {
    let codes: [UInt8] = [1, 0xFF, 127, 0x80]
    let one = try values(
      "[2,2]", #""codes":"I8","scales":"F32""#,
      [("codes", codes), ("scales", Numbers.bytes([0.5], .f32))])
    #expect(one == [0.5, -0.5, 63.5, -64])
    for (factor, expected) in [
      ("multiplier", [6, -6, 1524, -1536] as [Float]), ("divisor", [1.5, -1.5, 381, -384]),
    ] {
      let found = try values(
        "[2,2]", #""codes":"I8","scales":"BF16","tileRows":1,"factor":"\#(factor)""#,
        [
          ("codes", codes), ("scales", Numbers.bytes([3, 6], .bf16)),
          ("factor", Numbers.bytes([2], .f32)),
        ])
      #expect(found == expected)
    }
    let largest = try values(
      "[2,2]", #""codes":"I8","scales":"F32","tileRows":1,"factor":"largestCode""#,
      [("codes", codes), ("scales", Numbers.bytes([127, 254], .f32))])
    #expect(largest == [1, -1, 254 * 127 * Float(1.0 / 127), -256])
  }

  @Test("codes may have a table, and scales a table and scales of their own")
  func tables() throws {
    let table = (0..<16).map { Float($0) - 4 }
    let found = try values(
      "[2,4]", #""table":"NF4","scales":"F32","tileRows":1,"tileColumns":2"#,
      [
        ("codes", [0x01, 0x23, 0x45, 0xF6]), ("scales", Numbers.bytes([1, 2, 3, 4], .f32)),
        ("table", Numbers.bytes(table, .f32)),
      ])
    #expect(found == [-4, -3, -4, -2, 0, 3, 44, 8])
    let nested = try values(
      "[2,4]",
      #""table":"X","scales":"U8","tileRows":1,"tileColumns":2,"nestedBlock":3,"#
        + #""nestedOffset":0.5"#,
      [
        ("codes", [0x01, 0x23, 0x45, 0xF6]), ("scales", [0, 1, 2, 255]),
        ("table", Numbers.bytes(table, .f32)), ("outerScales", Numbers.bytes([2, 10], .f32)),
        ("scaleTable", Numbers.bytes((0..<256).map { Float($0) }, .f32)),
      ])
    #expect(nested == [-2, -1.5, -5, -2.5, 0, 4.5, 28055.5, 5101])
  }
}
