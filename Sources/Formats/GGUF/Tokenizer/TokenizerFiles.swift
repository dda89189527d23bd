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
  var addedTokens: [AddedToken] = []
  /// `config.json`.
  var config: JSONValue
  /// `generation_config.json`.
  var generation: JSONValue
  /// The chat template, if it has a file of its own; otherwise nil.
  var chatTemplate: JSONValue?

  private static let addedTokensFile = "added_tokens.json"

  /// Reads the files that exist.
  ///
  /// Throws `malformed`, and `unsupported` if there is no usable tokenizer.
  init(
    _ file: (String) throws(ModelError) -> [UInt8]?, config: JSONValue
  ) throws(ModelError) {
    self.config = config
    configuration = try Self.object("tokenizer_config.json", file)
    specialTokens = try Self.object("special_tokens_map.json", file)
    generation = try Self.object("generation_config.json", file)
    if let bytes = try file(FastTokenizer.file) { fast = try FastTokenizer(bytes) }
    let model = try file(SentencePieceModel.file)
    let isTiktoken = model.map(SentencePieceModel.isTiktoken) ?? false
    // A byte-level tokenizer.json takes precedence over a SentencePiece model beside it.
    if let model, !isTiktoken, fast?.isByteLevel != true {
      sentencePiece = try SentencePieceModel(model)
    }
    if fast == nil, sentencePiece == nil {
      throw try Self.missing(file, isTiktoken: isTiktoken)
    }
    for member in try Self.object(Self.addedTokensFile, file).members ?? [] {
      guard let id = member.value.int, (0...Int(Int32.max)).contains(id) else {
        throw ModelError(
          .malformed, "an added token has no id", file: Self.addedTokensFile, tensor: member.key)
      }
      addedTokens.append(AddedToken(id: id, text: member.key))
    }
    if let text = try file("chat_template.jinja") {
      guard let text = String(validating: text, as: UTF8.self) else {
        throw ModelError(.malformed, "the template is not UTF-8", file: "chat_template.jinja")
      }
      chatTemplate = .string(text)
    } else {
      chatTemplate = try Self.object("chat_template.json", file)["chat_template"]
    }
  }

  /// The added tokens that tokenizer_config.json states.
  func configuredTokens() throws(ModelError) -> [AddedToken] {
    var tokens: [AddedToken] = []
    for member in configuration["added_tokens_decoder"]?.members ?? [] {
      tokens.append(
        try AddedToken(member.value, id: Int(member.key) ?? -1, file: "tokenizer_config.json"))
    }
    return tokens
  }

  private static func object(
    _ name: String, _ file: (String) throws(ModelError) -> [UInt8]?
  ) throws(ModelError) -> JSONValue {
    guard let bytes = try file(name) else { return .object([]) }
    let value = try JSONParser.parse(bytes, file: name, allowingNonFinite: true)
    guard value.members != nil else {
      throw ModelError(
        .malformed, "the file does not contain an object", file: name, found: value.kind)
    }
    return value
  }

  /// The error for a model with neither tokenizer.model nor tokenizer.json.
  private static func missing(
    _ file: (String) throws(ModelError) -> [UInt8]?, isTiktoken: Bool
  ) throws(ModelError) -> ModelError {
    let kinds = [
      ("tiktoken.model", "a tiktoken vocabulary"), ("tekken.json", "a Mistral tekken vocabulary"),
      ("vocab.txt", "a WordPiece vocabulary"), ("spiece.model", "a SentencePiece model for T5"),
      ("vocab.json", "a vocabulary without a pre-tokenizer"),
    ]
    var found: String? = isTiktoken ? "tokenizer.model, a tiktoken vocabulary" : nil
    for (name, kind) in kinds where found == nil {
      if try file(name) != nil { found = "\(name), \(kind)" }
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
