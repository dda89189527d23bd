internal import Bytes
internal import TensorModel

/// The contents of a `tekken.json`, the vocabulary of Mistral.
///
/// Special tokens have the first ids; tokens with ranks follow. As in mistral-common, the file may
/// have more tokens than the model, and names the special tokens that it does not list.
struct TekkenFile {
  static let file = "tekken.json"

  private(set) var vocabulary = RankedVocabulary(file: Self.file)
  private var special: [String] = []
  private var statesSpecial = false
  private var config: JSONValue = .object([])

  private static let countLimit = 1 << 24
  private static let specialLimit = 1 << 16
  /// The special tokens of files that state none, which have a version up to v7.
  private static let usual = [
    "<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]",
    "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]",
    "[IMG_END]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]",
    "[TOOL_CONTENT]",
  ]
  private static let oldVersions = ["v1", "v2", "v3", "v7"]

  private static let fixedTokens = [
    ("bos", "<s>"), ("eos", "</s>"), ("unk", "<unk>"), ("pad", "<pad>"),
  ]
  private static let templateNames = [
    "v1": "mistral-v1", "v3": "mistral-v3-tekken", "v7": "mistral-v7-tekken",
  ]

  /// What mistral-common adds to texts, in the words of tokenizer_config.json.
  static let configuration: JSONValue = ["add_bos_token": true, "add_eos_token": false]

  /// llama.cpp's name for the chat template of this version; nil if it has none.
  var templateName: String? { config["version"]?.string.flatMap { Self.templateNames[$0] } }

  /// Reads a file.
  ///
  /// Throws `malformed` and `limit`.
  init(_ bytes: [UInt8]) throws(ModelError) {
    var scanner = try JSONScanner(bytes, file: Self.file, offset: 0, limits: ReadLimits())
    var tokens: [[UInt8]] = []
    try scanner.members { (scanner, key) throws(ModelError) in
      switch key {
      case "config":
        config = try JSONParser.parse(try scanner.rawValue(), file: Self.file)
      case "special_tokens" where scanner.null(): break
      case "special_tokens":
        statesSpecial = true
        try scanner.array { (scanner) throws(ModelError) in try readSpecial(&scanner) }
      case "vocab":
        try scanner.array { (scanner) throws(ModelError) in
          tokens.append(try Self.token(&scanner, rank: tokens.count))
        }
      default: try scanner.skip()
      }
    }
    try scanner.end()
    let count = try tokenCount(of: tokens.count)
    for (rank, token) in tokens.prefix(count).enumerated() {
      try vocabulary.append(token, rank: rank, place: "vocab \(rank)")
    }
    try vocabulary.check(besides: [])
  }

  /// The tokenizer.
  ///
  /// Throws `malformed` for a file without a pattern, and `limit`.
  func tokenizer() throws(ModelError) -> FastTokenizer {
    guard let pattern = config["pattern"]?.string else {
      throw Self.mistake("the file states no pattern", "config.pattern", nil)
    }
    let added = special.enumerated().map { AddedToken(id: $0, text: $1, isSpecial: true) }
    var tokenizer = try FastTokenizer(
      vocabulary, offset: special.count, merges: .all, pattern: .success(pattern), added: added)
    tokenizer.fixedTokens = Self.fixedTokens
    return tokenizer
  }

  private mutating func readSpecial(_ scanner: inout JSONScanner) throws(ModelError) {
    let place = "special_tokens \(special.count)"
    var (rank, text): (Int?, String?) = (nil, nil)
    try scanner.members { (scanner, key) throws(ModelError) in
      switch key {
      case "rank": rank = try scanner.count()
      case "token_str": text = try scanner.string()
      default: try scanner.skip()
      }
    }
    guard rank == special.count else {
      throw Self.mistake("a special token has another rank than its place", place, rank)
    }
    guard let text, !text.isEmpty else {
      throw Self.mistake("a special token has no text", place, nil)
    }
    special.append(text)
  }

  /// Reads a token, whose rank must be its place.
  private static func token(
    _ scanner: inout JSONScanner, rank expected: Int
  ) throws(ModelError) -> [UInt8] {
    var (rank, text): (Int?, String?) = (nil, nil)
    try scanner.members { (scanner, key) throws(ModelError) in
      switch key {
      case "rank": rank = try scanner.count()
      case "token_bytes": text = try scanner.string()
      default: try scanner.skip()
      }
    }
    guard rank == expected else {
      throw mistake("a token has another rank than its place", "vocab \(expected)", rank)
    }
    guard let text, let bytes = Base64.decoded(text.utf8) else {
      throw mistake("the bytes of a token are not in base 64", "vocab \(expected)", nil)
    }
    guard expected > 255 || bytes == [UInt8(expected)] else {
      throw mistake("the first 256 tokens are not the bytes", "vocab \(expected)", nil)
    }
    return bytes
  }

  /// The number of tokens with ranks; also completes the special tokens.
  private mutating func tokenCount(of count: Int) throws(ModelError) -> Int {
    let version = config["version"]?.string
    if !statesSpecial {
      guard let version, Self.oldVersions.contains(version) else {
        throw Self.mistake("the file states no special tokens", "special_tokens", nil)
      }
      special = Self.usual
    }
    guard let all = config["default_vocab_size"]?.int,
      let specialCount = config["default_num_special_tokens"]?.int,
      (1...Self.countLimit).contains(all), specialCount >= special.count, specialCount < all,
      all - specialCount <= count
    else {
      throw ModelError(
        .malformed, "the numbers of tokens contradict each other", file: Self.file,
        tensor: "config.default_vocab_size, default_num_special_tokens",
        expected: "at least \(special.count) special tokens, and at most \(count) others",
        found: [config["default_vocab_size"], config["default_num_special_tokens"]]
          .map { $0.map { JSONWriter.text($0) } ?? "nothing" }.joined(separator: ", "))
    }
    guard specialCount <= Self.specialLimit else {
      throw ModelError(
        .limit, "the file has too many special tokens", file: Self.file,
        tensor: "config.default_num_special_tokens", expected: "at most \(Self.specialLimit)",
        found: "\(specialCount)")
    }
    special += (special.count..<specialCount).map { "<SPECIAL_\($0)>" }
    guard Set(special.map(ExactName.init)).count == specialCount else {
      throw Self.mistake("two special tokens have the same text", "special_tokens", nil)
    }
    return all - specialCount
  }

  private static func mistake(_ what: String, _ place: String, _ found: Int?) -> ModelError {
    ModelError(
      .malformed, what, file: file, tensor: place, found: found.map { "\($0)" },
      hint: "the file is damaged, or newer than Pleat")
  }
}
