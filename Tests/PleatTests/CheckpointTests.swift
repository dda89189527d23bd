import Bytes
import Formats
import Pleat
import TensorModel
import TestSupport
import Testing
import Weights

/// Conversions of GGUF files to Hugging Face checkpoints.
///
/// The interop tests check that transformers and mlx-lm load the output.
@Suite struct CheckpointTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private static let tinylm = Fixtures.path("tinylm")

  private func convert(
    _ model: Model, to format: Format, as name: String, type: ScalarType? = nil
  ) throws -> Model {
    let destination = Destination(path: scratch.path(name), format: format)
    try Run(Plan.converting(model, decodingTo: type, to: destination))()
    return try Model.open(scratch.path(name))
  }

  /// tinylm as GGUF, with its F16 or quantized matrices.
  private func gguf(_ recipe: Recipe? = nil) throws -> Model {
    let model = try Model.open(Self.tinylm)
    guard let recipe else { return try convert(model, to: .gguf, as: "model.gguf") }
    let destination = Destination(path: scratch.path("model.gguf"), format: .gguf)
    try Run(Plan.quantizing(model, recipe, to: destination))()
    return try Model.open(scratch.path("model.gguf"))
  }

  private func values(of model: Model) throws -> [String: [Float]] {
    let reader = WeightReader(model: model)
    var found: [String: [Float]] = [:]
    for (index, info) in model.catalog.tensors.enumerated() {
      let tensor = try #require(reader.tensor(index))
      found[info.name] = try reader.values(of: tensor, rows: 0..<info.shape.rowCount)
    }
    return found
  }

  @Test("a checkpoint that became GGUF comes back with the same tensors and config")
  func roundTrip() throws {
    let source = try Model.open(Self.tinylm)
    let back = try convert(try gguf(), to: .safetensors, as: "back")
    let (found, expected) = (try values(of: back), try values(of: source))
    #expect(found.keys.sorted() == expected.keys.sorted())
    for (name, values) in expected { #expect(found[name]?.bits == values.bits, "\(name)") }
    let config = try #require(try back.configuration())
    let original = try #require(try source.configuration())
    let keys = [
      "architectures", "model_type", "vocab_size", "hidden_size", "intermediate_size",
      "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "tie_word_embeddings",
      "max_position_embeddings", "hidden_act", "bos_token_id", "eos_token_id",
    ]
    for key in keys { #expect(config[key] == original[key], "\(key)") }
    #expect(config["rms_norm_eps"]?.double == original["rms_norm_eps"]?.double)
    #expect(try back.companion(named: "generation_config.json") != nil)
  }

  @Test(
    "groups keep their codes, scales and biases in every checkpoint that holds them",
    arguments: [
      (Grouping.Offset.bias, Format.mlx), (.none, .mlx), (.none, .gptq), (.none, .awq),
      (.none, .compressedTensors),
    ])
  func groups(offset: Grouping.Offset, format: Format) throws {
    var recipe = Recipe()
    (recipe.bits, recipe.offset) = (4, offset)
    recipe.rules = try ["*embed*=keep", "lm_head*=keep"].map { try Rule(text: $0) }
    let source = try gguf(recipe)
    let back = try convert(source, to: format, as: "back")
    let plain = try convert(source, to: .safetensors, as: "plain", type: .f32)
    #expect(back.format == format)
    let (found, expected) = (try values(of: back), try values(of: plain))
    #expect(found.keys.sorted() == expected.keys.sorted())
    let grouped = back.catalog.tensors.filter(\.isGrouped)
    #expect(grouped.count == 6 * 7)
    for tensor in grouped {
      // A scale times zero may be -0, and the same as a sum of products 0.
      #expect(found[tensor.name] == expected[tensor.name], "\(tensor.name)")
    }
  }

  @Test("a single file keeps the names of llama.cpp") func singleFile() throws {
    let source = try gguf()
    let file = try convert(source, to: .safetensors, as: "model.safetensors")
    let names = [file, source].map { $0.catalog.tensors.map(\.name).sorted() }
    #expect(names[0] == names[1])
  }

  @Test("rows come back in the order of Hugging Face", arguments: [2, 6, 64])
  func rows(size: Int) throws {
    let order = try #require(RotaryRowOrder(headCount: 3, headSize: size))
    let rows = (0..<order.rowCount * 5).map { Float($0) }
    let interleaved = order.reordered(rows, rowLength: 5)
    #expect(size == 2 || interleaved != rows)
    #expect(order.inverse.reordered(interleaved, rowLength: 5) == rows)
    #expect(order.inverse.inverse == order)
  }
}
