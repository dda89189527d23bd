import Adapters
import Formats
import Pleat
import TestSupport
import Testing

/// Attached adapters in conversion, quantization, inspection and verification.
@Suite struct AttachedAdapterTests {
  let folder: Folder

  init() throws { folder = try Folder() }

  private static let pooled = [ToyFactors("a", 6, 4, seed: 721), ToyFactors("b", 3, 4, seed: 722)]

  private func adapters() throws -> [AppliedAdapter] {
    [
      AppliedAdapter(try folder.adapter(.peft, Self.pooled, as: "one"), pooling: .mean),
      AppliedAdapter(try folder.adapter(.mlx, [Self.pooled[1]], as: "two"), pooling: .sum),
    ]
  }

  private func both(compresses: Bool = false) throws -> Model {
    try folder.attach(
      try adapters(), names: ["one", "two"], to: try folder.groupedBase(compresses: compresses),
      at: "both.pleat", compresses: compresses)
  }

  private func expectSameAdapters(_ left: Model, _ right: Model) throws {
    #expect(left.attachedNames == right.attachedNames)
    for name in left.attachedNames {
      let first = try #require(try AdapterFile(attached: name, in: left))
      let second = try #require(try AdapterFile(attached: name, in: right))
      #expect(first.config == second.config && first.checksum == second.checksum)
      #expect(first.adapter.pooling == second.adapter.pooling)
      #expect(first.adapter.kind == second.adapter.kind)
      #expect(Laws.areEqual(first.adapter.tensors, second.adapter.tensors))
      #expect(try first.allNumbers().map(\.bits) == second.allNumbers().map(\.bits))
    }
  }

  @Test(
    "a conversion keeps attached adapters, from raw and compressed files to both",
    arguments: [false, true], [false, true])
  func conversion(from: Bool, to: Bool) throws {
    let both = try both(compresses: from)
    let other = try folder.convert(both, to: "other.pleat", compresses: to)
    #expect(other.attachedNames == ["one", "two"])
    try expectSameAdapters(other, both)
    #expect(try other.allParts() == both.allParts())
    #expect(try Verification(of: other).holds)
  }

  @Test("quantizing and requantizing keep attached adapters") func quantizing() throws {
    let source = try Models.make(
      [Toy("a.weight", .f16, [6, 128], seed: 723), Toy("b.weight", .f16, [3, 128], seed: 724)],
      in: folder.scratch, as: "plain.safetensors")
    let attached = try folder.attach(
      try adapters(), names: ["one", "two"], to: source, at: "attached.pleat")
    let quantized = try folder.quantize(attached, Recipe(), to: "quantized.pleat")
    try expectSameAdapters(quantized, attached)
    let again = Destination(path: folder.scratch.path("again.pleat"), format: .pleat)
    try Run(
      try Plan.quantizing(quantized, try .with(bits: 2), to: again, requantizing: true))()
    try expectSameAdapters(try Model.open(again.path), attached)
  }

  @Test(
    "formats that cannot store adapters are refused with the names of all adapters",
    arguments: ["out.safetensors", "out.gguf", "folder"])
  func otherFormats(name: String) throws {
    let both = try both()
    let before = try folder.scratch.names()
    let error = Laws.error { () throws(ModelError) in try folder.convert(both, to: name) }
    #expect(error?.kind == .unsupported)
    #expect(error?.file == both.path)
    #expect(error?.found == "one, two")
    #expect(error?.hint?.contains("--drop-adapters") == true)
    #expect(try folder.scratch.names() == before)
  }

  @Test(
    "dropping adapters gives the same output as the base model",
    arguments: ["out.safetensors", "out.gguf", "out.pleat"])
  func dropping(name: String) throws {
    let base = try folder.groupedBase()
    let attached = try folder.attach(
      try adapters(), names: ["one", "two"], to: base, at: "both.pleat")
    let out = try folder.convert(attached, to: name, droppingAdapters: true)
    #expect(out.attachedNames == [])
    let expected = try folder.convert(base, to: "expected-" + name)
    #expect(try out.allParts() == expected.allParts())
    #expect(Laws.areEqual(out.catalog, expected.catalog))
    #expect(try Verification(of: out, against: expected, tolerance: 0).holds)
  }

  @Test("adapters can be attached to pleat files only", arguments: ["out.safetensors", "out.gguf"])
  func attachingElsewhere(name: String) throws {
    let base = try folder.groupedBase()
    let adapters = try adapters()
    let before = try folder.scratch.names()
    let error = Laws.error { () throws(ModelError) in
      try folder.attach(adapters, names: ["one", "two"], to: base, at: name)
    }
    #expect(error?.kind == .unsupported)
    #expect(error?.found == "one, two")
    #expect(try folder.scratch.names() == before)
  }

  // MARK: - Counts and checksums

  @Test(
    "attached adapters do not count as tensors or as bits of weights", arguments: [false, true])
  func counts(compresses: Bool) throws {
    let base = try folder.groupedBase(compresses: compresses)
    let both = try folder.attach(
      try adapters(), names: ["one", "two"], to: base, at: "both.pleat", compresses: compresses)
    #expect(Laws.areEqual(both.catalog, base.catalog))
    #expect(both.tensorByteCount == base.tensorByteCount)
    #expect(both.byteCount > base.byteCount)
    let (found, expected) = (Inspection(both), Inspection(base))
    #expect(found.bitsPerWeight == expected.bitsPerWeight)
    #expect(found.encodings == expected.encodings)
    #expect(found.adapters.map(\.name) == ["one", "two"])
    let plan = try Plan.converting(
      both,
      to: Destination(
        path: folder.scratch.path("out.pleat"), format: .pleat, compresses: compresses))
    let without = try Plan.converting(
      base,
      to: Destination(
        path: folder.scratch.path("out.pleat"), format: .pleat, compresses: compresses))
    #expect(plan.bitsPerWeight == without.bitsPerWeight)
    #expect(plan.elementCount == without.elementCount)
    let size = try Run(plan)().size
    #expect(size.tensorByteCount == base.tensorByteCount)
    #expect(size.byteCount == (try folder.scratch.bytes(of: "out.pleat").count))
    #expect(plan.isExact ? size.byteCount == plan.byteCount : size.byteCount <= plan.byteCount)
  }

  @Test("verification compares the checksums of attached adapters", arguments: [false, true])
  func checksums(compresses: Bool) throws {
    let base = try folder.groupedBase(compresses: compresses)
    let both = try folder.attach(
      try adapters(), names: ["one", "two"], to: base, at: "both.pleat", compresses: compresses)
    let found = try Verification(of: both, against: base, tolerance: 0)
    #expect(found.holds)
    // One adapter has four factors, the other has two.
    #expect(found.checksumCount == (try Verification(of: base).checksumCount) + 6)
  }

  @Test("damage of an attached adapter is reported with the name of its tensor")
  func damage() throws {
    _ = try both()
    let needle = Numbers.f32(Self.pooled[0].b)
    let bytes = try folder.scratch.bytes(of: "both.pleat")
    let start = try #require(
      stride(from: 0, to: bytes.count - needle.count, by: 64).first {
        Array(bytes[$0..<$0 + needle.count]) == needle
      })
    let file = try DamagedFile(bytes, as: "damaged.pleat", in: folder.scratch)
    try file.forEachFlip(of: 1, in: start..<start + needle.count) { offset in
      let faults = try Verification(of: try Model.open(file.path)).faults
      #expect(faults.count == 1, "byte \(offset)")
      #expect(faults.first?.tensor == "base_model.model.a.lora_B.weight")
    }
  }
}
