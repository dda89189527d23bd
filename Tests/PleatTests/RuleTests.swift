import Pleat
import TestSupport
import Testing

@Suite struct RuleTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private static let tensors = [
    ("layers.0.q_proj.weight", [64, 64]), ("layers.1.q_proj.weight", [64, 64]),
    ("layers.0.down_proj.weight", [64, 64]), ("norm.weight", [64]), ("lm_head.weight", [64, 64]),
  ]
  private static let usual = "4-bit, groups of 32, F16 scale and bias"

  private func decisions(
    _ rules: [String], format: Format = .pleat, bits: Int = 4
  ) throws -> [String: String] {
    let model = try Models.named(Self.tensors, in: scratch)
    let plan = try Plan.quantizing(
      model, try .with(bits: bits, rules: rules),
      to: Destination(path: scratch.path("out.\(format.name)"), format: format))
    return plan.decisions
  }

  @Test("the last matching rule wins") func order() throws {
    let found = try decisions(["*.q_proj=8", "layers.1.*=3:64", "layers.1.q_proj=keep"])
    #expect(found["layers.0.q_proj.weight"] == "8-bit, groups of 32, F16 scale and bias")
    #expect(found["layers.1.q_proj.weight"] == "rule 'layers.1.q_proj=keep'")
    #expect(found["layers.0.down_proj.weight"] == Self.usual)
    let other = try decisions(["layers.1.q_proj=keep", "layers.1.*=3:64", "*.q_proj=8"])
    #expect(other["layers.1.q_proj.weight"] == "8-bit, groups of 32, F16 scale and bias")
  }

  @Test(
    "a pattern matches the whole name, or the name without a final '.weight'",
    arguments: [
      ("layers.0.q_proj", true), ("layers.0.q_proj.weight", true), ("*.q_proj", true),
      ("layers.?.q_proj", true), ("layers.[01].q_proj", true), ("q_proj", false),
      ("layers.0.q_proj.", false), ("layers.0", false), ("*", true), ("LAYERS.0.Q_PROJ", false),
    ])
  func suffixes(pattern: String, fits: Bool) throws {
    #expect(Rule(pattern: pattern, choice: .keep).matches("layers.0.q_proj.weight") == fits)
  }

  @Test("a rule for all tensors does not quantize vectors") func vectors() throws {
    let found = try decisions(["*=8"])
    #expect(found["norm.weight"] == "a vector")
    #expect(found["lm_head.weight"] == "8-bit, groups of 32, F16 scale and bias")
  }

  @Test(
    "each choice of a rule has its effect",
    arguments: [
      ("keep", "rule 'layers.0.q_proj=keep'"), ("3", "3-bit, groups of 32, F16 scale and bias"),
      ("6:64", "6-bit, groups of 64, F16 scale and bias"),
      ("2:row", "2-bit, groups of 64, F16 scale and bias"),
      ("4:16:symmetric", "4-bit, groups of 16, F16 scale"), ("f32", "F32"), ("BF16", "BF16"),
      ("F16", "rule 'layers.0.q_proj=F16'"), ("q8_0", "8-bit, groups of 32, F16 scale"),
      ("Q4_1", "4-bit, groups of 32, F16 scale and bias"),
      ("Q5_0", "5-bit, groups of 32, F16 scale"),
    ])
  func choices(choice: String, expected: String) throws {
    #expect(try decisions(["layers.0.q_proj=\(choice)"])["layers.0.q_proj.weight"] == expected)
  }

  @Test(
    "a rule that matches no tensor, or none that is quantized, gets a note",
    arguments: [
      (
        "*.down_prj=8",
        "the rule '*.down_prj=8' matches no tensor; the nearest name is layers.0.down_proj.weight"
      ),
      (
        "q_proj=keep",
        "the rule 'q_proj=keep' matches no tensor; the nearest name is layers.0.q_proj.weight"
      ),
      (
        "model.layers.1.Q_PROJ=Q8_0",
        "the rule 'model.layers.1.Q_PROJ=Q8_0' matches no tensor; the nearest names are "
          + "layers.0.q_proj.weight and layers.0.down_proj.weight"
      ),
      (
        "layers.9.q_porj=4:64",
        "the rule 'layers.9.q_porj=4:64' matches no tensor; the nearest names are "
          + "layers.0.q_proj.weight and layers.0.down_proj.weight"
      ),
      (
        "blk.*.ffn_down=8",
        "the rule 'blk.*.ffn_down=8' matches no tensor; the source has names such as "
          + "layers.0.q_proj.weight"
      ),
      (
        "*norm*=8",
        "the rule '*norm*=8' quantizes nothing: it matches only tensors that are never quantized, "
          + "such as norm.weight (a vector)"
      ),
      ("*norm*=F32", nil), ("*=8", nil), ("lm_head=keep", nil), ("layers.?.*=3:64", nil),
    ] as [(String, String?)])
  func notes(rule: String, note: String?) throws {
    let plan = try Plan.quantizing(
      try Models.named(Self.tensors, in: scratch), try .with(rules: [rule, rule]),
      to: Destination(path: scratch.path("out.pleat"), format: .pleat))
    #expect(plan.notes == (note.map { [$0] } ?? []))
  }

  @Test("a rule does not quantize routers and tables, but may keep them in another type")
  func exclusions() throws {
    let names = ["a.mlp.gate.weight", "wpe.weight", "blk.0.laurel_l.weight", "a.conv.weight"]
    let source = try Models.named(names.map { ($0, [64, 64]) }, in: scratch)
    for (rule, isPlain) in [("*=8", true), ("*=F32", false)] {
      let plan = try Plan.quantizing(
        source, try .with(rules: [rule]),
        to: Destination(path: scratch.path("out.pleat"), format: .pleat))
      for name in names { #expect((plan.job(name)?.action == .copy) == isPlain, "\(name)") }
    }
  }

  @Test("a rule with a plain type applies to vectors too") func plainVectors() throws {
    #expect(try decisions(["norm.*=F32"])["norm.weight"] == "F32")
  }

  @Test(
    "an invalid rule is a usage error",
    arguments: [
      "", "=", "=8", "*", "*=", "*=7", "*=1", "*=0", "*=-4", "*=9", "*=4:", "*=4:0", "*=4:-32",
      "*=4:x", "*=4:32:", "*=4:32:best", "*=4:32:minmax:x", "*=drop", "*=Keep", "*=F8_E4M3", "*=I8",
      "*=Q4_K_M", "*=IQ2_XXS", "*=FP4", "*=Q9_9", "*=4.0", "*= 4",
    ])
  func badRules(text: String) {
    let error = Laws.error { () throws(ModelError) in try Rule(text: text) }
    #expect(error?.kind == .usage, "\(text)")
  }

  @Test(
    "a rule is unchanged by writing and reading its text",
    arguments: [
      "keep", "8", "4:64", "3:row", "4:32:minmax", "2:row:symmetric", "Q8_0", "Q6_K", "IQ4_NL",
      "mxfp8", "F16",
    ])
  func texts(choice: String) throws {
    let rule = try Rule(text: "a=b.*=\(choice)")
    #expect(rule.pattern == "a=b.*")
    #expect(rule.choice.text == choice)
    #expect(try Rule(pattern: rule.pattern, choiceText: rule.choice.text) == rule)
  }

  @Test(
    "a rule that the format does not support is refused with the tensor",
    arguments: ["*.q_proj=3:64", "*.q_proj=8:32:minmax", "*.q_proj=4:48"])
  func impossible(rule: String) throws {
    let error = #expect(throws: ModelError.self) { try decisions([rule], format: .gguf) }
    #expect(error?.kind == .usage || error?.kind == .unsupported)
    #expect(error?.tensor == "layers.0.q_proj.weight")
  }
}
