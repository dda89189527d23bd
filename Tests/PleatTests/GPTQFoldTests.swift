import Bytes
import Formats
import Pleat
import TensorModel
import TestSupport
import Testing

/// Quantizing to GPTQ and folding into it.
@Suite struct GPTQFoldTests {
  let folder: Folder

  init() throws { folder = try Folder() }

  private static let factors = ToyFactors("l.0.up", 32, 4, scale: 0.05, seed: 720)

  private func source(_ more: [Toy] = []) throws -> Model {
    try folder.checkpoint(
      [
        Toy("l.0.up.weight", .bf16, [32, 128], seed: 721),
        Toy("l.0.down.weight", .bf16, [64, 128], seed: 722),
        Toy("model.embed_tokens.weight", .bf16, [7, 128], seed: 723),
        Toy("lm_head.weight", .bf16, [7, 128], seed: 724),
        Toy("norm.weight", .bf16, [8], seed: 725),
      ] + more)
  }

  private func base(_ bits: Int, scheme: String? = nil) throws -> Model {
    try folder.quantize(
      try source(), try .with(bits: bits, group: .columns(32), scheme: scheme), to: "base.gptq")
  }

  private func applied(_ factors: ToyFactors = factors) throws -> AppliedAdapter {
    try folder.applied([factors], pooling: .sum)
  }

  private func quantization(_ name: String) throws -> JSONValue? {
    try folder.document(name)["quantization_config"]
  }

  @Test("quantizing uses zero points and F16, and keeps embeddings and head")
  func quantizing() throws {
    let model = try folder.quantize(try source(), Recipe(), to: "a.gptq")
    #expect(model.format == .gptq)
    let grouping = Grouping(bits: 4, groupSize: 128, offset: .zeroPoint, parameters: .f16)
    for tensor in model.catalog.tensors {
      let isLayer = tensor.name.hasPrefix("l.0.")
      #expect(tensor.encoding == (isLayer ? .grouped(grouping) : .plain(.f16)), "\(tensor.name)")
    }
    let expected: JSONValue = [
      "quant_method": "gptq", "method": "gptq", "checkpoint_format": "gptq_v2",
      "format": "gptq_v2", "bits": 4, "group_size": 128, "desc_act": false, "sym": false,
      "lm_head": false, "pack_dtype": "int32",
      "meta": ["quantizer": .array([.string("pleat:\(PleatVersion.text)")])],
    ]
    #expect(try quantization("a.gptq") == expected)
    let other = try JSONParser.parse(
      try folder.scratch.bytes(of: "a.gptq/quantize_config.json"), file: "quantize_config.json")
    #expect(other == expected)
  }

  @Test("the config names layers with their own bits or groups, and layers that are kept")
  func rules() throws {
    let model = try folder.quantize(
      try source([Toy("l.1.up.weight", .bf16, [32, 64], seed: 726)]),
      try .with(
        bits: 4, group: .columns(32), rules: ["l.0.down=8:row", "l.1.*=keep"]),
      to: "a.gptq")
    #expect(model.catalog.tensors.count == 6)
    let quantization = try quantization("a.gptq")
    #expect(quantization?["bits"] == 4 && quantization?["group_size"] == 32)
    #expect(quantization?["lm_head"] == false)
    let expected: JSONValue = [
      #"+:^l\.0\.down$"#: ["bits": 8, "group_size": 128], #"-:^l\.1\.up$"#: .object([]),
    ]
    #expect(quantization?["dynamic"] == expected)
    let again = try folder.rewrite(model, to: "b.gptq", .gptq)
    #expect(try again.allParts() == model.allParts())
  }

  @Test("weights that do not fill whole words are kept, with a note")
  func misfits() throws {
    let source = try source([
      Toy("l.1.up.weight", .bf16, [6, 128], seed: 727),
      Toy("l.1.e.weight", .bf16, [2, 8, 128], seed: 728),
    ])
    let destination = Destination(path: folder.scratch.path("a.gptq"), format: .gptq)
    let plan = try Plan.quantizing(source, Recipe(), to: destination)
    #expect(
      plan.notes.contains { $0.contains("2 weights are not quantized") && $0.contains("l.1.") })
    #expect(plan.jobs.count { $0.target.isGrouped } == 2)
  }

  @Test("a symmetric model is marked sym until a fold gives it zero points")
  func symmetric() throws {
    let model = try base(4, scheme: "symmetric")
    #expect(try quantization("base.gptq")?["sym"] == true)
    let grouping = Grouping(bits: 4, groupSize: 32, offset: .none, parameters: .f16)
    #expect(model.catalog.tensors.contains { $0.encoding == .grouped(grouping) })
    let found = try folder.error([try applied()], into: model, to: "out.gptq")
    #expect(found.error?.expected?.contains("--round") == true)
    #expect(found.error?.hint?.contains("--bias-type") == false)
    #expect(found.isClean)
    let result = try folder.fold([try applied()], into: model, to: "out.gptq", .with(rounds: true))
    #expect(try quantization("out.gptq")?["sym"] == false)
    #expect(result.report.total.changedCodeCount == 0)
    let wide = try folder.fold([try applied()], into: model, to: "wide.gptq", .with(widenedBits: 8))
    #expect(wide.report.total.adapterError < 0.3 * result.report.total.adapterError)
  }

  @Test("a fold into gptq equals a fold into a pleat file (seed 720)", arguments: [2, 3, 4, 8])
  func rounding(bits: Int) throws {
    let model = try base(bits)
    let packed = try folder.rewrite(model, to: "base.pleat", .pleat)
    for (options, name) in [
      (FoldOptions.with(rounds: true), "r"), (.with(widenedBits: 8), "w"),
    ] where bits < 8 || name == "r" {
      let result = try folder.fold([try applied()], into: model, to: "\(name).gptq", options)
      let expected = try folder.fold([try applied()], into: packed, to: "\(name).pleat", options)
      #expect(result.report.total.adapterError == expected.report.total.adapterError)
      #expect(result.report.total.changedCodeCount == 0)
      #expect(try Verification(of: result.model, against: expected.model, tolerance: 0).holds)
      let proof = try Verification(of: result.model, against: model, adapters: [try applied()])
      #expect(proof.holds, "\(name)")
      guard name == "w" else { continue }
      let rules = try quantization("w.gptq")?["dynamic"]?.members ?? []
      // The narrower of two equally frequent layers is the default, the other gets a rule.
      #expect(rules.map(\.key) == [#"+:^l\.0\.up$"#])
      #expect(rules[0].value["bits"] == 8)
    }
  }

  @Test("folding into scattered groups needs --requantize")
  func scattered() throws {
    var weight = ToyGPTQ("l.0.up", 32, 128, seed: 729)
    weight.scatter(seed: 730)
    let model = try Model.open(
      try folder.scratch.checkpoint(weight.tensors, config: ToyGPTQ.config(), as: "scattered"))
    for options in [FoldOptions(), .with(rounds: true), .with(widenedBits: 8)] {
      let found = try folder.error([try applied()], into: model, to: "out.gptq", options)
      #expect(found.error != nil && found.isClean)
      guard options.widenedBits == nil else { continue }
      #expect(found.error?.what.contains("scattered over the row (desc_act)") == true)
    }
    let result = try folder.fold(
      [try applied()], into: model, to: "out.gptq", .with(requantizes: true))
    let grouping = Grouping(bits: 4, groupSize: 32, offset: .zeroPoint, parameters: .f16)
    #expect(result.model.catalog.tensors[0].encoding == .grouped(grouping))
    #expect(try quantization("out.gptq")?["desc_act"] == false)
  }
}
