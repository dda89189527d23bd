internal import Bytes
internal import TensorModel

/// The tokenizer files of a Hugging Face model.
struct TokenizerFiles {
  /// `tokenizer.model`, unless it is a tiktoken vocabulary.
  var sentencePiece: SentencePieceModel?
  /// `tokenizer.json`.
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
  /// Throws `malformed`, and `unsupported` if there is no usable tokenizer.
  init(_ companions: CompanionReader, config: JSONValue) throws(ModelError) {
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
    if fast == nil, sentencePiece == nil {
      throw Self.missing(companions, isTiktoken: isTiktoken)
    }
    addedTokens = try companions.listedTokens()
    configuredTokens = try companions.configuredTokens()
  }

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
