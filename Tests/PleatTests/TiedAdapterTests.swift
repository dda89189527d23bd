import Adapters
import Formats
import Pleat
import TensorModel
import TestSupport
import Testing

/// Adapters of embeddings and head as PEFT and mlx-lm train and save them.
@Suite struct TiedAdapterTests {
  let folder: Folder

  init() throws { folder = try Folder() }

  private static let tableName = "model.embed_tokens.weight"
  private static let headName = "lm_head.weight"
  private static let shape = [11, 32]
  private static let table = Toy(tableName, .f32, shape, seed: 3401)
  private static let head = Toy(headName, .f32, shape, seed: 3402)
  private static let tableNumbers = Numbers.floats(table.bytes, .f32)

  private func base(storesHead: Bool = false, type: String = "llama") throws -> Model {
    let layer = Toy("model.layers.0.mlp.up_proj.weight", .f32, [6, 32], seed: 3403)
    return try Model.open(
      try folder.scratch.checkpoint(
        [Self.table, layer] + (storesHead ? [Self.head] : []),
        config: #"{"model_type":"\#(type)","vocab_size":11,"tie_word_embeddings":"#
          + "\(!storesHead)}",
        as: storesHead ? "untied" : "tied"))
  }

  private func applied(
    _ tensors: [Toy], _ config: String = "", as name: String = "adapter"
  ) throws -> AppliedAdapter {
    try folder.applied([], tensors, config, as: name)
  }

  /// An adapter of mlx-lm for the embeddings; `b` has a row for each token.
  private func mlx(_ factors: ToyFactors) throws -> AppliedAdapter {
    let scratch = folder.scratch
    try scratch.write(
      #"{"fine_tune_type":"lora","lora_parameters":{"rank":2,"scale":3}}"#,
      as: "mlx/adapter_config.json")
    try scratch.write(
      ToyFiles.safetensors([
        Toy("model.embed_tokens.lora_a", .f32, [11, 2], factors.b),
        Toy("model.embed_tokens.lora_b", .f32, [2, 32], factors.a),
      ]), as: "mlx/adapters.safetensors")
    return AppliedAdapter(try AdapterFile.open(scratch.path("mlx")))
  }

  /// Folds, and checks that the output is proven.
  private func fold(_ adapters: [AppliedAdapter], into base: Model) throws -> Model {
    let name = "out-\(try folder.scratch.names().count)"
    let destination = Destination(path: folder.scratch.path(name), format: .safetensors)
    try Run(try Plan.folding(adapters, into: base, to: destination))()
    let model = try Model.open(destination.path)
    let verification = try Verification(of: model, against: base, adapters: adapters)
    #expect(verification.holds, "\(verification.mismatches)")
    return model
  }

  private func numbers(_ model: Model, _ name: String) throws -> [Float]? {
    guard model.index(of: name) != nil else { return nil }
    return Numbers.floats(try model.part(.values, of: name), .f32)
  }

  /// Rows of 32 numbers, plus three times each product.
  private static func sum(_ rows: [Float], _ factors: ToyFactors...) -> [Float] {
    factors.reduce(rows) { rows, factors in
      rows.indices.map { rows[$0] + 3 * factors.float($0 / 32, $0 % 32) }
    }
  }

  private static let factors = ToyFactors("lm_head", 11, 32, seed: 3410)

  // MARK: - mlx-lm

  @Test("mlx-lm computes logits with changed embeddings, so they stay tied") func mlxTied() throws {
    let model = try fold([try mlx(Self.factors)], into: try base())
    #expect(try numbers(model, Self.tableName) == Self.sum(Self.tableNumbers, Self.factors))
    #expect(try numbers(model, Self.headName) == nil)
    #expect(try model.configuration()?["tie_word_embeddings"] == true)
  }

  @Test("mlx-lm gives models of some types a head of their own") func mlxOwnHead() throws {
    let model = try fold([try mlx(Self.factors)], into: try base(type: "qwen2_moe"))
    #expect(try numbers(model, Self.tableName) == Self.sum(Self.tableNumbers, Self.factors))
    #expect(try numbers(model, Self.headName) == Self.tableNumbers)
  }

  @Test("an adapter that was trained with tied weights is attached to both for PEFT")
  func attaching() throws {
    let base = try base()
    let path = folder.scratch.path("peft")
    let export = try AdapterExport(try mlx(Self.factors), of: base, for: .peft, to: path)
    #expect(export.modules.map(\.name) == [Self.tableName, Self.headName])
    _ = try export.write(replacing: false)
    let model = try fold([AppliedAdapter(try AdapterFile.open(path))], into: base)
    #expect(try numbers(model, Self.tableName) == Self.sum(Self.tableNumbers, Self.factors))
    #expect(try numbers(model, Self.headName) == nil)
  }

  // MARK: - Rows

  private static let rows = Toy(
    "model.embed_tokens.token_adapter.trainable_tokens_delta", .f32, [2, 32], seed: 3420)
  private static let rowConfig = #""trainable_token_indices":[9,4]"#

  /// The embeddings with rows 9 and 4 replaced.
  private static var replacedRows: [Float] {
    var numbers = tableNumbers
    let new = Numbers.floats(rows.bytes, .f32)
    numbers.replaceSubrange(9 * 32..<10 * 32, with: new[..<32])
    numbers.replaceSubrange(4 * 32..<5 * 32, with: new[32...])
    return numbers
  }

  @Test("an adapter of the head is added to the rows that it shares with the embeddings")
  func rowsAndHead() throws {
    let adapter = try applied(Self.factors.tensors + [Self.rows], Self.rowConfig)
    let model = try fold([adapter], into: try base())
    #expect(try numbers(model, Self.tableName) == Self.replacedRows)
    #expect(try numbers(model, Self.headName) == Self.sum(Self.replacedRows, Self.factors))
  }

  @Test("rows come before products, whatever the order of the adapters", arguments: [true, false])
  func twoAdapters(isHeadFirst: Bool) throws {
    let head = try applied(Self.factors.tensors, as: "head")
    let rows = try applied([Self.rows], Self.rowConfig, as: "rows")
    let model = try fold(isHeadFirst ? [head, rows] : [rows, head], into: try base())
    #expect(try numbers(model, Self.tableName) == Self.replacedRows)
    #expect(try numbers(model, Self.headName) == Self.sum(Self.replacedRows, Self.factors))
  }

  @Test("a head that the adapter replaces has its own rows") func rowsAndReplacedHead() throws {
    let adapter = try applied([Self.head, Self.rows], Self.rowConfig)
    let model = try fold([adapter], into: try base())
    #expect(try numbers(model, Self.tableName) == Self.replacedRows)
    #expect(try numbers(model, Self.headName) == Numbers.floats(Self.head.bytes, .f32))
  }

  // MARK: - Copies

  @Test("copies of the base model's tensor are no replacements", arguments: [true, false])
  func copies(storesHead: Bool) throws {
    let second = ToyFactors("lm_head", 11, 32, seed: 3430)
    let bytes = storesHead ? Self.head.bytes : Self.table.bytes
    let copy = Toy("lm_head.base_layer.weight", .f32, Self.shape, bytes: bytes)
    let adapters = [
      try applied(Self.factors.tensors + [copy], as: "first"),
      try applied(second.tensors + [copy], as: "second"),
    ]
    let model = try fold(adapters, into: try base(storesHead: storesHead))
    #expect(
      try numbers(model, Self.headName)
        == Self.sum(Numbers.floats(bytes, .f32), Self.factors, second))
    #expect(try numbers(model, Self.tableName) == Self.tableNumbers)
  }

  @Test("another tensor beside the factors replaces that of the base model") func otherCopy() throws
  {
    let other = Toy("lm_head.base_layer.weight", .f32, Self.shape, seed: 3440)
    let first = try applied(Self.factors.tensors + [other], as: "first")
    let base = try base(storesHead: true)
    let model = try fold([first], into: base)
    #expect(
      try numbers(model, Self.headName)
        == Self.sum(Numbers.floats(other.bytes, .f32), Self.factors))
    let second = try applied(Self.factors.tensors + [other], as: "second")
    let error = try folder.error([first, second], into: base, to: "no.safetensors")
    #expect(error.error?.kind == .unsupported && error.isClean)
  }

  @Test("an adapter with a copy of the base model's tensor can be scaled") func scaling() throws {
    let copy = Toy("lm_head.base_layer.weight", .f32, Self.shape, bytes: Self.head.bytes)
    var adapter = try applied(Self.factors.tensors + [copy])
    adapter.scale = -1
    let model = try fold([adapter], into: try base(storesHead: true))
    let numbers = Numbers.floats(Self.head.bytes, .f32)
    #expect(
      try self.numbers(model, Self.headName)
        == numbers.indices.map { numbers[$0] - 3 * Self.factors.float($0 / 32, $0 % 32) })
  }

  // MARK: - Repeats

  /// The tables of a grown vocabulary as PEFT saves those of `modules_to_save`.
  private static func saved(_ path: String, seed: UInt64, changes: Bool = false) -> [Toy] {
    let trained = Toy("\(path).weight", .f32, [13, 32], seed: seed)
    return [
      Toy("\(path).modules_to_save.weight", .f32, [13, 32], bytes: trained.bytes),
      Toy("\(path).original_module.weight", .f32, [13, 32], seed: seed + 1),
      changes ? Toy(trained.name, .f32, [13, 32], seed: seed + 2) : trained,
    ]
  }

  @Test("longer tables that are saved twice are taken once", arguments: [true, false])
  func growth(storesHead: Bool) throws {
    let table = Self.saved("model.embed_tokens", seed: 3450)
    let head = Self.saved("lm_head", seed: 3460)
    let adapter = try applied(table + head, #""modules_to_save":["embed_tokens","lm_head"]"#)
    #expect(adapter.file.adapter.changes.count == 2)
    let model = try fold([adapter], into: try base(storesHead: storesHead))
    #expect(try numbers(model, Self.tableName) == Numbers.floats(table[0].bytes, .f32))
    #expect(try numbers(model, Self.headName) == Numbers.floats(head[0].bytes, .f32))
    #expect(try model.configuration()?["vocab_size"] == 13)
  }

  @Test("different tensors for one tensor of the base model are refused") func repeats() throws {
    let adapter = try applied(Self.saved("lm_head", seed: 3470, changes: true))
    let error = try folder.error([adapter], into: try base(storesHead: true), to: "no.safetensors")
    #expect(error.error?.kind == .mismatch && error.error?.tensor == Self.headName)
  }
}
