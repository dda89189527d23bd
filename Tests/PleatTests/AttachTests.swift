import Adapters
import Bytes
import Formats
import Pleat
import TestSupport
import Testing

/// Adapters that are attached to a pleat file.
@Suite struct AttachTests {
  let folder: Folder

  init() throws { folder = try Folder() }

  private static let pooled = [ToyFactors("a", 6, 4, seed: 711), ToyFactors("b", 3, 4, seed: 712)]
  private static let plain = [ToyFactors("b", 3, 128, seed: 713)]

  /// Checks that an attached adapter equals the adapter of a file.
  private func check(_ found: AdapterFile?, _ file: AdapterFile, _ pooling: Pooling?) throws {
    let found = try #require(found)
    #expect(found.isAttached && !file.isAttached)
    #expect(found.adapter.kind == file.adapter.kind)
    #expect(Laws.areEqual(found.adapter.tensors, file.adapter.tensors))
    #expect(found.adapter.changes == file.adapter.changes)
    #expect(found.config == file.config)
    #expect(found.checksum == file.checksum)
    #expect(found.adapter.pooling == (file.adapter.pooling ?? pooling))
    let isSame = try found.allNumbers().map(\.bits) == file.allNumbers().map(\.bits)
    #expect(isSame)
  }

  @Test(
    "an attached adapter equals the adapter file (seed 711)",
    arguments: AdapterKind.allCases, [false, true])
  func readBack(kind: AdapterKind, compresses: Bool) throws {
    let base = try folder.groupedBase(compresses: compresses)
    let file = try folder.adapter(kind, Self.pooled, as: "one")
    let both = try folder.attach(
      [AppliedAdapter(file, pooling: .mean)], names: ["eins"], to: base, at: "both.pleat",
      compresses: compresses)
    #expect(both.attachedNames == ["eins"])
    try check(try AdapterFile(attached: "eins", in: both), file, .mean)
    #expect(try AdapterFile(attached: "one", in: both) == nil)
    #expect(try both.allParts() == base.allParts())
    #expect(both.history.last?["action"]?.string == "attach")
    #expect(both.history.last?["names"]?.array == ["eins"])
  }

  @Test(
    "two attached adapters with equal tensor names stay separate (seed 711)",
    arguments: AdapterKind.allCases, [false, true])
  func two(kind: AdapterKind, compresses: Bool) throws {
    let base = try folder.groupedBase()
    let files = [
      try folder.adapter(kind, Self.pooled, as: "one"),
      try folder.adapter(.peft, [ToyFactors("a", 6, 4, seed: 714)], as: "two"),
    ]
    let adapters = files.map { AppliedAdapter($0, pooling: .sum) }
    let both = try folder.attach(
      adapters, names: ["one", "two"], to: base, at: "both.pleat", compresses: compresses)
    #expect(both.attachedNames == ["one", "two"])
    for (name, file) in zip(["one", "two"], files) {
      try check(try AdapterFile(attached: name, in: both), file, .sum)
    }
    // Attaching one after the other gives the same adapters.
    let first = try folder.attach(
      [adapters[0]], names: ["one"], to: base, at: "1.pleat", compresses: compresses)
    let second = try folder.attach(
      [adapters[1]], names: ["two"], to: first, at: "2.pleat", compresses: compresses)
    #expect(second.attachedNames == ["one", "two"])
    for (name, file) in zip(["one", "two"], files) {
      try check(try AdapterFile(attached: name, in: second), file, .sum)
    }
  }

  @Test(
    "folding an attached adapter gives the same tensors as folding its file (seed 711)",
    arguments: AdapterKind.allCases, [false, true])
  func folding(kind: AdapterKind, compresses: Bool) throws {
    let base = try folder.groupedBase(compresses: compresses)
    let pooled = AppliedAdapter(try folder.adapter(kind, Self.pooled, as: "one"), pooling: .mean)
    let plain = AppliedAdapter(try folder.adapter(kind, Self.plain, as: "two"))
    let both = try folder.attach(
      [pooled], names: ["one"], to: base, at: "1.pleat", compresses: compresses)
    let all = try folder.attach(
      [plain], names: ["two"], to: both, at: "both.pleat", compresses: compresses)
    let attached = AppliedAdapter(try #require(try AdapterFile(attached: "one", in: all)))
    let expected = try folder.fold([pooled], into: base, to: "expected.pleat")
    let found = try folder.fold([attached], into: all, to: "found.pleat")
    #expect(try found.model.allParts() == expected.model.allParts())
    #expect(found.report == expected.report)
    #expect(found.report.total.adapterError > 0)
    // The folded adapter is no longer attached; the other one still is.
    #expect(found.model.attachedNames == ["two"])
    let rest = try AdapterFile(attached: "two", in: found.model)
    try check(rest, plain.file, nil)
    let options = FoldOptions.with(requantizes: true)
    let last = try folder.fold(
      [AppliedAdapter(try #require(rest))], into: found.model, to: "last.pleat", options)
    #expect(last.model.attachedNames == [])
    let direct = try folder.fold([plain], into: expected.model, to: "direct.pleat", options)
    #expect(try last.model.allParts() == direct.model.allParts())
  }

  @Test("all attached adapters fold at once; folding another adapter keeps them attached")
  func foldingBoth() throws {
    let base = try folder.groupedBase()
    let adapters = [
      AppliedAdapter(try folder.adapter(.peft, Self.pooled, as: "one"), pooling: .sum),
      AppliedAdapter(try folder.adapter(.mlx, [Self.pooled[0]], as: "two"), pooling: .sum),
    ]
    let both = try folder.attach(adapters, names: ["one", "two"], to: base, at: "both.pleat")
    var attached: [AppliedAdapter] = []
    for name in both.attachedNames {
      attached.append(AppliedAdapter(try #require(try AdapterFile(attached: name, in: both))))
    }
    let found = try folder.fold(attached, into: both, to: "found.pleat")
    let expected = try folder.fold(adapters, into: base, to: "expected.pleat")
    #expect(try found.model.allParts() == expected.model.allParts())
    #expect(found.model.attachedNames == [])
    let other = try folder.fold([adapters[0]], into: both, to: "other.pleat")
    #expect(other.model.attachedNames == ["one", "two"])
  }

  @Test("an adapter in Q8_0 is attached without a change (seed 715)", arguments: [false, true])
  func blocks(compresses: Bool) throws {
    var random = Seeded(715)
    let blocks = (0..<8).flatMap { _ in Numbers.f16(random.weights(1)) + random.bytes(32) }
    let path = try folder.scratch.write(
      ToyFiles.gguf(
        [
          (Toy("b.weight.lora_a", .u8, [2, 128], bytes: blocks), 8),
          (Toy("b.weight.lora_b", .f32, [3, 2], Self.plain[0].b), 0),
        ], metadata: [("general.type", "adapter"), ("adapter.type", "lora")]), as: "lora.gguf")
    let file = try AdapterFile.open(path)
    let both = try folder.attach(
      [AppliedAdapter(file)], names: ["q8"], to: try folder.groupedBase(), at: "both.pleat",
      compresses: compresses)
    let found = try #require(try AdapterFile(attached: "q8", in: both))
    #expect(try found.allNumbers().map(\.bits) == file.allNumbers().map(\.bits))
    #expect(found.adapter.tensors.map(\.shape) == file.adapter.tensors.map(\.shape))
  }

  @Test("the blocks of a large big-endian adapter are byte-swapped (seed 717)")
  func bigEndianBlocks() throws {
    var random = Seeded(717)
    // More than a megabyte of 34-byte blocks; a megabyte is not a whole number of them.
    let (rank, width) = (300, 4096)
    let blocks = (0..<rank * width / 32).flatMap { _ in
      Numbers.f16(random.weights(1)) + random.bytes(32)
    }
    let base = try Models.make(
      [Toy("b.weight", .f16, [3, width], seed: 718)], in: folder.scratch, as: "wide.safetensors")
    let path = try folder.scratch.write(
      Self.bigEndian(a: blocks, [rank, width], b: random.weights(3 * rank), [3, rank]),
      as: "lora.gguf")
    let file = try AdapterFile.open(path)
    #expect(try file.numbers(of: 0, 0..<1) == [Self.first(of: blocks)])
    let both = try folder.attach([AppliedAdapter(file)], names: ["q8"], to: base, at: "both.pleat")
    let found = try #require(try AdapterFile(attached: "q8", in: both))
    let isSame = try found.allNumbers().map(\.bits) == file.allNumbers().map(\.bits)
    #expect(isSame)
  }

  private static func first(of blocks: [UInt8]) -> Float {
    Numbers.floats(f16: Array(blocks[..<2]))[0] * Float(Int8(bitPattern: blocks[2]))
  }

  /// A big-endian llama.cpp adapter with factors in Q8_0 and F32.
  private static func bigEndian(
    a: [UInt8], _ aShape: [Int], b: [Float], _ bShape: [Int]
  ) -> [UInt8] {
    func big<T: FixedWidthInteger>(_ value: T) -> [UInt8] { Numbers.little(value).reversed() }
    func text(_ text: String) -> [UInt8] { big(UInt64(text.utf8.count)) + Array(text.utf8) }
    func tensor(_ name: String, _ shape: [Int], type: UInt32, offset: Int) -> [UInt8] {
      text(name) + big(UInt32(2)) + shape.reversed().flatMap { big(UInt64($0)) } + big(type)
        + big(UInt64(offset))
    }
    var bytes = Array("GGUF".utf8) + big(UInt32(3)) + big(UInt64(2)) + big(UInt64(2))
    for (key, value) in [("general.type", "adapter"), ("adapter.type", "lora")] {
      bytes += text(key) + big(UInt32(8)) + text(value)
    }
    bytes += tensor("b.weight.lora_a", aShape, type: 8, offset: 0)
    bytes += tensor("b.weight.lora_b", bShape, type: 0, offset: (a.count + 31) / 32 * 32)
    func pad() { bytes += [UInt8](repeating: 0, count: (32 - bytes.count % 32) % 32) }
    pad()
    for start in stride(from: 0, to: a.count, by: 34) {
      bytes += [a[start + 1], a[start]] + a[start + 2..<start + 34]
    }
    pad()
    bytes += b.flatMap { big($0.bitPattern) }
    return bytes
  }

  @Test("the output bytes do not depend on the number of workers", arguments: [false, true])
  func workers(compresses: Bool) throws {
    let base = try folder.groupedBase()
    // The adapter has more than one block, so several workers write it.
    let large = ToyFactors("b", 3, 128, rank: 3000, seed: 716)
    try folder.scratch.peft(
      large.tensors, "\"rank_pattern\":{\"b\":3000}", as: "large")
    let adapters = [
      AppliedAdapter(try AdapterFile.open(folder.scratch.path("large"))),
      AppliedAdapter(try folder.adapter(.peft, Self.pooled, as: "one"), pooling: .sum),
    ]
    var files: [[UInt8]] = []
    for count in [1, 2, 5] {
      try folder.attach(
        adapters, names: ["large", "one"], to: base, at: "both.pleat", compresses: compresses,
        workerCount: count)
      files.append(try folder.scratch.bytes(of: "both.pleat"))
      try folder.scratch.remove("both.pleat")
    }
    let isSame = files[1] == files[0] && files[2] == files[0]
    #expect(isSame)
  }
}
