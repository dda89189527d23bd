import Pleat
import TestSupport
import Testing

@Suite struct RecipeTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private func recipe(_ text: String) throws(ModelError) -> Recipe {
    do {
      return try Recipe(reading: try scratch.write(text, as: "recipe.json"))
    } catch let error as ModelError {
      throw error
    } catch {
      throw ModelError(.io, "\(error)")
    }
  }

  @Test("an empty recipe has the default values") func empty() throws {
    #expect(try recipe("{}") == Recipe())
    #expect(Recipe().bits == nil && Recipe().type == nil && !Recipe().isPure)
    #expect(Recipe().parameters == nil)
  }

  @Test("a recipe can set everything that options can") func full() throws {
    let found = try recipe(
      """
      {"bits": 3, "groupSize": 64, "offset": "none", "scheme": "symmetric",
       "parameters": "bf16",
       "rules": [{"match": "*.down_proj", "to": "8:32"}, {"match": "lm_head", "to": "keep"}]}
      """)
    let expected = try Recipe.with(
      bits: 3, group: .columns(64), offset: Grouping.Offset.none, scheme: "symmetric",
      parameters: .bf16,
      rules: ["*.down_proj=8:32", "lm_head=keep"])
    #expect(found == expected)
    #expect(try recipe(#"{"groupSize": "row"}"#).group == .row)
    #expect(try recipe(#"{"type": "q5_1"}"#).type == "Q5_1")
  }

  @Test("a recipe is unchanged by writing and reading its JSON") func roundTrip() throws {
    for recipe in [
      Recipe(), try .with(bits: 2, group: .row, scheme: "minmax", parameters: .f32),
      try .with(bits: 8, group: .columns(256), rules: ["a=keep", "b=4:row", "c=Q8_0", "d=F32"]),
      try .with(bits: 8, rules: ["a=nvfp4", "b=mxfp8", "c=MXFP4"]),
      try .with(type: "Q5_1", scheme: "ggml", rules: ["a=keep"]),
      try .with(bits: 4, offset: .zeroPoint), try .with(bits: 4, offset: .bias),
    ] {
      #expect(try Recipe(recipe.json) == recipe)
      #expect(try self.recipe(JSONWriter.text(recipe.json, indentation: 2)) == recipe)
    }
  }

  @Test(
    "a recipe that cannot be read is malformed",
    arguments: [
      "", "[]", "4", "{", #"{"bit": 4}"#, #"{"bits": "4"}"#, #"{"bits": 4.5}"#, #"{"bits": null}"#,
      #"{"type": 4}"#, #"{"groupSize": true}"#, #"{"groupSize": 32.5}"#, #"{"offset": 1}"#,
      #"{"scheme": 1}"#,
      #"{"parameters": 16}"#,
      #"{"rules": {}}"#, #"{"rules": ["*=8"]}"#, #"{"rules": [{"match": "*"}]}"#,
      #"{"rules": [{"to": "8"}]}"#, #"{"rules": [{"match": 1, "to": "8"}]}"#,
    ])
  func malformed(text: String) {
    let error = Laws.error { () throws(ModelError) in try recipe(text) }
    #expect(error?.kind == .malformed, "\(text)")
    #expect(error?.file == scratch.path("recipe.json"))
  }

  @Test(
    "a recipe with an unknown or impossible value is a usage error",
    arguments: [
      #"{"bits": 7}"#, #"{"bits": 0}"#, #"{"bits": -4}"#, #"{"bits": 9223372036854775807}"#,
      #"{"type": "Q9_K"}"#, #"{"effort": "much"}"#, #"{"outputType": "Q4_K_M"}"#,
      #"{"type": "F16"}"#, #"{"type": ""}"#,
      #"{"type": "Q4_0", "bits": 4}"#, #"{"groupSize": 32, "type": "Q4_0"}"#,
      #"{"groupSize": 0}"#, #"{"groupSize": -32}"#, #"{"groupSize": "column"}"#,
      #"{"scheme": "best"}"#, #"{"parameters": "F64"}"#, #"{"parameters": "I8"}"#,
      #"{"rules": [{"match": "*", "to": "7"}]}"#, #"{"rules": [{"match": "*", "to": ""}]}"#,
    ])
  func nonsense(text: String) {
    let error = Laws.error { () throws(ModelError) in try recipe(text) }
    #expect(error?.kind == .usage, "\(text)")
  }

  @Test("an unknown key of a rule is malformed")
  func unknownRuleKeys() {
    let text = #"{"rules": [{"match": "*", "to": "8", "bits": 3}]}"#
    let error = Laws.error { () throws(ModelError) in try recipe(text) }
    #expect(error?.kind == .malformed)
  }

  @Test("a duplicate key is malformed")
  func duplicates() {
    let error = Laws.error { () throws(ModelError) in try recipe(#"{"bits": 8, "bits": 2}"#) }
    #expect(error?.kind == .malformed)
  }

  @Test("a missing recipe file is an I/O error") func absent() {
    let error = Laws.error { () throws(ModelError) in
      try Recipe(reading: scratch.path("absent.json"))
    }
    #expect(error?.kind == .io)
  }
}
