import Adapters
import Formats
import Pleat
import TensorModel
import TestSupport
import Testing

/// What holds for the output of every fold, whatever its format: it is refused, or it is right.
@Suite struct PromiseTests {
  let support: DonorSupport

  init() throws { support = try DonorSupport() }

  private static let head = ToyFactors("lm_head", 40, 64, seed: 1601)

  private func plan(
    _ adapter: [Toy], _ format: Format, to name: String = "out"
  ) throws(ModelError) -> Plan {
    let path: String
    do { path = try support.scratch.peft(adapter, as: "lora") } catch {
      throw ModelError(.io, "\(error)")
    }
    return try Plan.folding(
      [AppliedAdapter(try AdapterFile.open(path))], into: try support.model(),
      to: Destination(path: support.scratch.path(name), format: format))
  }

  @Test(
    "a change of a tied head becomes a head of its own, and the embeddings stay (seed 1601)",
    arguments: Formats.all)
  func tiedHead(format: Format) throws {
    let base = try support.model()
    let table = try #require(try base.floats(in: support.scratch)["model.embed_tokens.weight"])
    try Run(try plan(Self.head.tensors, format))()
    let output = try Model.open(support.scratch.path("out"))
    let numbers = try output.floats(in: support.scratch)
    let isGGUF = format.usesGGUFNames
    let embeddings = numbers[isGGUF ? "token_embd.weight" : "model.embed_tokens.weight"]
    #expect(embeddings == table)
    let head = try #require(numbers[isGGUF ? "output.weight" : "lm_head.weight"])
    for index in table.indices {
      let wanted = Double(table[index]) + 3 * Self.head.element(index / 64, index % 64).value
      #expect((Double(head[index]) - wanted).magnitude <= wanted.magnitude * 0x1p-10 + 0x1p-20)
    }
    if !isGGUF { #expect(try output.configuration()?["tie_word_embeddings"] == false) }
    #expect(try Verification(of: output, against: base).notes.contains { $0.contains("its head") })
  }

  @Test("a part without a place is refused by name, and nothing is written", arguments: Formats.all)
  func strayPart(format: Format) throws {
    for stray in ["model.layers.7.mlp.up_proj", "model.vision_tower.layers.0.mlp.up_proj"] {
      let parts = [Self.head, ToyFactors(stray, 96, 64, seed: 1602)]
      let error = Laws.error { () throws(ModelError) in
        try plan(parts.flatMap(\.tensors), format)
      }
      #expect(error?.description.contains(stray) == true, "\(format.name)")
      #expect(try !support.scratch.names().contains("out"))
    }
  }

  @Test("every part is counted, and an adapter without an effect is said to be one")
  func parts() throws {
    let layers = ["model.layers.0.mlp.up_proj", "model.layers.0.mlp.gate_proj"]
    for format in Formats.all {
      let factors = layers.map { ToyFactors($0, 96, 64, seed: 1603).withoutEffect }
      let plan = try plan(factors.flatMap(\.tensors), format, to: "out-\(format.name)")
      let report = try Run(plan)().fold
      #expect(report?.partCount == 2 && report?.changesNothing == true, "\(format.name)")
    }
  }
}
