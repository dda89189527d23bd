internal import Architectures
internal import Bytes
internal import Formats
internal import Pleat
internal import TensorModel
internal import TestSupport
internal import Tokens

/// The laws of readers that take bytes and not paths.
enum TextLaws {
  /// Describes the law that a reader breaks; nil if it breaks none.
  ///
  /// Throws the errors of the reader.
  static func broken(by reader: FuzzReader, with bytes: [UInt8]) throws(ModelError) -> String? {
    switch reader {
    case .sentencePiece: return try tokenizer(["tokenizer.model": bytes])
    case .tokenizer: return try tokenizer(["tokenizer.json": bytes])
    case .tokenizerConfig:
      let others = [
        "tokenizer_config.json", "special_tokens_map.json", "generation_config.json",
        "chat_template.json",
      ]
      var files = Dictionary(uniqueKeysWithValues: others.map { ($0, bytes) })
      files["tokenizer.json"] = FuzzFiles.tokenizer
      let added = try? tokenizer([
        "added_tokens.json": bytes, "tokenizer.json": FuzzFiles.tokenizer,
        "chat_template.jinja": bytes, "additional_chat_templates/rag.jinja": bytes,
      ])
      _ = try? SentenceModules(
        CompanionReader(names: []) { (_: String) throws(ModelError) -> [UInt8]? in bytes })
      let law = try tokenizer(files)
      return law ?? added
    case .architecture: return try architecture(bytes)
    case .recipe: return try recipe(bytes)
    default: return try json(bytes)
    }
  }

  private static func tokenizer(_ files: [String: [UInt8]]) throws(ModelError) -> String? {
    let count = 300
    if let law = applied(files) { return law }
    func read() throws(ModelError) -> GGUFTokenizer {
      try GGUFTokenizer(
        CompanionReader(names: files.keys.sorted(), read: { files[$0] }), config: [:],
        tokenCount: count, architecture: Architectures.all[0], pre: nil)
    }
    let (first, second) = (try read(), try read())
    guard Laws.areEqual(first.metadata, second.metadata), first.notes == second.notes else {
      return "a tokenizer differs when it is read a second time"
    }
    guard case .array(let tokens)? = first.metadata["tokenizer.ggml.tokens"], tokens.count == count
    else { return "the number of tokens differs from the number of rows" }
    return nil
  }

  /// Describes the law that a tokenizer breaks when it is applied.
  private static func applied(_ files: [String: [UInt8]]) -> String? {
    let companions = CompanionReader(names: files.keys.sorted(), read: { files[$0] })
    guard let tokenizer = try? Tokenizer(companions) else { return nil }
    let text = "<s>the tool\u{E9}'s 1234\n\n  <tool> \u{1F44D}\u{301} th"
    let ids = tokenizer.encode(text)
    guard ids == tokenizer.encode(text) else { return "a text has other tokens the second time" }
    guard ids.allSatisfy({ (0..<Int32(tokenizer.vocabularySize)).contains($0) }) else {
      return "a token of a text is not in the vocabulary"
    }
    _ = tokenizer.bytes(of: ids)
    return nil
  }

  private static func architecture(_ bytes: [UInt8]) throws(ModelError) -> String? {
    let config = try JSONParser.parse(bytes, file: "config.json", limits: FuzzTarget.limits)
    let type = config["model_type"]?.string ?? ""
    let tensors = FuzzFiles.tensors(of: Architectures.forModelType(type) ?? Architectures.all[0])
    func translate() throws(ModelError) -> GGUFTranslation {
      try GGUFTranslation(
        tensors, config: config, generation: config, name: "m",
        numbers: { (_) throws(ModelError) in [1] },
        tokenizer: { (_, _) throws(ModelError) in nil })
    }
    let (first, second) = (try translate(), try translate())
    return Laws.areEqual(first.metadata, second.metadata) && first.placements == second.placements
      ? nil : "a config differs when it is read a second time"
  }

  private static func recipe(_ bytes: [UInt8]) throws(ModelError) -> String? {
    let document = try JSONParser.parse(bytes, file: "recipe.json", limits: FuzzTarget.limits)
    let recipe = try Recipe(document)
    for rule in recipe.rules { _ = rule.matches("model.layers.0.self_attn.q_proj.weight") }
    let again: Recipe
    do throws(ModelError) { again = try Recipe(recipe.json) } catch {
      return "a recipe cannot be read after it is written: \(error)"
    }
    return recipe.json == again.json ? nil : "a recipe differs after it is written and read"
  }

  /// Checks that the scanner and json-c agree, and that a written document is read back equal.
  private static func json(_ bytes: [UInt8]) throws(ModelError) -> String? {
    var scanner = try JSONScanner(bytes, file: "json", offset: 0, limits: FuzzTarget.limits)
    try scanner.skip()
    try scanner.end()
    do throws(ModelError) {
      let value = try JSONParser.parse(bytes, file: "json", limits: FuzzTarget.limits)
      guard isWritable(value) else { return nil }
      let text = Array(JSONWriter.text(value).utf8)
      let again = try JSONParser.parse(text, file: "json", limits: FuzzTarget.limits)
      return isSame(value, again) ? nil : "a document differs after it is written and read"
    } catch {
      return "the scanner accepts a text that fails in json-c or the writer: \(error)"
    }
  }

  /// Whether every number can be written as JSON; numbers too large for a `Double` are infinite.
  private static func isWritable(_ value: JSONValue) -> Bool {
    switch value {
    case .number(let number): number.isFinite
    case .array(let elements): elements.allSatisfy(isWritable)
    case .object(let members): members.allSatisfy { isWritable($0.value) }
    default: true
    }
  }

  private static func isSame(_ left: JSONValue, _ right: JSONValue) -> Bool {
    switch (left, right) {
    case (.string(let left), .string(let right)): left.utf8.elementsEqual(right.utf8)
    case (.array(let left), .array(let right)):
      left.count == right.count && zip(left, right).allSatisfy(isSame)
    case (.object(let left), .object(let right)):
      left.count == right.count
        && zip(left, right).allSatisfy {
          $0.key.utf8.elementsEqual($1.key.utf8) && isSame($0.value, $1.value)
        }
    default: left.double == right.double && left.bool == right.bool && left.kind == right.kind
    }
  }
}
