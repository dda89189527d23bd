import Architectures
import Bytes
import Formats
import TensorModel
import TestSupport
import Testing

/// Models that embed texts, whose tensors have other names, and whose configs have other keys.
@Suite struct EncoderTests {
  private static let sizes: JSONValue = [
    "num_hidden_layers": 2, "hidden_size": 8, "intermediate_size": 12, "num_attention_heads": 2,
    "max_position_embeddings": 10, "type_vocab_size": 2,
  ]

  private static let encoders = Architectures.all.filter(\.isEncoder)

  private static func tensors(
    _ architecture: Architecture, _ config: JSONValue
  ) throws -> [TensorInfo] {
    let config = architecture.withUsualKeys(config)
    let sizes = try ModelSizes(config, architecture)
    let names =
      architecture.requiredNames(
        layerCount: 2, expertCount: 0, leadingCount: sizes.leadingCount)
      + architecture.biasNames(of: architecture.statedBiases(config), layerCount: 2)
    return try names.map { name in
      let shape = architecture.expectedShape(ofHuggingFaceName: name, sizes, tokenCount: 16)
      return TensorInfo(
        name: name, shape: try #require(shape.flatMap { Shape(validating: $0.dimensions) }),
        encoding: .plain(.f16))
    }
  }

  private static func translation(
    _ tensors: [TensorInfo], _ type: String, _ changes: JSONValue = [:],
    _ values: (Int) throws(ModelError) -> [Float] = { (_) throws(ModelError) in [] }
  ) throws(ModelError) -> GGUFTranslation {
    try GGUFTranslation(
      tensors,
      config: sizes.overridden(by: changes).setting("model_type", to: .string(type)),
      generation: nil, name: "test", numbers: values
    ) { (_, _) throws(ModelError) in nil }
  }

  @Test("all architectures of encoders are there") func presence() {
    #expect(Self.encoders.flatMap(\.modelTypes).count == 6)
  }

  @Test(
    "a name is the same whatever a larger model puts before it",
    arguments: [
      ("bert", "bert."), ("roberta", "roberta."), ("xlm-roberta", "model.roberta."),
      ("distilbert", "distilbert."), ("nomic_bert", "nomic_bert."), ("modernbert", ""),
    ])
  func prefix(type: String, prefix: String) throws {
    let architecture = try #require(Architectures.forModelType(type))
    for tensor in try Self.tensors(architecture, Self.sizes) {
      let bare = tensor.name.hasPrefix("model.") ? String(tensor.name.dropFirst(6)) : tensor.name
      #expect(architecture.ggufName(of: prefix + bare) == architecture.ggufName(of: tensor.name))
      #expect(architecture.prefix(ofHuggingFaceName: prefix + bare) == prefix)
    }
  }

  @Test("old words for the weight and the bias of a norm are understood") func oldNorms() throws {
    let bert = try #require(Architectures.forModelType("bert"))
    let name = "bert.encoder.layer.1.output.LayerNorm."
    #expect(bert.ggufName(of: name + "gamma") == "blk.1.layer_output_norm.weight")
    #expect(bert.ggufName(of: name + "beta") == "blk.1.layer_output_norm.bias")
    let llama = try #require(Architectures.forModelType("llama"))
    #expect(llama.ggufName(of: "model.norm.gamma") == nil)
  }

  @Test("heads and poolers are left out, and other tensors are refused by name") func others()
    throws
  {
    let bert = try #require(Architectures.forModelType("bert"))
    var tensors = try Self.tensors(bert, Self.sizes)
    let count = tensors.count
    for name in ["pooler.dense.weight", "cls.predictions.bias", "embeddings.position_ids"] {
      tensors.append(TensorInfo(name: name, shape: Shape(8), encoding: .plain(.f32)))
    }
    let found = try Self.translation(tensors, "bert")
    #expect(found.placements.prefix(count).allSatisfy { $0 != nil })
    #expect(found.placements.suffix(3).allSatisfy { $0 == nil })
    let table = found.placements.first { $0?.name == "token_types.weight" }
    #expect(table??.isFloat32 == true)
    tensors.append(
      TensorInfo(name: "classifier.weight", shape: Shape(2, 8), encoding: .plain(.f32)))
    let error = Laws.error { () throws(ModelError) in try Self.translation(tensors, "bert") }
    #expect(error?.kind == .unsupported && error?.tensor == "classifier.weight")
  }

  @Test("the rows of positions up to that of padding are left out", arguments: [0, 1, 8])
  func positions(padding: Int) throws {
    let roberta = try #require(Architectures.forModelType("roberta"))
    let tensors = try Self.tensors(roberta, Self.sizes)
    let index = try #require(
      tensors.firstIndex { $0.name == "embeddings.position_embeddings.weight" })
    let numbers = (0..<80).map(Float.init)
    let found = try Self.translation(
      tensors, "roberta", ["pad_token_id": JSONValue(padding)]
    ) { (asked) throws(ModelError) in asked == index ? numbers : [] }
    let addition = try #require(found.additions.first)
    #expect(found.additions.count == 1 && found.placements[index] == nil)
    #expect(addition.stored.name == "position_embd.weight")
    let count = 10 - padding - 1
    #expect(found.metadata["bert.context_length"] == .u32(UInt32(count)))
    let expected = numbers.suffix(8 * count).flatMap { number in
      (0..<4).map { UInt8(truncatingIfNeeded: number.bitPattern >> (8 * UInt32($0))) }
    }
    #expect(addition.bytes == expected)
  }

  @Test("positions that are all for padding, or are no numbers, are malformed") func noPositions()
    throws
  {
    let roberta = try #require(Architectures.forModelType("roberta"))
    let tensors = try Self.tensors(roberta, Self.sizes)
    for padding in [9, 10] {
      let error = Laws.error { () throws(ModelError) in
        try Self.translation(tensors, "roberta", ["pad_token_id": JSONValue(padding)])
      }
      #expect(error?.kind == .malformed && error?.tensor == "max_position_embeddings")
    }
    let error = Laws.error { () throws(ModelError) in
      try Self.translation(tensors, "roberta") { (_) throws(ModelError) in
        Array(repeating: .nan, count: 80)
      }
    }
    #expect(error?.kind == .malformed && error?.tensor == "position_embd.weight")
  }

  @Test("the first layer of ModernBERT has no norm before attention") func firstLayer() throws {
    let modern = try #require(Architectures.forModelType("modernbert"))
    var tensors = try Self.tensors(modern, Self.sizes)
    let norms = tensors.map(\.name).filter { $0.hasSuffix("attn_norm.weight") }
    #expect(norms == ["model.layers.1.attn_norm.weight"])
    _ = try Self.translation(tensors, "modernbert")
    let name = "model.layers.0.attn_norm.weight"
    tensors.append(TensorInfo(name: name, shape: Shape(8), encoding: .plain(.f32)))
    let error = Laws.error { () throws(ModelError) in try Self.translation(tensors, "modernbert") }
    #expect(error?.kind == .unsupported && error?.tensor == name)
  }

  @Test("keys with other names mean the same") func keys() throws {
    let distilled = try #require(Architectures.forModelType("distilbert"))
    let own: JSONValue = [
      "n_layers": 2, "dim": 8, "hidden_dim": 12, "n_heads": 2, "max_position_embeddings": 10,
      "model_type": "distilbert",
    ]
    let tensors = try Self.tensors(distilled, own)
    let found = try GGUFTranslation(
      tensors, config: own, generation: nil, name: "test",
      numbers: { (_) throws(ModelError) in [] }
    ) { (_, _) throws(ModelError) in nil }
    #expect(found.metadata == (try Self.translation(tensors, "distilbert")).metadata)
    #expect(found.metadata["bert.attention.causal"] == .bool(false))
    #expect(found.metadata["bert.attention.head_count_kv"] == nil)
  }

  @Test("every tensor of an encoder is required, and its bias if it has one", arguments: 0..<5)
  func complete(index: Int) throws {
    let architecture = Self.encoders[index]
    let type = architecture.modelTypes[0]
    let tensors = try Self.tensors(architecture, Self.sizes)
    let table = tensors.firstIndex { $0.name.contains("position_embeddings") }
    func translate(_ tensors: [TensorInfo]) throws(ModelError) -> GGUFTranslation {
      try Self.translation(tensors, type) { (_) throws(ModelError) in
        Array(repeating: 1, count: 80)
      }
    }
    _ = try translate(tensors)
    for missing in tensors.indices {
      let rest = tensors.indices.filter { $0 != missing }.map { tensors[$0] }
      let error = Laws.error { () throws(ModelError) in try translate(rest) }
      #expect(error?.kind == .malformed, "\(type): \(tensors[missing].name)")
    }
    #expect((table != nil) == !["nomic_bert", "modernbert"].contains(type))
  }

  // MARK: - Back

  /// The tensors of llama.cpp that a checkpoint becomes.
  private static func translated(
    _ tensors: [TensorInfo], _ found: GGUFTranslation
  ) -> [TensorInfo] {
    let placed = zip(tensors, found.placements).compactMap { tensor, placement in
      placement.map { TensorInfo(name: $0.name, shape: tensor.shape, encoding: tensor.encoding) }
    }
    return placed
      + found.additions.map {
        TensorInfo(name: $0.stored.name, shape: $0.stored.shape, encoding: .plain(.f32))
      }
  }

  @Test(
    "the class follows from token types and the tokenizer, and all tensors come back",
    arguments: [
      ("bert", "bert"), ("roberta", "gpt2"), ("xlm-roberta", "t5"), ("distilbert", "bert"),
      ("nomic_bert", "bert"), ("modernbert", "gpt2"),
    ])
  func classes(type: String, tokenizer: String) throws {
    let architecture = try #require(Architectures.forModelType(type))
    let tensors = try Self.tensors(architecture, Self.sizes)
    let found = try Self.translation(tensors, type, ["pad_token_id": 1]) {
      (index) throws(ModelError) in
      Array(repeating: 1, count: tensors[index].shape.elementCount)
    }
    var metadata = found.metadata
    metadata.append("tokenizer.ggml.model", .text(tokenizer))
    metadata.append("tokenizer.ggml.padding_token_id", .u32(1))
    let stored = Self.translated(tensors, found)
    let back = try CheckpointTranslation(stored, metadata) { (index) throws(ModelError) in
      Array(repeating: 1, count: stored[index].shape.elementCount)
    }
    #expect(back.config["model_type"]?.string == type)
    #expect(back.config["architectures"]?.array?.first?.string == architecture.className)
    let names =
      back.placements.compactMap { $0?.name } + back.additions.map(\.stored.name)
    #expect(
      names.filter { !$0.hasPrefix("pooler.") }.sorted() == tensors.map(\.name).sorted())
    guard architecture.encoder?.hasRowsForPadding ?? false else { return }
    let table = try #require(back.additions.first { $0.stored.shape.dimensions == [10, 8] })
    // Two rows for padding, and those of the file.
    #expect(
      table.bytes.prefix(64).allSatisfy { $0 == 0 } && table.bytes[64...67] == [0, 0, 128, 63])
  }
}
