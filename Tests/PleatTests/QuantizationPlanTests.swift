import Formats
import Pleat
import TestSupport
import Testing

@Suite struct QuantizationPlanTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private func plan(
    _ model: Model, _ recipe: Recipe = Recipe(), format: Format = .pleat,
    requantizing: Bool = false, demanding demand: QuantizationDemand = .nothing
  ) throws(ModelError) -> Plan {
    try Plan.quantizing(
      model, recipe, to: Destination(path: scratch.path("out.\(format.name)"), format: format),
      requantizing: requantizing, demanding: demand)
  }

  @Test("a weight whose rows are not whole groups is kept, with the reason") func oddRows() throws {
    let model = try Models.named(
      [("a.weight", [4, 48]), ("b.weight", [4, 33]), ("c.weight", [4, 64])], in: scratch)
    let plan = try plan(model)
    #expect(plan.job("a.weight")?.action == .copy)
    #expect(
      plan.decisions["a.weight"]
        == "a linear weight, but 48 columns are not a multiple of the group size 32")
    #expect(plan.job("c.weight")?.action != .copy)
    #expect(plan.notes.count == 1)
    #expect(plan.notes[0].contains("2 weights") && plan.notes[0].contains("a.weight"))
  }

  @Test("groups of a whole row fit rows of any length") func rowGroups() throws {
    let model = try Models.named([("a.weight", [4, 33]), ("b.weight", [2, 7])], in: scratch)
    let plan = try plan(model, try .with(group: .row))
    #expect(plan.decisions["a.weight"] == "4-bit, groups of 33, F16 scale and bias")
    #expect(plan.decisions["b.weight"] == "4-bit, groups of 7, F16 scale and bias")
    #expect(plan.notes.isEmpty)
  }

  @Test("a weight without elements is kept") func emptyWeights() throws {
    let model = try Models.named([("a.weight", [0, 64]), ("b.weight", [4, 0])], in: scratch)
    for group in [GroupSize.columns(32), .row] {
      let plan = try plan(model, try .with(group: group))
      #expect(plan.jobs.allSatisfy { $0.action == .copy })
    }
  }

  @Test(
    "tensors of types that Pleat does not quantize are copied",
    arguments: [ScalarType.f8e4m3, .f8e5m2, .i8, .u8, .u32, .i64, .bool])
  func copiedTypes(type: ScalarType) throws {
    let plan = try plan(try Models.named([("a.weight", [4, 64])], type, in: scratch))
    #expect(plan.job("a.weight")?.action == .copy)
    #expect(plan.decisions["a.weight"]?.contains("Pleat does not quantize \(type.name)") == true)
  }

  @Test("all floating-point types are quantized", arguments: [ScalarType.f16, .bf16, .f32, .f64])
  func floatTypes(type: ScalarType) throws {
    let plan = try plan(try Models.named([("a.weight", [4, 64])], type, in: scratch))
    #expect(plan.job("a.weight")?.action != .copy)
  }

  @Test("a quantized model is quantized again only with --requantize") func requantizing() throws {
    let model = try Models.make([Toy("a.weight", .f16, [4, 64], seed: 1)], in: scratch)
    try Run(try plan(model))()
    let quantized = try Model.open(scratch.path("out.pleat"))
    let target = Destination(path: scratch.path("again.pleat"), format: .pleat)
    let error = Laws.error { () throws(ModelError) in
      try Plan.quantizing(quantized, Recipe(), to: target)
    }
    #expect(error?.kind == .unsupported)
    #expect(error?.tensor == "a.weight")
    #expect(error?.hint?.contains("--requantize") == true)
    let plan = try Plan.quantizing(
      quantized, try .with(bits: 2), to: target, requantizing: true)
    #expect(plan.decisions["a.weight"] == "2-bit, groups of 32, F16 scale and bias")
    let kept = try Plan.quantizing(quantized, try .with(rules: ["*=keep"]), to: target)
    #expect(kept.jobs.allSatisfy { $0.action == .copy })
  }

  @Test(
    "a recipe that the format does not support is refused",
    arguments: [
      ("safetensors", 4, nil, nil), ("gguf", 3, nil, "minmax"), ("gguf", 8, nil, "minmax"),
      ("gguf", 2, nil, nil), ("gguf", 4, 64, nil), ("gguf", 4, 16, nil), ("pleat", 4, 48, nil),
      ("pleat", 4, 1, nil), ("pleat", 3, nil, "ggml"), ("pleat", 4, 64, "ggml"),
      ("gguf", 3, nil, "ggml"), ("mlx", 4, nil, "ggml"), ("mlx", 8, 32, "ggml"),
    ] as [(String, Int, Int?, String?)])
  func impossibleRecipes(format: String, bits: Int, group: Int?, scheme: String?) throws {
    let model = try Models.named([("a.weight", [4, 64])], in: scratch)
    let recipe = try Recipe.with(bits: bits, group: group.map { .columns($0) }, scheme: scheme)
    let format = try Formats.named(format)
    let error = Laws.error { () throws(ModelError) in try plan(model, recipe, format: format) }
    #expect(error?.kind == .usage)
  }

  @Test("gguf has no groups of a whole row, and only F16 parameters") func ggufLimits() throws {
    let model = try Models.named([("a.weight", [4, 64])], in: scratch)
    for recipe in [try Recipe.with(group: .row), try .with(parameters: .f32)] {
      let error = Laws.error { () throws(ModelError) in try plan(model, recipe, format: .gguf) }
      #expect(error?.kind == .usage)
    }
  }

  private static let linear = "model.layers.0.mlp.up_proj.weight"

  @Test(
    "without an offset, the first one that the format supports is used",
    arguments: [
      ("pleat", 8, .bias), ("pleat", 2, .bias), ("gguf", 4, .bias), ("gguf", 5, .bias),
      ("gguf", 8, .none), ("gptq", 4, .zeroPoint), ("awq", 4, .zeroPoint), ("mlx", 3, .bias),
      ("compressed-tensors", 4, .none),
    ] as [(String, Int, Grouping.Offset)])
  func usualOffsets(format: String, bits: Int, expected: Grouping.Offset) throws {
    let plan = try plan(
      try Models.tinylm(), try .with(bits: bits), format: try Formats.named(format))
    let quantizer = try #require(plan.job(Self.linear)?.quantizer)
    #expect(quantizer.grouping.bits == bits && quantizer.grouping.offset == expected)
    #expect(quantizer.scheme == "search")
  }

  @Test(
    "an offset is what groups store, or a usage error",
    arguments: [
      ("pleat", ["bias", "zeropoint", "none"]), ("gguf", ["bias", "none"]), ("mlx", ["bias"]),
      ("gptq", ["zeropoint", "none"]), ("awq", ["zeropoint"]),
      ("compressed-tensors", ["zeropoint", "none"]),
    ])
  func offsets(format: String, able: [String]) throws {
    let model = try Models.tinylm()
    for name in Recipe.offsetNames {
      let recipe = try Recipe.with(bits: 4, offset: try Recipe.offset(named: name))
      do throws(ModelError) {
        let found = try plan(model, recipe, format: try Formats.named(format)).job(Self.linear)
        #expect(able.contains(name) && found?.quantizer?.grouping.offset == recipe.offset)
      } catch {
        #expect(error.kind == .usage && !able.contains(name))
      }
    }
  }

  @Test("weights with 8 bits get another offset where the format has no other")
  func offsetOfTheHead() throws {
    let model = try Models.named(Self.decoder, in: scratch)
    let plan = try plan(model, try .with(bits: 4, offset: .bias), format: .gguf)
    #expect(plan.job("lm_head.weight")?.quantizer?.grouping.offset == Grouping.Offset.none)
    #expect(plan.job("model.layers.0.mlp.up_proj.weight")?.quantizer?.grouping.offset == .bias)
  }

  private static let decoder: [(String, [Int])] = [
    ("model.embed_tokens.weight", [8, 64]), ("model.layers.0.mlp.up_proj.weight", [8, 64]),
    ("model.layers.0.mlp.down_proj.weight", [8, 48]), ("lm_head.weight", [8, 64]),
  ]

  @Test(
    "a pure mix of groups applies to all weights and the head",
    arguments: ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"])
  func types(type: String) throws {
    let model = try Models.named(Self.decoder, in: scratch)
    for scheme in [nil, "ggml"] {
      let recipe = try Recipe.with(type: type, isPure: true, scheme: scheme)
      let plan = try plan(model, recipe, format: .gguf)
      guard case .grouped(let grouping)? = GGMLCodec.encoding(named: type) else {
        Issue.record("\(type) has no groups")
        return
      }
      for name in Self.decoder.map(\.0) where !name.contains("down_proj") {
        let quantizer = try #require(plan.job(name)?.quantizer)
        #expect(quantizer.grouping == grouping && quantizer.scheme == scheme ?? "search")
      }
      // Its 48 columns fill no block.
      #expect(plan.job("model.layers.0.mlp.down_proj.weight")?.action == .copy)
    }
  }

  @Test("a rule overrides the type of the recipe, and uses its scheme if possible")
  func typesAndRules() throws {
    let model = try Models.named(Self.decoder, in: scratch)
    let rules = ["lm_head=Q8_0", "*.embed_tokens=keep", "*.up_proj=Q5_1"]
    func scheme(_ name: String, _ recipe: Recipe) throws -> String? {
      try plan(model, recipe).job(name)?.quantizer?.scheme
    }
    let recipe = try Recipe.with(type: "Q4_0", isPure: true, scheme: "ggml", rules: rules)
    #expect(try scheme("lm_head.weight", recipe) == "ggml")
    #expect(try scheme("model.embed_tokens.weight", recipe) == nil)
    let other = try Recipe.with(scheme: "minmax", rules: rules)
    #expect(try scheme("lm_head.weight", other) == "search")
    #expect(try scheme("model.layers.0.mlp.up_proj.weight", other) == "minmax")
  }

  @Test(
    "a type that scheme, parameters or format do not support is a usage error",
    arguments: [
      ("gguf", "Q4_K_M", "minmax", ScalarType.f16), ("pleat", "Q6_K", "symmetric", .f16),
      ("gguf", "Q4_0", nil, .f32), ("mlx", "Q4_0", nil, .f16), ("mlx", "Q8_0", "ggml", .f16),
      ("mlx", "Q4_K_M", nil, .f16), ("gptq", "IQ4_XS", "ggml", .f16),
    ] as [(String, String, String?, ScalarType)])
  func impossibleTypes(
    format: String, type: String, scheme: String?, parameters: ScalarType
  ) throws {
    let model = try Models.named([("a.weight", [4, 64])], in: scratch)
    let recipe = try Recipe.with(
      type: type, isPure: true, scheme: scheme, parameters: parameters)
    let format = try Formats.named(format)
    let error = Laws.error { () throws(ModelError) in try plan(model, recipe, format: format) }
    #expect(error?.kind == .usage)
  }

  @Test(
    "an error names the first weight if nothing is quantized, and says what would help",
    arguments: [
      ("pleat", "b.weight", 80, [], "--group-size 16 divides the columns"),
      ("pleat", "b.weight", 90, [], "--group-size row takes whole rows"),
      ("gguf", "b.weight", 90, [], "--to pleat --group-size row quantizes rows of any length"),
      ("pleat", "visual.up.weight", 64, [], "--rule 'visual.up.weight=4' quantizes it"),
      (
        "pleat", "lm_head.weight", 64, ["norm.*=keep"],
        "pleat convert writes a model without quantizing it"
      ),
    ] as [(String, String, Int, [String], String)])
  func nothing(
    format: String, name: String, columns: Int, rules: [String], hint: String
  ) throws {
    let model = try Models.named([("norm.weight", [9]), (name, [4, columns])], in: scratch)
    let (recipe, format) = (try Recipe.with(rules: rules), try Formats.named(format))
    for demand in [QuantizationDemand.something, .everything] {
      let error = Laws.error { () throws(ModelError) in
        try plan(model, recipe, format: format, demanding: demand)
      }
      #expect(error?.kind == .unsupported && error?.file == model.path)
      #expect(error?.tensor == name && error?.found != nil)
      let isStrict = demand == .everything && columns != 64
      #expect(error?.hint == (isStrict ? "--rule '\(name)=keep' leaves it as it is" : hint))
    }
    #expect(try plan(model, recipe, format: format).jobs.allSatisfy { $0.action != .quantize })
  }

  @Test("rules may ask that nothing is quantized", arguments: ["*=keep", "*=F32", "b*=keep"])
  func nothingByRules(rule: String) throws {
    let model = try Models.named(
      [("norm.weight", [9]), ("b.0.weight", [4, 64]), ("b.1.weight", [4, 33])], in: scratch)
    let plan = try plan(model, try .with(rules: [rule]), demanding: .everything)
    #expect(plan.jobs.allSatisfy { $0.action != .quantize })
  }

  @Test("with the strictest demand, each kept weight is an error unless a rule keeps it")
  func strictness() throws {
    let model = try Models.named(
      [("a.weight", [8, 64]), ("b.weight", [8, 33]), ("c.weight", [8, 50]), ("d.bias", [7])],
      in: scratch)
    func error(_ rules: [String], _ demand: QuantizationDemand) throws -> ModelError? {
      let recipe = try Recipe.with(rules: rules)
      return Laws.error { () throws(ModelError) in try plan(model, recipe, demanding: demand) }
    }
    #expect(try error([], .something) == nil)
    let strict = try error([], .everything)
    #expect(strict?.kind == .unsupported && strict?.tensor == "b.weight")
    #expect(strict?.found?.contains("33 columns") == true)
    #expect(strict?.found?.contains("1 more such weight") == true)
    #expect(try error(["b=keep"], .everything)?.tensor == "c.weight")
    #expect(try error(["b=keep", "c=4:row"], .everything) == nil)
    let words = try Models.named([("a.weight", [8, 64])], .i32, in: scratch)
    let types = Laws.error { () throws(ModelError) in try plan(words, demanding: .everything) }
    #expect(types?.tensor == "a.weight" && types?.found?.contains("I32") == true)
  }

  @Test("a weight of a type that Pleat does not quantize gets a note") func typeNotes() throws {
    let plan = try plan(try Models.named([("a.weight", [4, 64])], .u8, in: scratch))
    #expect(plan.notes == ["1 weight is not quantized: Pleat does not quantize U8 for a.weight"])
  }

  @Test("a plan does not check the weights and writes no files") func purity() throws {
    let model = try Models.make(
      [Toy("a.weight", .f16, [1, 32], [Float](repeating: .nan, count: 32))], in: scratch)
    #expect(try plan(model).jobs.count == 1)
    #expect(try scratch.names() == ["model.safetensors"])
  }
}
