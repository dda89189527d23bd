import Adapters
import Architectures
import Bytes
import Formats
import Pleat
import TensorModel
import TestSupport
import Testing

/// What becomes of tied embeddings when adapters change them, or the head, or both.
@Suite struct TiedHeadTests {
  let folder: Folder

  init() throws { folder = try Folder() }

  private static let tableShape = [12, 32]
  private static let table = Toy("model.embed_tokens.weight", .f32, tableShape, seed: 3001)
  private static let layer = Toy("model.layers.0.mlp.up_proj.weight", .f32, [6, 32], seed: 3002)

  /// A checkpoint with tied embeddings; `head` is stored as a head of its own.
  private func base(
    head: Toy? = nil, config: String = #""tie_word_embeddings":true"#, as name: String = "base"
  ) throws -> Model {
    let path = try folder.scratch.checkpoint(
      [Self.table, Self.layer] + (head.map { [$0] } ?? []),
      config: #"{"model_type":"llama","vocab_size":12,"# + config + "}", as: name)
    return try Model.open(path)
  }

  /// The factors of an adapter for the embeddings.
  private static func tableFactors(seed: UInt64) -> [Toy] {
    [
      Toy("model.embed_tokens.lora_embedding_A", .f32, [2, 12], seed: seed),
      Toy("model.embed_tokens.lora_embedding_B", .f32, [32, 2], seed: seed + 1),
    ]
  }

  /// The factors of an adapter for the head.
  private static func headFactors(seed: UInt64) -> [Toy] {
    ToyFactors("lm_head", 12, 32, seed: seed).tensors
  }

  private func fold(_ adapter: [Toy], _ config: String = "", into base: Model) throws -> Model {
    let path = try folder.scratch.peft(adapter, config, as: "adapter")
    let applied = AppliedAdapter(try AdapterFile.open(path))
    let destination = Destination(path: folder.scratch.path("out"), format: .safetensors)
    try Run(try Plan.folding([applied], into: base, to: destination), replacing: true)()
    let model = try Model.open(destination.path)
    let verification = try Verification(of: model, against: base, adapters: [applied])
    #expect(verification.holds, "\(verification.mismatches)")
    return model
  }

  private func numbers(_ model: Model, _ name: String) throws -> [Float]? {
    guard model.index(of: name) != nil else { return nil }
    return Numbers.floats(try model.part(.values, of: name), .f32)
  }

  private func isTied(_ model: Model) throws -> Bool? {
    try model.configuration()?["tie_word_embeddings"]?.bool
  }

  private static let tableName = "model.embed_tokens.weight"
  private static let headName = "lm_head.weight"
  private static let tableNumbers = Numbers.floats(table.bytes, .f32)

  @Test("a change of the head alone leaves the embeddings as they are") func head() throws {
    let model = try fold(Self.headFactors(seed: 3010), into: try base())
    #expect(try numbers(model, Self.tableName) == Self.tableNumbers)
    let head = try #require(try numbers(model, Self.headName))
    #expect(head.count == Self.tableNumbers.count && head != Self.tableNumbers)
    #expect(try isTied(model) == false)
  }

  @Test("a change of the embeddings alone leaves the head as it was") func embeddings() throws {
    let model = try fold(Self.tableFactors(seed: 3020), into: try base())
    #expect(try numbers(model, Self.headName) == Self.tableNumbers)
    #expect(try numbers(model, Self.tableName) != Self.tableNumbers)
    #expect(try isTied(model) == false)
  }

  @Test("embeddings that stay tied although only they were changed are no fold") func leftTied()
    throws
  {
    let factors = Self.tableFactors(seed: 3025)
    let folded = try fold(factors, into: try base())
    let changed = Toy(
      Self.tableName, .f32, Self.tableShape, bytes: try folded.part(.values, of: Self.tableName))
    let tied = try Model.open(
      try folder.scratch.checkpoint(
        [changed, Self.layer], config: #"{"tie_word_embeddings":true}"#, as: "tied"))
    let applied = AppliedAdapter(try AdapterFile.open(folder.scratch.path("adapter")))
    #expect(try !Verification(of: tied, against: try base(), adapters: [applied]).holds)
    #expect(try Verification(of: folded, against: try base(), adapters: [applied]).holds)
  }

  @Test("a new head is beside the part that holds the embeddings")
  func headNames() throws {
    let names = [
      "thinker.model.embed_tokens.weight": "thinker.lm_head.weight",
      "language_model.model.embed_tokens.weight": "language_model.lm_head.weight",
      "model.language_model.embed_tokens.weight": "lm_head.weight",
      "transformer.wte.weight": "lm_head.weight", "model.embed_tokens.weight": "lm_head.weight",
    ]
    for (table, head) in names { #expect(TensorNames.head(besideTable: table) == head) }
    let table = Toy("thinker.model.embed_tokens.weight", .f32, Self.tableShape, seed: 3026)
    let path = try folder.scratch.checkpoint(
      [table, Self.layer], config: #"{"tie_word_embeddings":true}"#, as: "inside")
    let factors = ToyFactors("thinker.lm_head", 12, 32, seed: 3027).tensors
    let model = try fold(factors, into: try Model.open(path))
    #expect(try numbers(model, table.name) == Numbers.floats(table.bytes, .f32))
    #expect(model.index(of: "thinker.lm_head.weight") != nil)
    #expect(model.index(of: Self.headName) == nil)
  }

  @Test("a head that is added counts as weights") func addedHead() throws {
    let path = try folder.scratch.peft(Self.headFactors(seed: 3028), as: "adapter")
    let applied = AppliedAdapter(try AdapterFile.open(path))
    let plan = try Plan.folding(
      [applied], into: try base(), to: try folder.destination("safetensors"))
    #expect(plan.elementCount == 2 * 12 * 32 + 6 * 32)
    #expect(plan.bitsPerWeight == 32)
  }

  @Test("an adapter that was trained with tied weights keeps them tied", arguments: [false, true])
  func trainedTied(storesHead: Bool) throws {
    let head = storesHead ? Toy(Self.headName, .f32, Self.tableShape, bytes: Self.table.bytes) : nil
    let model = try fold(
      Self.tableFactors(seed: 3030), #""ensure_weight_tying":true"#,
      into: try base(head: head))
    #expect(try numbers(model, Self.headName) == nil)
    #expect(try numbers(model, Self.tableName) != Self.tableNumbers)
    #expect(try isTied(model) == true)
  }

  @Test("equal replacements of both keep them tied, others do not", arguments: [false, true])
  func replacements(areEqual: Bool) throws {
    let table = Toy("model.embed_tokens.weight", .f32, Self.tableShape, seed: 3040)
    let head = Toy(Self.headName, .f32, Self.tableShape, seed: areEqual ? 3040 : 3041)
    let model = try fold(
      [table, head] + ToyFactors("model.layers.0.mlp.up_proj", 6, 32, seed: 3042).tensors,
      into: try base())
    #expect(try numbers(model, Self.tableName) == Numbers.floats(table.bytes, .f32))
    #expect(
      try numbers(model, Self.headName) == (areEqual ? nil : Numbers.floats(head.bytes, .f32)))
    #expect(try isTied(model) == areEqual)
  }

  @Test("rows of tied embeddings are rows of the head") func rows() throws {
    let rows = Toy(
      "model.embed_tokens.token_adapter.trainable_tokens_delta", .f32, [2, 32], seed: 3050)
    let model = try fold([rows], #""trainable_token_indices":[7,0]"#, into: try base())
    let found = try #require(try numbers(model, Self.tableName))
    let new = Numbers.floats(rows.bytes, .f32)
    #expect(Array(found[7 * 32..<8 * 32]) == Array(new[..<32]))
    #expect(Array(found[..<32]) == Array(new[32...]))
    #expect(found[32..<7 * 32] == Self.tableNumbers[32..<7 * 32])
    #expect(try numbers(model, Self.headName) == nil && isTied(model) == true)
  }

  @Test("rows of the embeddings are rows of another head, too, if the config ties them")
  func rowsOfAnotherHead() throws {
    let rows = Toy(
      "model.embed_tokens.token_adapter.trainable_tokens_delta", .f32, [1, 32], seed: 3055)
    let head = Toy(Self.headName, .f32, Self.tableShape, seed: 3056)
    let model = try fold([rows], #""trainable_token_indices":[4]"#, into: try base(head: head))
    let new = Numbers.floats(rows.bytes, .f32)
    for (name, old) in [(Self.tableName, Self.table), (Self.headName, head)] {
      var expected = Numbers.floats(old.bytes, .f32)
      expected.replaceSubrange(4 * 32..<5 * 32, with: new)
      #expect(try numbers(model, name) == expected)
    }
    #expect(try isTied(model) == false)
  }

  @Test("bare names with a class that predicts tokens are followed as tied") func bareNames() throws
  {
    let copy = Toy(Self.headName, .f32, Self.tableShape, bytes: Self.table.bytes)
    let table = Toy("embed_tokens.weight", .f32, Self.tableShape, bytes: Self.table.bytes)
    let layer = Toy("layers.0.mlp.up_proj.weight", .f32, [6, 32], seed: 3057)
    let path = try folder.scratch.checkpoint(
      [table, layer, copy],
      config: #"{"architectures":["LlamaForCausalLM"],"tie_word_embeddings":true}"#, as: "bare")
    let factors = ToyFactors("layers.0.mlp.up_proj", 6, 32, seed: 3058).tensors
    let model = try fold(factors, into: try Model.open(path))
    #expect(model.index(of: Self.headName) == nil)
  }

  @Test("a stored copy of the embeddings is left out, another head is kept and untied")
  func storedHeads() throws {
    let copy = Toy(Self.headName, .f32, Self.tableShape, bytes: Self.table.bytes)
    let other = Toy(Self.headName, .f32, Self.tableShape, seed: 3060)
    for (head, isKept) in [(copy, false), (other, true)] {
      let plan = try Plan.converting(
        try base(head: head),
        to: Destination(path: folder.scratch.path("out"), format: .safetensors))
      #expect(plan.notes.contains { $0.contains("does not tie them") } == isKept)
      try Run(plan, replacing: true)()
      let model = try Model.open(folder.scratch.path("out"))
      #expect((model.index(of: Self.headName) != nil) == isKept)
      #expect(try isTied(model) == !isKept)
    }
  }

  @Test("the flag is changed in the config of the text model, too") func nestedConfig() throws {
    let config =
      #""tie_word_embeddings":true,"text_config":{"tie_word_embeddings":true,"x":[1]},"y":2"#
    let model = try fold(Self.headFactors(seed: 3070), into: try base(config: config))
    let written = try #require(try model.configuration())
    #expect(written["tie_word_embeddings"] == false)
    #expect(written["text_config"] == ["tie_word_embeddings": false, "x": [1]])
    #expect(written["y"] == 2)
  }

  @Test("a longer table and head replace the old ones, and vocab_size grows") func growth() throws {
    let longer = [14, 32]
    let adapter = [
      Toy("model.embed_tokens.weight", .f32, longer, seed: 3080),
      Toy(Self.headName, .f32, longer, seed: 3081),
    ]
    let head = Toy(Self.headName, .f32, Self.tableShape, seed: 3082)
    let untied = try base(
      head: head, config: #""tie_word_embeddings":false"#, as: "untied")
    for base in [try base(), untied] {
      let model = try fold(adapter, into: base)
      for toy in adapter {
        #expect(try numbers(model, toy.name) == Numbers.floats(toy.bytes, .f32))
      }
      #expect(try model.configuration()?["vocab_size"] == 14)
    }
  }

  @Test("more tokens in only one of the two are refused") func uneven() throws {
    let table = Toy("model.embed_tokens.weight", .f32, [14, 32], seed: 3090)
    let head = Toy(Self.headName, .f32, Self.tableShape, seed: 3091)
    let base = try base(head: head, config: #""tie_word_embeddings":false"#)
    let error = Laws.error { () throws(ModelError) in
      do { _ = try fold([table], into: base) } catch let error as ModelError { throw error } catch {
        Issue.record(error)
      }
    }
    #expect(error?.kind == .unsupported && error?.tensor == Self.headName)
  }

  @Test("an adapter of tied embeddings is not attached for llama.cpp") func attaching() throws {
    let path = try folder.scratch.peft(
      Self.tableFactors(seed: 3100), as: "adapter")
    let applied = AppliedAdapter(try AdapterFile.open(path))
    let base = try base()
    let error = Laws.error { () throws(ModelError) in
      try AdapterExport(applied, of: base, for: .gguf, to: folder.scratch.path("lora.gguf"))
    }
    #expect(error?.kind == .unsupported && error?.tensor == Self.tableName)
    let peft = try AdapterExport(applied, of: base, for: .peft, to: folder.scratch.path("lora"))
    #expect(peft.modules.map(\.name) == [Self.tableName])
  }

  @Test("longer tables are not attached, even if the old rows are unchanged", arguments: [0, 1])
  func attachingLongerTables(added: Int) throws {
    let head = Toy(Self.headName, .f32, Self.tableShape, seed: 3110)
    let base = try base(head: head, config: #""tie_word_embeddings":false"#)
    let more = [UInt8](repeating: 1, count: added * 32 * 4)
    let tables = [Self.table, head].map {
      Toy($0.name, .f32, [12 + added, 32], bytes: $0.bytes + more)
    }
    let factors = ToyFactors("model.layers.0.mlp.up_proj", 6, 32, seed: 3111).tensors
    let path = try folder.scratch.peft(factors + tables, as: "adapter")
    let applied = AppliedAdapter(try AdapterFile.open(path))
    for target in AdapterExport.Target.allCases {
      let out = folder.scratch.path("lora.\(target)")
      let error = Laws.error { () throws(ModelError) in
        try AdapterExport(applied, of: base, for: target, to: out)
      }
      #expect((error == nil) == (added == 0), "\(target)")
    }
  }

  @Test("a model type that mlx-lm cannot tie gets a head of its own", arguments: [true, false])
  func ownHead(isStored: Bool) throws {
    let head = Toy(Self.headName, .f32, Self.tableShape, bytes: Self.table.bytes)
    let path = try folder.scratch.checkpoint(
      [Self.table, Self.layer] + (isStored ? [head] : []),
      config: #"{"model_type":"qwen2_moe","tie_word_embeddings":true}"#, as: "base")
    let base = try Model.open(path)
    let jobs = [
      try Plan.converting(base, to: try folder.destination("1.mlx")),
      try Plan.quantizing(
        base, try .with(group: .columns(32), rules: ["lm_head=keep", "*embed*=keep"]),
        to: try folder.destination("2.mlx")),
    ]
    for plan in jobs {
      try Run(plan)()
      #expect(plan.notes.contains { $0.contains("mlx-lm needs one") } != isStored)
    }
    for name in ["1.mlx", "2.mlx"] {
      let model = try Model.open(folder.scratch.path(name))
      #expect(try model.parts(Self.headName) == model.parts(Self.tableName), "\(name)")
      #expect(try Verification(of: model, against: base, tolerance: 0.1).holds)
    }
    let plain = try folder.destination("3.safetensors")
    try Run(try Plan.converting(base, to: plain))()
    #expect(try Model.open(plain.path).index(of: Self.headName) == nil)
  }
}
