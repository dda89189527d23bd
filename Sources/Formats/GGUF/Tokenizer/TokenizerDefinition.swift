internal import Architectures
package import Bytes
package import TensorModel

/// How a model tokenizes text, from whichever files or metadata state it.
///
/// A vocabulary of SentencePiece has the merges that join the same parts as its scores, so that both
/// kinds of BPE are applied in one way.
package struct TokenizerDefinition: Sendable {
  /// Vocabulary, merges, added tokens, and the steps before and after them.
  package let fast: FastTokenizer
  /// What `tokenizer_config.json` states; an empty object if there is no such file.
  package let configuration: JSONValue
  /// The texts of special tokens that files state, by keys such as `bos_token`.
  package let specialTexts: [String: String]
  /// The ids that `config.json` states for kinds of tokens, such as `bos`.
  private let config: JSONValue

  /// Reads the metadata of a GGUF file.
  ///
  /// Throws what `TokenizerDocuments` throws.
  package init(_ metadata: Metadata) throws(ModelError) {
    if let encoder = try LlamaEncoder(metadata) {
      (fast, configuration) = (encoder.fast, encoder.special.configuration)
      let texts = encoder.special.texts.map { ("\($0.key)_token", $0.value) }
      specialTexts = Dictionary(uniqueKeysWithValues: texts)
      config = .object([])
      return
    }
    let documents = try TokenizerDocuments(metadata)
    let files = documents.files
    self = try TokenizerDefinition(
      CompanionReader(names: files.map(\.name)) { name in
        files.first { $0.name == name }?.content
      })
  }

  /// Reads the files beside the weights of a model.
  ///
  /// tokenizer.json counts if there is one, whatever other files state. Throws `unsupported` if there
  /// is no tokenizer, and what reading the files throws.
  package init(_ companions: CompanionReader) throws(ModelError) {
    config = TextConfig.merged(try companions.object("config.json"))
    var texts: [String: String] = [:]
    for kind in SpecialTokens.usualKinds {
      texts["\(kind)_token"] = try SpecialTokens.text(of: kind, in: companions)
    }
    if let fast = try companions.fastTokenizer() {
      specialTexts = texts
      self.fast = fast
      configuration = try companions.object(TokenizerFiles.configurationFile)
      return
    }
    guard companions.names.contains(where: { TokenizerFileKind($0) == .vocabulary }) else {
      throw ModelError(
        .unsupported, "the model has no tokenizer", expected: "tokenizer.json or tokenizer.model",
        hint: "copy the files of the tokenizer beside the weights")
    }
    do throws(ModelError) {
      let files = try TokenizerFiles(companions, config: config, isEncoder: true)
      var other = files.fast
      if let model = files.unigram {
        other = try FastTokenizer(unigrams: model, files.configuration)
      }
      if var fast = other {
        if Self.encoderFiles.contains(fast.source) { try companions.addTokens(to: &fast) }
        specialTexts = texts
        self.fast = fast
        configuration = files.configuration
        return
      }
      guard let model = files.sentencePiece else {
        throw ModelError(.unsupported, "Pleat does not know the files of this tokenizer")
      }
      let architecture = Architectures.forConfig(config) ?? Architectures.named("llama")
      guard let architecture else {
        throw ModelError(.unsupported, "Pleat does not know the tokenizers of this architecture")
      }
      let added = (files.addedTokens + files.configuredTokens).map { $0.id + 1 }
      let tokenizer = try GGUFTokenizer(
        companions, config: config, tokenCount: max(model.pieces.count, added.max() ?? 0),
        architecture: architecture, pre: nil)
      let definition = try TokenizerDefinition(tokenizer.metadata)
      (fast, configuration) = (definition.fast, definition.configuration)
      specialTexts = texts.merging(definition.specialTexts) { stated, _ in stated }
    } catch {
      throw companions.located(error)
    }
  }

  /// Files beside which other files may state more tokens.
  private static let encoderFiles = [
    WordPieceTokenizer.vocabularyFile, SentencePieceModel.unigramFile,
  ]

  /// The id of the token of a kind such as `bos` or `eos`; nil if no file states it.
  package func id(of kind: String) -> Int? {
    if let text = SpecialTokens.text(of: kind, in: configuration),
      let id = fast.id(ofAddedOrOther: text)
    {
      return id
    }
    let value = config["\(kind)_token_id"]
    return value?.int ?? value?.array?.first?.int
  }
}
