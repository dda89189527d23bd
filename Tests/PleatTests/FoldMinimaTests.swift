import Formats
import Pleat
import TestSupport
import Testing

/// Folds into blocks of llama.cpp that have minima.
@Suite struct FoldMinimaTests {
  let folder: Folder

  init() throws { folder = try Folder() }

  static let types: [(name: String, number: UInt32, byteCount: Int)] = [
    ("Q2_K", 10, 84), ("Q4_K", 12, 144), ("Q5_K", 13, 176),
  ]

  /// Two rows of 512 columns, with steps of ordinary size.
  private func base(_ type: (name: String, number: UInt32, byteCount: Int)) throws -> Model {
    var random = Seeded(580)
    var bytes: [UInt8] = []
    for _ in 0..<4 {
      var block = random.bytes(type.byteCount)
      let first = type.name == "Q2_K" ? 80 : 0
      block.replaceSubrange(first..<first + 4, with: Numbers.f16([0.01, 0.005]))
      bytes += block
    }
    let tensor = Toy("m.weight", .u8, [2, 512], bytes: bytes)
    return try Model.open(
      try folder.scratch.write(
        ToyFiles.gguf([(tensor, typeNumber: type.number)]), as: "base.gguf"))
  }

  private func adapter(columns: Int) throws -> AppliedAdapter {
    try folder.applied([ToyFactors("m", 2, columns, seed: 581)], [], pooling: .sum)
  }

  private static let round = {
    var options = FoldOptions()
    options.rounds = true
    return options
  }()

  @Test(
    "a fold into minima is measured, refused, and allowed by --round (seed 580)", arguments: types)
  func rounds(type: (name: String, number: UInt32, byteCount: Int)) throws {
    let (base, applied) = (try base(type), try adapter(columns: 16))
    let refused = try folder.error([applied], into: base, to: "out.gguf")
    #expect(refused.error?.kind == .unsupported)
    #expect(refused.error?.what.contains("the minima of \(type.name)") == true)
    #expect(refused.error?.hint?.contains("--type Q4_1 --pure") == true)
    #expect(refused.isClean)
    let result = try folder.fold([applied], into: base, to: "out.gguf", Self.round)
    let total = result.report.total
    #expect(total.codeCount == 1024 && total.changedCodeCount == 0)
    #expect(total.adapterError > 0 && total.adapterError < (type.name == "Q2_K" ? 0.6 : 0.2))
    let before = try base.allParts()
    let after = try result.model.allParts()
    #expect(before != after)
  }

  @Test("an adapter without effect changes no byte", arguments: types)
  func identity(type: (name: String, number: UInt32, byteCount: Int)) throws {
    let base = try base(type)
    let factors = ToyFactors("m", 2, 16, seed: 581).withoutEffect
    let applied = try folder.applied([factors], [], pooling: .sum)
    let result = try folder.fold([applied], into: base, to: "out.gguf", Self.round)
    #expect(try result.model.allParts() == base.allParts())
  }

  @Test("groups that cut a sub-block are refused")
  func finerGroups() throws {
    let base = try base(Self.types[1])
    let found = try folder.error([try adapter(columns: 32)], into: base, to: "out.gguf", Self.round)
    #expect(found.error?.kind == .unsupported)
    #expect(found.error?.found?.contains("a multiple of 32 inputs") == true)
    #expect(found.isClean)
  }

  @Test("--dequantize merges LoRA into any blocks that Pleat decodes")
  func dequantizes() throws {
    let base = try base(Self.types[1])
    let applied = try folder.applied([ToyFactors("m", 2, 512, seed: 582)])
    var options = FoldOptions()
    options.dequantizes = true
    let result = try folder.fold([applied], into: base, to: "out.gguf", options)
    #expect(result.model.catalog.tensors[0].encoding == .plain(.f16))
    #expect(result.report.total.adapterError < 0.05)
  }
}
