import Formats
import Pleat
import TestSupport
import Testing

/// Quantizes to mixes of llama.cpp.
@Suite struct MixPlanTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private func run(_ recipe: Recipe, _ source: Model, to name: String) throws -> Model {
    let destination = Destination(
      path: scratch.path(name), format: try Formats.named(Files.suffix(of: name)))
    _ = try Run(Plan.quantizing(source, recipe, to: destination))()
    return try Model.open(destination.path)
  }

  private func encodings(_ model: Model) -> [String: String] {
    Dictionary(
      uniqueKeysWithValues: model.catalog.tensors.map { ($0.name, $0.encoding.description) })
  }

  @Test("without options, gguf gets Q4_K_M, in the order of llama-quantize")
  func usual() throws {
    let model = try run(Recipe(), Models.tinylm(), to: "out.gguf")
    let found = encodings(model)
    #expect(found["output.weight"] == "Q6_K" && found["token_embd.weight"] == "Q4_K")
    #expect(found["blk.2.ffn_down.weight"] == "Q6_K" && found["blk.3.ffn_down.weight"] == "Q4_K")
    #expect(model.catalog.metadata["general.file_type"] == .u32(15))
    #expect(model.catalog.metadata.entries.last?.key == "general.file_type")
    let names = model.catalog.tensors.map(\.name)
    #expect(
      Array(names.prefix(4)) == [
        "output.weight", "output_norm.weight", "token_embd.weight", "blk.0.attn_k.weight",
      ])
    #expect(Inspection(model).mixName == "Q4_K_M")
  }

  @Test("a pleat file holds the blocks of a mix, and becomes the same gguf tensors")
  func throughPleat() throws {
    var recipe = Recipe()
    recipe.type = "Q3_K_M"
    let direct = try run(recipe, Models.tinylm(), to: "direct.gguf")
    let packed = try run(recipe, Models.tinylm(), to: "packed.pleat")
    #expect(encodings(packed)["lm_head.weight"] == "Q6_K")
    let destination = Destination(path: scratch.path("again.gguf"), format: .gguf)
    _ = try Run(Plan.converting(packed, to: destination))()
    let again = try Model.open(destination.path)
    #expect(again.catalog.tensors == direct.catalog.tensors)
    #expect(try again.allParts() == direct.allParts())
    #expect(again.catalog.metadata["general.file_type"] == .u32(12))
  }

  @Test("a rule, the head and the embeddings change a mix, and a pure one has one type")
  func options() throws {
    var recipe = Recipe()
    recipe.type = "Q4_K_M"
    recipe.outputType = "Q5_K"
    recipe.embeddingType = "Q8_0"
    recipe.rules = [try Rule(text: "*.q_proj=IQ4_NL"), try Rule(text: "*.0.*.o_proj=keep")]
    let mixed = encodings(try run(recipe, Models.tinylm(), to: "mixed.gguf"))
    #expect(mixed["output.weight"] == "Q5_K")
    #expect(mixed["token_embd.weight"]?.hasPrefix("8-bit") == true)
    #expect(mixed["blk.2.attn_q.weight"] == "IQ4_NL" && mixed["blk.0.attn_output.weight"] == "F16")
    recipe = Recipe()
    (recipe.type, recipe.isPure) = ("Q6_K", true)
    let pure = encodings(try run(recipe, Models.tinylm(), to: "pure.gguf"))
    #expect(pure.values.filter { $0 == "Q6_K" }.count == 44)
  }

  @Test("the search is never worse than ggml in the error of a tensor, and another file")
  func search() throws {
    var recipe = Recipe()
    recipe.type = "Q2_K"
    var errors: [[String: Double]] = []
    for scheme in ["ggml", "search"] {
      recipe.scheme = scheme
      let model = try run(recipe, Models.tinylm(), to: "\(scheme).gguf")
      let found = try Verification(of: model, against: Models.tinylm())
      let comparisons = try #require(found.comparisons)
      errors.append(
        Dictionary(uniqueKeysWithValues: comparisons.map { ($0.name, $0.relativeError) }))
    }
    #expect(errors[0].count == errors[1].count && errors[0] != errors[1])
    for (name, error) in errors[1] { #expect(error <= errors[0][name] ?? 0, "\(name)") }
  }

  @Test("a mix that needs importance, or that has tables of values, is refused")
  func refusals() throws {
    var recipe = Recipe()
    recipe.type = "Q2_K_S"
    let model = try Models.tinylm()
    let destination = Destination(path: scratch.path("out.gguf"), format: .gguf)
    let error = Laws.error { () throws(ModelError) in
      try Plan.quantizing(model, recipe, to: destination)
    }
    #expect(error?.kind == .usage && error?.tensor == "blk.0.attn_k.weight")
    #expect(throws: ModelError.self) { try Recipe.mixName("IQ2_XXS") }
    #expect(try Recipe.mixName("q4_k") == "Q4_K_M")
  }
}
