import Adapters
import Formats
import Pleat
import TestSupport
import Testing

/// Adapters that are not attached.
@Suite struct AttachRefusalTests {
  let folder: Folder

  init() throws { folder = try Folder() }

  private static let factors = ToyFactors("a", 6, 4, seed: 731)

  /// The error of attaching; nothing may be left behind by it.
  private func error(
    _ uses: [AdapterUse], names: [String], to base: Model
  ) throws -> ModelError? {
    let before = try folder.scratch.names()
    let error = Laws.error { () throws(ModelError) in
      try folder.attach(uses, names: names, to: base, at: "out.pleat")
    }
    #expect(try folder.scratch.names() == before)
    return error
  }

  @Test("a name that the model carries, or that is given twice, is refused") func names() throws {
    let use = try folder.use([Self.factors], pooling: .sum)
    let base = try folder.groupedBase()
    let both = try folder.attach([use], names: ["tone"], to: base, at: "both.pleat")
    for (model, names) in [(both, ["tone"]), (base, ["tone", "tone"])] {
      let found = try error(names.map { _ in use }, names: names, to: model)
      #expect(found?.kind == .usage)
      #expect(found?.found == "tone")
      #expect(found?.hint?.contains("--name") == true)
    }
    let more = try folder.attach([use], names: ["other"], to: both, at: "more.pleat")
    #expect(more.attachedNames == ["tone", "other"])
  }

  @Test("an empty name is refused, since no reader takes it") func emptyName() throws {
    let use = try folder.use([Self.factors], pooling: .sum)
    #expect(try error([use], names: [""], to: try folder.groupedBase())?.kind == .usage)
  }

  @Test("an adapter that does not fit is refused as in a fold") func misfits() throws {
    let base = try folder.groupedBase()
    let strays: [(ToyFactors, ModelError.Kind)] = [
      (ToyFactors("c", 6, 4, seed: 732), .mismatch), (ToyFactors("a", 7, 4, seed: 732), .mismatch),
      (ToyFactors("a", 6, 5, seed: 732), .mismatch),
    ]
    for (factors, kind) in strays {
      let use = try folder.use([factors], as: "stray", pooling: .sum)
      let found = try error([use], names: ["stray"], to: base)
      #expect(found?.kind == kind)
      #expect(found?.file == use.file.adapter.path)
    }
  }

  @Test("how inputs were pooled is asked for when attaching, and not when folding")
  func pooling() throws {
    let base = try folder.groupedBase()
    let silent = try error([try folder.use([Self.factors])], names: ["silent"], to: base)
    #expect(silent?.kind == .usage)
    #expect(silent?.expected?.contains("--pooling") == true)
    for pooling in Pooling.allCases {
      let use = try folder.use([Self.factors], pooling: pooling)
      let both = try folder.attach(
        [use], names: ["one"], to: base, at: "\(pooling.rawValue).pleat")
      let attached = try #require(try AdapterFile(attached: "one", in: both))
      #expect(attached.adapter.pooling == pooling)
      let found = try folder.fold(
        [AdapterUse(attached)], into: both, to: "\(pooling.rawValue)-out.pleat")
      let expected = try folder.fold([use], into: base, to: "\(pooling.rawValue)-expected.pleat")
      #expect(try found.model.allParts() == expected.model.allParts())
      for other in Pooling.allCases where other != pooling {
        let error = Laws.error { () throws(ModelError) in
          try Plan.folding(
            [AdapterUse(attached, pooling: other)], into: both,
            to: Destination(path: folder.scratch.path("no.pleat"), format: .pleat))
        }
        #expect(error?.kind == .mismatch)
        #expect(error?.expected == "--pooling \(pooling.rawValue)")
      }
    }
  }

  @Test("an adapter that pools nothing is stored without a way of pooling") func plainBeside()
    throws
  {
    let plain = try folder.use([ToyFactors("b", 3, 128, seed: 733)], as: "plain", pooling: .sum)
    let pooled = try folder.use([Self.factors], as: "pooled", pooling: .sum)
    let both = try folder.attach(
      [plain, pooled], names: ["plain", "pooled"], to: try folder.groupedBase(), at: "both.pleat")
    #expect(try AdapterFile(attached: "plain", in: both)?.adapter.pooling == nil)
    #expect(try AdapterFile(attached: "pooled", in: both)?.adapter.pooling == .sum)
    #expect(Inspection(both).adapters.map(\.method) == ["LoRA", "QA-LoRA"])
  }

  @Test("DoRA and whole tensors are carried, though no group takes them up") func others() throws {
    let lora = ToyFactors("b", 3, 128, seed: 734)
    let dora = try folder.use(
      [lora], [Toy("b.lora_magnitude_vector", .f32, [3], [1, 2, 3])], "\"use_dora\":true",
      as: "dora")
    let whole = try folder.use([lora], [Toy("norm.weight", .f16, [7], seed: 735)], as: "whole")
    let base = try folder.groupedBase()
    let both = try folder.attach(
      [dora, whole], names: ["dora", "whole"], to: base, at: "both.pleat")
    for use in [dora, whole] {
      let attached = try #require(try AdapterFile(attached: use.file.name, in: both))
      #expect(attached.adapter.changes == use.file.adapter.changes)
      #expect(try attached.allNumbers() == use.file.allNumbers())
    }
    let summaries = Inspection(both).adapters
    #expect(summaries.map(\.hasMagnitudes) == [true, false])
    #expect(summaries.map(\.replacementCount) == [0, 1])
  }

  @Test(
    "an adapter that shrinks before the run is an error, and nothing is left", arguments: [1, 3])
  func shrinking(workerCount: Int) throws {
    let path = try folder.scratch.peft(Self.factors.tensors, as: "lora")
    let bytes = try folder.scratch.bytes(of: "lora/adapter_model.safetensors")
    let file = try DamagedFile(bytes, as: "lora/adapter_model.safetensors", in: folder.scratch)
    let base = try folder.groupedBase()
    let use = AdapterUse(try AdapterFile.open(path), pooling: .sum)
    for compresses in [false, true] {
      let plan = try Plan.attaching(
        [use], names: ["lora"], to: base,
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

  @Test("--bias-type that no offset has a use for is a mistake (seed 736)")
  func uselessBiasType() throws {
    let source = try Models.make(
      [Toy("a.weight", .f32, [6, 128], seed: 736)], in: folder.scratch, as: "plain.safetensors")
    let pooled = try folder.use([Self.factors], as: "pooled", pooling: .sum)
    let lora = try folder.use([ToyFactors("a", 6, 128, seed: 737)], as: "plain")
    let grouped = try folder.groupedBase()
    let cases: [(AdapterUse, Model, String)] = [
      (pooled, source, "out.safetensors"), (lora, source, "out.safetensors"),
      (lora, grouped, "out.pleat"),
    ]
    for (use, base, name) in cases {
      let found = try folder.error(
        [use], into: base, to: name, .with(requantizes: true, biasType: .bf16))
      #expect(found.error?.kind == .usage)
      #expect(found.error?.found == "--bias-type BF16")
      #expect(found.isClean)
    }
  }
}
