internal import Bytes
internal import TensorModel

/// The files that a model of Hugging Face may have for its tokenizer.
struct TokenizerFiles {
  /// `tokenizer.model`, unless it is one of tiktoken.
  var sentencePiece: SentencePieceModel?
  /// `tokenizer.json`.
  var fast: FastTokenizer?
  /// `tokenizer_config.json`; an empty object when absent, like those that follow.
  var configuration: JSONValue
  /// `special_tokens_map.json`.
  var specialTokens: JSONValue
  /// `added_tokens.json`.
  var addedTokens: [AddedToken] = []
  /// `config.json`.
  var config: JSONValue
  /// `generation_config.json`.
  var generation: JSONValue
  /// The template of chats, where it has a file of its own.
  var chatTemplate: JSONValue?

  private static let addedTokensFile = "added_tokens.json"

  /// Reads what there is.
  ///
  /// Throws `malformed`, and `unsupported` when there is no tokenizer that can be used.
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
    // What splits bytes ignores a model of SentencePiece that lies beside it.
    if let model, !isTiktoken, fast?.isByteLevel != true {
      sentencePiece = try SentencePieceModel(model)
    }
    if fast == nil, sentencePiece == nil {
      throw try Self.nothing(file, isTiktoken: isTiktoken)
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

  /// Added tokens as tokenizer_config.json has them.
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
    let value = try JSONParser.parse(bytes, file: name)
    guard value.members != nil else {
      throw ModelError(
        .malformed, "the file does not hold an object", file: name, found: value.kind)
    }
    return value
  }

  /// What to say when there is neither file.
  private static func nothing(
    _ file: (String) throws(ModelError) -> [UInt8]?, isTiktoken: Bool
  ) throws(ModelError) -> ModelError {
    let kinds = [
      ("tiktoken.model", "a file of tiktoken"), ("tekken.json", "a file of Mistral's tekken"),
      ("vocab.txt", "a WordPiece vocabulary"), ("spiece.model", "a model of SentencePiece for T5"),
      ("vocab.json", "a vocabulary without the definition of how text is split"),
    ]
    var found: String? = isTiktoken ? "tokenizer.model, a file of tiktoken" : nil
    for (name, kind) in kinds where found == nil {
      if try file(name) != nil { found = "\(name), \(kind)" }
    }
    return ModelError(
      .unsupported, "the model has no tokenizer that can be written to gguf",
      expected: "tokenizer.model of SentencePiece (bpe), or tokenizer.json (BPE)",
      found: found ?? "no file of a tokenizer",
      hint: found == nil || isTiktoken
        ? GGUFTokenizer.donorHint
        : "saved again by transformers it may have tokenizer.json; or " + GGUFTokenizer.donorHint)
  }
}
