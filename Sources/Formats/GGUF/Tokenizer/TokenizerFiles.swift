internal import Architectures
internal import Bytes
internal import TensorModel

/// The tokenizer files of a Hugging Face model.
struct TokenizerFiles {
  /// `tokenizer.model`, unless it is a tiktoken vocabulary.
  var sentencePiece: SentencePieceModel?
  /// `sentencepiece.bpe.model` of XLM-RoBERTa, if there is no `tokenizer.json`.
  var unigram: SentencePieceModel?
  /// `tokenizer.json`, or what stands for `tekken.json`, for a file of tiktoken or for `vocab.txt`.
  var fast: FastTokenizer?
  /// `tokenizer_config.json`; an empty object if it is absent, as for the documents below.
  var configuration: JSONValue
  /// `special_tokens_map.json`.
  var specialTokens: JSONValue
  /// `added_tokens.json`.
  var addedTokens: [AddedToken]
  /// The added tokens of `tokenizer_config.json`.
  var configuredTokens: [AddedToken]
  /// `config.json`.
  var config: JSONValue
  /// `generation_config.json`.
  var generation: JSONValue
  /// The chat templates.
  var chatTemplates: ChatTemplates

  static let configurationFile = "tokenizer_config.json"
  static let specialTokensFile = "special_tokens_map.json"
  static let generationFile = "generation_config.json"
  static let addedTokensFile = "added_tokens.json"

  /// Reads the files that exist.
  ///
  /// - Parameters:
  ///   - companions: The files.
  ///   - config: `config.json`.
  ///   - isEncoder: Whether the tokenizers of encoders are read, too.
  /// - Throws: `malformed`, and `unsupported` if there is no usable tokenizer.
  init(
    _ companions: CompanionReader, config: JSONValue, isEncoder: Bool = false
  ) throws(ModelError) {
    self.config = config
    configuration = try companions.object(Self.configurationFile)
    specialTokens = try companions.object(Self.specialTokensFile)
    generation = try companions.object(Self.generationFile)
    chatTemplates = try ChatTemplates(companions, configuration: configuration)
    fast = try companions.fastTokenizer()
    if fast == nil, let tekken = try companions.bytes(of: TekkenFile.file) {
      let tekken = try TekkenFile(tekken)
      fast = try tekken.tokenizer()
      configuration = configuration.overridden(by: TekkenFile.configuration)
      if chatTemplates.templates.isEmpty, let name = tekken.templateName {
        chatTemplates = ChatTemplates(usual: name)
      }
    }
    let model = try companions.bytes(of: SentencePieceModel.file)
    let isTiktoken = model.map(SentencePieceModel.isTiktoken) ?? false
    // A byte-level tokenizer.json takes precedence over a SentencePiece model beside it.
    if let model, !isTiktoken, fast?.isByteLevel != true {
      sentencePiece = try SentencePieceModel(model)
    }
    if fast == nil, sentencePiece == nil {
      fast = try companions.tiktokenTokenizer(configuration, config)
    }
    (addedTokens, configuredTokens) = ([], [])
    if fast == nil, sentencePiece == nil, isEncoder { try readEncoder(companions) }
    if fast == nil, sentencePiece == nil, unigram == nil {
      throw Self.missing(companions)
    }
    addedTokens = try companions.listedTokens()
    configuredTokens = try companions.configuredTokens()
  }

  /// Reads the older files of tokenizers that encoders have.
  private mutating func readEncoder(_ companions: CompanionReader) throws(ModelError) {
    let unigramFile = SentencePieceModel.unigramFile
    if let words = try companions.bytes(of: WordPieceTokenizer.vocabularyFile) {
      fast = try FastTokenizer(wordPieces: words, configuration)
      configuration = FastTokenizer.wordPieceDefaults.overridden(by: configuration)
    } else if let model = try companions.bytes(of: unigramFile) {
      try checkIsXLM()
      unigram = try SentencePieceModel(model, file: unigramFile, isUnigram: true)
      configuration = Self.unigramDefaults.overridden(by: configuration)
    }
  }

  /// Throws `unsupported` for a class whose ids do not follow from the file as in XLM-RoBERTa.
  private func checkIsXLM() throws(ModelError) {
    let known = "XLMRobertaTokenizer"
    let found = configuration["tokenizer_class"]?.string ?? known
    guard [known, known + "Fast"].contains(found) else {
      throw ModelError(
        .unsupported, "Pleat does not know the ids of this tokenizer",
        file: SentencePieceModel.unigramFile, tensor: "tokenizer_class", expected: known,
        found: found, hint: "save it again with transformers, which writes tokenizer.json")
    }
  }

  /// The special tokens of XLM-RoBERTa where tokenizer_config.json states no others.
  private static let unigramDefaults: JSONValue = [
    "bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "cls_token": "<s>",
    "unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>",
  ]

  /// The error for a model without a tokenizer that can be converted.
  private static func missing(_ companions: CompanionReader) -> ModelError {
    let kinds = [
      ("vocab.txt", "a WordPiece vocabulary"), ("spiece.model", "a SentencePiece model for T5"),
      ("vocab.json", "a vocabulary without a pre-tokenizer"),
    ]
    let found = kinds.first { companions.names.contains($0.0) }
    return ModelError(
      .unsupported, "the model has no tokenizer that can be written to gguf",
      expected: "tokenizer.json (BPE), tokenizer.model of SentencePiece (bpe), tekken.json, or a "
        + "vocabulary of tiktoken",
      found: found.map { "\($0.0), \($0.1)" } ?? "no file with a tokenizer",
      hint: found == nil
        ? GGUFTokenizer.donorHint
        : "save it again with transformers, which may write tokenizer.json; or "
          + GGUFTokenizer.donorHint)
  }
}
