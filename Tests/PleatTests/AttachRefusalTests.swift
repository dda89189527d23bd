import Adapters
import Formats
import Pleat
import TestSupport
import Testing

/// Adapters that cannot be attached.
@Suite struct AttachRefusalTests {
  let folder: Folder

  init() throws { folder = try Folder() }

  private static let factors = ToyFactors("a", 6, 4, seed: 731)

  /// The error of attaching; it must leave no files.
  private func error(
    _ adapters: [AppliedAdapter], names: [String], to base: Model
  ) throws -> ModelError? {
    let before = try folder.scratch.names()
    let error = Laws.error { () throws(ModelError) in
      try folder.attach(adapters, names: names, to: base, at: "out.pleat")
    }
    #expect(try folder.scratch.names() == before)
    return error
  }

  @Test("an adapter name that is already attached or given twice is refused") func names() throws {
    let applied = try folder.applied([Self.factors], pooling: .sum)
    let base = try folder.groupedBase()
    let both = try folder.attach([applied], names: ["tone"], to: base, at: "both.pleat")
    for (model, names) in [(both, ["tone"]), (base, ["tone", "tone"])] {
      let found = try error(names.map { _ in applied }, names: names, to: model)
      #expect(found?.kind == .usage)
      #expect(found?.found == "tone")
      #expect(found?.hint?.contains("--name") == true)
    }
    let more = try folder.attach([applied], names: ["other"], to: both, at: "more.pleat")
    #expect(more.attachedNames == ["tone", "other"])
  }

  @Test("an empty adapter name is refused") func emptyName() throws {
    let applied = try folder.applied([Self.factors], pooling: .sum)
    #expect(try error([applied], names: [""], to: try folder.groupedBase())?.kind == .usage)
  }

  @Test("an adapter that does not fit the model is refused as in a fold") func misfits() throws {
    let base = try folder.groupedBase()
    let strays: [(ToyFactors, ModelError.Kind)] = [
      (ToyFactors("c", 6, 4, seed: 732), .mismatch), (ToyFactors("a", 7, 4, seed: 732), .mismatch),
      (ToyFactors("a", 6, 5, seed: 732), .mismatch),
    ]
    for (factors, kind) in strays {
      let applied = try folder.applied([factors], as: "stray", pooling: .sum)
      let found = try error([applied], names: ["stray"], to: base)
      #expect(found?.kind == kind)
      #expect(found?.file == applied.file.adapter.path)
    }
  }

  @Test("attaching a pooled adapter needs --pooling; folding the attached one does not")
  func pooling() throws {
    let base = try folder.groupedBase()
    let silent = try error([try folder.applied([Self.factors])], names: ["silent"], to: base)
    #expect(silent?.kind == .usage)
    #expect(silent?.expected?.contains("--pooling") == true)
    for pooling in Pooling.allCases {
      let applied = try folder.applied([Self.factors], pooling: pooling)
      let both = try folder.attach(
        [applied], names: ["one"], to: base, at: "\(pooling.rawValue).pleat")
      let attached = try #require(try AdapterFile(attached: "one", in: both))
      #expect(attached.adapter.pooling == pooling)
      let found = try folder.fold(
        [AppliedAdapter(attached)], into: both, to: "\(pooling.rawValue)-out.pleat")
      let expected = try folder.fold(
        [applied], into: base, to: "\(pooling.rawValue)-expected.pleat")
      #expect(try found.model.allParts() == expected.model.allParts())
      for other in Pooling.allCases where other != pooling {
        let error = Laws.error { () throws(ModelError) in
          try Plan.folding(
            [AppliedAdapter(attached, pooling: other)], into: both,
            to: Destination(path: folder.scratch.path("no.pleat"), format: .pleat))
        }
        #expect(error?.kind == .mismatch)
        #expect(error?.expected == "--pooling \(pooling.rawValue)")
      }
    }
  }

  @Test("a plain LoRA adapter is attached without a pooling") func plainBeside() throws {
    let plain = try folder.applied([ToyFactors("b", 3, 128, seed: 733)], as: "plain", pooling: .sum)
    let pooled = try folder.applied([Self.factors], as: "pooled", pooling: .sum)
    let both = try folder.attach(
      [plain, pooled], names: ["plain", "pooled"], to: try folder.groupedBase(), at: "both.pleat")
    #expect(try AdapterFile(attached: "plain", in: both)?.adapter.pooling == nil)
    #expect(try AdapterFile(attached: "pooled", in: both)?.adapter.pooling == .sum)
    #expect(Inspection(both).adapters.map(\.method) == ["LoRA", "QA-LoRA"])
  }

  @Test("DoRA and whole tensors are attached, although they cannot be folded into groups")
  func others() throws {
    let lora = ToyFactors("b", 3, 128, seed: 734)
    let dora = try folder.applied(
      [lora], [Toy("b.lora_magnitude_vector", .f32, [3], [1, 2, 3])], "\"use_dora\":true",
      as: "dora")
    let whole = try folder.applied([lora], [Toy("norm.weight", .f16, [7], seed: 735)], as: "whole")
    let base = try folder.groupedBase()
    let both = try folder.attach(
      [dora, whole], names: ["dora", "whole"], to: base, at: "both.pleat")
    for applied in [dora, whole] {
      let attached = try #require(try AdapterFile(attached: applied.file.name, in: both))
      #expect(attached.adapter.changes == applied.file.adapter.changes)
      #expect(try attached.allNumbers() == applied.file.allNumbers())
    }
    let summaries = Inspection(both).adapters
    #expect(summaries.map(\.hasMagnitudes) == [true, false])
    #expect(summaries.map(\.replacementCount) == [0, 1])
  }

  @Test(
    "an adapter that shrinks before the run is an I/O error and leaves no files", arguments: [1, 3])
  func shrinking(workerCount: Int) throws {
    let path = try folder.scratch.peft(Self.factors.tensors, as: "lora")
    let name = "lora/adapter_model.safetensors"
    let bytes = try folder.scratch.bytes(of: name)
    let base = try folder.groupedBase()
    for compresses in [false, true] {
      // The file is whole again when the adapter is opened.
      let file = try DamagedFile(bytes, as: name, in: folder.scratch)
      let applied = AppliedAdapter(try AdapterFile.open(path), pooling: .sum)
      let plan = try Plan.attaching(
        [applied], names: ["lora"], to: base,
        at: Destination(
          path: folder.scratch.path("out.pleat"), format: .pleat, compresses: compresses))
      let before = try folder.scratch.names()
      try file.truncate(to: bytes.count - 20)
      let error = Laws.error { () throws(ModelError) in
        try Run(plan, workerCount: workerCount)()
      }
      #expect(error?.kind == .io)
      #expect(try folder.scratch.names() == before)
    }
  }

  @Test("--bias-type is a usage error if it changes no offset (seed 736)")
  func uselessBiasType() throws {
    let source = try Models.make(
      [Toy("a.weight", .f32, [6, 128], seed: 736)], in: folder.scratch, as: "plain.safetensors")
    let pooled = try folder.applied([Self.factors], as: "pooled", pooling: .sum)
    let lora = try folder.applied([ToyFactors("a", 6, 128, seed: 737)], as: "plain")
    let grouped = try folder.groupedBase()
    let cases: [(AppliedAdapter, Model, String)] = [
      (pooled, source, "out.safetensors"), (lora, source, "out.safetensors"),
      (lora, grouped, "out.pleat"),
    ]
    for (applied, base, name) in cases {
      let found = try folder.error(
        [applied], into: base, to: name, .with(requantizes: true, biasType: .bf16))
      #expect(found.error?.kind == .usage)
      #expect(found.error?.found == "--bias-type BF16")
      #expect(found.isClean)
    }
  }
}
