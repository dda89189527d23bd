internal import Architectures
internal import Bytes
internal import TensorModel

/// The tokenizer files of a Hugging Face model.
struct TokenizerFiles {
  /// `tokenizer.model`, unless it is a tiktoken vocabulary.
  var sentencePiece: SentencePieceModel?
  /// `sentencepiece.bpe.model` of XLM-RoBERTa, if there is no `tokenizer.json`.
  var unigram: SentencePieceModel?
  /// `tokenizer.json`, or what transformers makes of `vocab.txt`.
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
    let model = try companions.bytes(of: SentencePieceModel.file)
    let isTiktoken = model.map(SentencePieceModel.isTiktoken) ?? false
    // A byte-level tokenizer.json takes precedence over a SentencePiece model beside it.
    if let model, !isTiktoken, fast?.isByteLevel != true {
      sentencePiece = try SentencePieceModel(model)
    }
    (addedTokens, configuredTokens) = ([], [])
    if fast == nil, sentencePiece == nil, isEncoder { try readEncoder(companions) }
    if fast == nil, sentencePiece == nil, unigram == nil {
      throw Self.missing(companions, isTiktoken: isTiktoken)
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

  /// The error for a model with neither tokenizer.model nor tokenizer.json.
  private static func missing(
    _ companions: CompanionReader, isTiktoken: Bool
  ) -> ModelError {
    let kinds = [
      ("tiktoken.model", "a tiktoken vocabulary"), ("tekken.json", "a Mistral tekken vocabulary"),
      ("vocab.txt", "a WordPiece vocabulary"), ("spiece.model", "a SentencePiece model for T5"),
      ("vocab.json", "a vocabulary without a pre-tokenizer"),
    ]
    var found: String? = isTiktoken ? "tokenizer.model, a tiktoken vocabulary" : nil
    for (name, kind) in kinds where found == nil {
      if companions.names.contains(name) { found = "\(name), \(kind)" }
    }
    return ModelError(
      .unsupported, "the model has no tokenizer that can be written to gguf",
      expected: "tokenizer.model of SentencePiece (bpe), or tokenizer.json (BPE)",
      found: found ?? "no file with a tokenizer",
      hint: found == nil || isTiktoken
        ? GGUFTokenizer.donorHint
        : "save it again with transformers, which may write tokenizer.json; or "
          + GGUFTokenizer.donorHint)
  }
}
