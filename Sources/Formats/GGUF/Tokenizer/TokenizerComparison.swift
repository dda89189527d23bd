internal import Bytes
package import TensorModel

/// What the files of one tokenizer state otherwise than those of another model.
package struct TokenizerComparison {
  /// The parts that differ, in words such as `chat template`.
  package private(set) var differences: [String] = []

  private static let vocabularyFiles = [
    FastTokenizer.file, SentencePieceModel.file, "vocab.json", "vocab.txt", "tekken.json",
  ]

  /// Compares the files that a tokenizer brings with those of a checkpoint.
  ///
  /// Parts that it does not bring do not differ. Throws `malformed`, and what reading throws.
  package init(
    of tokenizer: CompanionReader, with model: CompanionReader
  ) throws(ModelError) {
    if try Self.hasOtherVocabulary(tokenizer, model) { differences.append("tokenizer") }
    let templates = try ChatTemplates(tokenizer).templates
    if !templates.isEmpty, try Set(templates) != Set(ChatTemplates(model).templates) {
      differences.append("chat template")
    }
    if try Self.hasOtherEnd(tokenizer, model) { differences.append("end-of-text token") }
  }

  /// Compares the files that a tokenizer brings with the metadata of a llama.cpp model.
  ///
  /// Of the vocabulary, only added tokens are compared. Throws `malformed`, and what reading throws.
  package init(of tokenizer: CompanionReader, with metadata: Metadata) throws(ModelError) {
    let texts = try Self.tokens(in: metadata)
    func isToken(_ id: Int, _ text: String) -> Bool {
      let bytes = Array(text.utf8)
      return texts.indices.contains(id) && [bytes, bytes.withSpaces].contains(texts[id])
    }
    let added = try tokenizer.fastTokenizer()?.addedTokens ?? []
    if !added.allSatisfy({ isToken($0.id, $0.text) }) {
      differences.append("tokenizer")
    }
    let template = try ChatTemplates(tokenizer).usual
    if let template, template != metadata[ChatTemplates.metadataKey]?.text {
      differences.append("chat template")
    }
    if let text = try EndToken.text(in: tokenizer) {
      let id = SpecialTokens.key(of: "eos").flatMap { metadata[$0]?.integer }
      if !isToken(id ?? -1, text) { differences.append("end-of-text token") }
    }
  }

  private static func hasOtherEnd(
    _ tokenizer: CompanionReader, _ model: CompanionReader
  ) throws(ModelError) -> Bool {
    if let text = try EndToken.text(in: tokenizer), try text != EndToken.text(in: model) {
      return true
    }
    let ids = EndToken.ids(in: try tokenizer.object(TokenizerFiles.generationFile))
    let others = EndToken.ids(in: try model.object(TokenizerFiles.generationFile))
    return !ids.isEmpty && Set(ids) != Set(others)
  }

  private static func hasOtherVocabulary(
    _ tokenizer: CompanionReader, _ model: CompanionReader
  ) throws(ModelError) -> Bool {
    let brought = vocabularyFiles.filter(tokenizer.names.contains)
    guard !brought.isEmpty else { return false }
    // A model may have the same vocabulary in several files. One that both have is compared.
    guard let name = brought.first(where: model.names.contains),
      let own = try tokenizer.bytes(of: name), let other = try model.bytes(of: name)
    else { return true }
    if name == FastTokenizer.file {
      guard own != other, let own = try tokenizer.fastTokenizer(),
        let other = try model.fastTokenizer()
      else { return false }
      return !own.hasSameTokens(as: other)
    }
    let (added, known) = (try addedTokens(tokenizer), try addedTokens(model))
    return own != other || !known.isEmpty && !added.isSubset(of: known)
  }

  /// The texts of the tokens of a llama.cpp model, by id.
  private static func tokens(in metadata: Metadata) throws(ModelError) -> [[UInt8]] {
    guard case .array(let array)? = metadata[GGUFTokenizer.tokensKey], array.elementType == .string
    else { return [] }
    var reader = ByteReader(array.bytes, path: GGUFTokenizer.tokensKey)
    var texts: [[UInt8]] = []
    for _ in 0..<array.count {
      let count = try reader.count(of: "a token", elementSize: 1)
      texts.append(try reader.bytes(count, of: "a token"))
    }
    return texts
  }

  /// The tokens that tokenizer_config.json adds to the vocabulary, with their ids.
  private static func addedTokens(
    _ companions: CompanionReader
  ) throws(ModelError) -> Set<JSONValue.Member> {
    let configuration = try companions.object(TokenizerFiles.configurationFile)
    let decoder = configuration["added_tokens_decoder"]?.members ?? []
    return Set(decoder.map { .init($0.key, $0.value["content"] ?? .null) })
  }
}

extension FastTokenizer {
  /// Whether another tokenizer has the same tokens, ids and merges.
  ///
  /// The order of tokens in the file, and options that programs write in different ways, may differ.
  fileprivate func hasSameTokens(as other: FastTokenizer) -> Bool {
    guard texts.count == other.texts.count, merges.count == other.merges.count,
      addedTokens.count == other.addedTokens.count
    else { return false }
    for index in 0..<texts.count {
      guard let found = other.texts.index(of: texts[index]), other.ids[found] == ids[index] else {
        return false
      }
    }
    return (0..<merges.count).allSatisfy { merges[$0] == other.merges[$0] }
      && zip(addedTokens, other.addedTokens).allSatisfy {
        $0.id == $1.id && $0.text.hasSameBytes(as: $1.text)
      }
  }
}
