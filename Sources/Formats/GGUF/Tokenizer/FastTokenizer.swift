package import Bytes
package import TensorModel

/// The contents of a `tokenizer.json`.
///
/// The vocabulary and the merges may have a million entries. They are read without a JSON tree.
package struct FastTokenizer: Sendable {
  /// The name of the file.
  package static let file = "tokenizer.json"
  /// The name of the file that the vocabulary was read from, for messages.
  package private(set) var source = Self.file

  /// `BPE`, `Unigram`, `WordPiece` or `WordLevel`.
  package private(set) var algorithm = "BPE"
  /// The vocabulary, in file order.
  package private(set) var texts = TextIndex()
  /// The id of each text.
  package private(set) var ids: [Int] = []
  /// The score of each text of a unigram model; empty for other algorithms.
  package private(set) var scores: [Double] = []
  /// A text that a unigram model has twice; nil if there is none.
  package private(set) var repeatedText: String?
  /// The left and right parts of the merges, alternating; the first merge comes first.
  package private(set) var merges = TextList()
  /// The other members of `model`.
  package private(set) var model: [String: JSONValue] = [:]
  /// The added tokens: first those of this file, by id, then those that other files add.
  package private(set) var addedTokens: [AddedToken] = []
  private var ownTokenCount = 0
  /// Notes on added tokens whose id differs from the one that a file states, and on their source.
  var notes: [String] = []
  /// The special tokens of kinds, whatever other files state.
  var fixedTokens: [(kind: String, text: String)] = []
  /// The special tokens of kinds that config.json does not state.
  var usualTokens: [(kind: String, text: String)] = []
  /// Whether the merges make all tokens, so that it does not matter whether words are taken whole.
  private(set) var mergesMakeAll = false
  /// The error for a tokenizer whose pattern no file states; nil if one states it.
  package private(set) var patternFault: ModelError?
  /// The steps of llama.cpp that stand for a normalizer and a pre-tokenizer; nil if `parts` has them.
  package private(set) var llamaSteps: LlamaSteps?
  /// The values of normalizer, pre_tokenizer, post_processor and decoder.
  package private(set) var parts: [String: JSONValue] = [:]

  /// Creates a tokenizer from parts of other files than tokenizer.json.
  ///
  /// `tokens` are the texts in the order of their ids, `scores` their scores in a unigram model.
  /// Throws `malformed` if one occurs twice.
  init(
    algorithm: String, tokens: [ArraySlice<UInt8>], scores: [Double] = [],
    model: [String: JSONValue], parts: [String: JSONValue], added: [AddedToken], file: String
  ) throws(ModelError) {
    (self.algorithm, source, self.scores) = (algorithm, file, scores)
    (self.model, self.parts) = (model, parts)
    for (id, text) in tokens.enumerated() {
      guard texts.insert(text).inserted else {
        throw ModelError(
          .malformed, "the vocabulary has a token twice", file: file,
          found: "'\(String(decoding: text, as: UTF8.self))'")
      }
      ids.append(id)
    }
    add(added, from: file)
    ownTokenCount = addedTokens.count
  }

  /// Creates the tokenizer of an encoder that llama.cpp runs.
  ///
  /// - Parameters:
  ///   - algorithm: `WordPiece` or `Unigram`.
  ///   - vocabulary: All tokens; those that are found as written become added tokens.
  ///   - ids: The tokens that words are made of.
  ///   - steps: What llama.cpp does before it makes tokens of words.
  ///   - model: The members of `model`.
  ///   - parts: The post-processor and the decoder.
  /// - Throws: `malformed`.
  init(
    algorithm: String, _ vocabulary: ListedVocabulary, ids: [Int], steps: LlamaSteps,
    model: [String: JSONValue], parts: [String: JSONValue]
  ) throws(ModelError) {
    (self.algorithm, self.ids, llamaSteps) = (algorithm, ids, steps)
    (self.model, self.parts) = (model, parts)
    for id in ids { texts.insert(vocabulary.bytes(id)) }
    if !vocabulary.scores.isEmpty { scores = ids.map { Double(vocabulary.score($0)) } }
    addedTokens = try vocabulary.addedTokens.map { (token) throws(ModelError) in
      try AddedToken(token, file: Self.file)
    }
  }

  /// Creates a byte-level tokenizer from tokens with ranks, which takes words that are tokens whole.
  ///
  /// - Parameters:
  ///   - vocabulary: The checked tokens.
  ///   - offset: The id of the token with rank 0.
  ///   - kind: Which merges stand for the ranks.
  ///   - pattern: The pattern by which text is split, or the error if no file states it.
  ///   - added: The tokens that complete the vocabulary, with their ids.
  /// - Throws: `limit`.
  init(
    _ vocabulary: RankedVocabulary, offset: Int, merges kind: RankedVocabulary.Merges,
    pattern: Result<String, ModelError>, added: [AddedToken]
  ) throws(ModelError) {
    source = vocabulary.file
    let ranks: [Int]
    (texts, ranks) = vocabulary.texts()
    ids = ranks.map { $0 + offset }
    (merges, mergesMakeAll) = try vocabulary.merges(kind)
    model = ["ignore_merges": true]
    var steps: [JSONValue] = []
    switch pattern {
    case .success(let text):
      steps.append([
        "type": "Split", "pattern": ["Regex": .string(text)], "behavior": "Isolated",
      ])
    case .failure(let fault): patternFault = fault
    }
    steps.append(["type": "ByteLevel", "add_prefix_space": false, "use_regex": false])
    parts = ["pre_tokenizer": ["type": "Sequence", "pretokenizers": .array(steps)]]
    addedTokens = added
  }

  /// Reads a file.
  ///
  /// Throws `malformed` and `limit`.
  init(_ bytes: [UInt8]) throws(ModelError) {
    var scanner = try JSONScanner(bytes, file: Self.file, offset: 0, limits: ReadLimits())
    var seen: Set<ExactName> = []
    try scanner.object { (scanner, key) throws(ModelError) in
      guard seen.insert(ExactName(key)).inserted else { throw Self.repetition(of: key) }
      switch key {
      case "model": try readModel(&scanner)
      case "added_tokens":
        guard let tokens = try Self.value(&scanner).array else {
          throw ModelError(
            .malformed, "the added tokens are not a list", file: Self.file, tensor: key)
        }
        for token in tokens { addedTokens.append(try AddedToken(token, file: Self.file)) }
      case "normalizer", "pre_tokenizer", "post_processor", "decoder":
        parts[key] = try Self.value(&scanner)
      default: try scanner.skip()
      }
    }
    try scanner.end()
    try checkMerges()
    let own = addedTokens.sorted { $0.id < $1.id }
    addedTokens = []
    add(own, from: Self.file)
    ownTokenCount = addedTokens.count
  }

  private mutating func readModel(_ scanner: inout JSONScanner) throws(ModelError) {
    var seen: Set<ExactName> = []
    try scanner.object { (scanner, key) throws(ModelError) in
      guard seen.insert(ExactName(key)).inserted else { throw Self.repetition(of: key) }
      switch key {
      case "vocab":
        if scanner.peek() == UInt8(ascii: "[") {
          try readPieces(&scanner)
        } else {
          try readVocabulary(&scanner)
        }
      case "merges":
        guard scanner.peek() == UInt8(ascii: "[") else { return try scanner.skip() }
        try readMerges(&scanner)
      default: model[key] = try Self.value(&scanner)
      }
    }
    if let type = model["type"]?.string { algorithm = type }
  }

  private mutating func readVocabulary(_ scanner: inout JSONScanner) throws(ModelError) {
    try scanner.object { (scanner, text) throws(ModelError) in
      let id = try scanner.count()
      guard id <= Int(Int32.max) else { throw Self.mistake("an id is too large", token: text) }
      guard texts.insert(Array(text.utf8)[...]).inserted else {
        throw Self.mistake("the vocabulary has a token twice", token: text)
      }
      ids.append(id)
    }
  }

  /// Reads the list of a unigram model, of pairs of a text and its score.
  private mutating func readPieces(_ scanner: inout JSONScanner) throws(ModelError) {
    var id = 0
    try scanner.array { (scanner) throws(ModelError) in
      guard let (text, score) = try Self.piece(&scanner) else {
        throw Self.mistake("a token is not a pair of a text and a score", token: "\(id)")
      }
      if texts.insert(Array(text.utf8)[...]).inserted {
        ids.append(id)
        scores.append(score)
      } else {
        repeatedText = text
      }
      id += 1
    }
  }

  /// Reads a pair; nil for another value.
  private static func piece(
    _ scanner: inout JSONScanner
  ) throws(ModelError) -> (text: String, score: Double)? {
    guard scanner.peek() == UInt8(ascii: "[") else { return nil }
    var (text, score, count) = (String?.none, Double?.none, 0)
    try scanner.array { (scanner) throws(ModelError) in
      switch count {
      case 0 where scanner.peek() == UInt8(ascii: "\""): text = try scanner.string()
      case 1: score = Double(roundedTwice: try scanner.rawValue())
      default: try scanner.skip()
      }
      count += 1
    }
    guard count == 2, let text, let score else { return nil }
    return (text, score)
  }

  private mutating func readMerges(_ scanner: inout JSONScanner) throws(ModelError) {
    try scanner.array { (scanner) throws(ModelError) in
      if scanner.peek() == UInt8(ascii: "[") {
        var count = 0
        try scanner.array { (scanner) throws(ModelError) in
          merges.append(try scanner.string().utf8)
          count += 1
        }
        guard count == 2 else {
          throw Self.mistake("a merge does not have two parts", token: "\(count) parts")
        }
      } else {
        let text = try scanner.string()
        let parts = text.utf8.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
        guard parts.count == 2 else {
          throw Self.mistake("a merge does not have two parts", token: text)
        }
        for part in parts { merges.append(part) }
      }
    }
  }

  private func checkMerges() throws(ModelError) {
    guard algorithm == "BPE" else { return }
    for index in stride(from: 0, to: merges.count, by: 2) {
      let (left, right) = (merges[index], merges[index + 1])
      for text in [left, right, left + right] where texts.index(of: text) == nil || text.isEmpty {
        throw ModelError(
          .malformed, "merge \(index / 2) has a part or a result that is not in the vocabulary",
          file: Self.file, tensor: "model.merges",
          found: "'\(String(decoding: text, as: UTF8.self))'")
      }
    }
  }

  /// Adds tokens that a file states, unless the tokenizer has them already.
  ///
  /// Tokens outside the vocabulary get the next ids, as in transformers, whatever the file states.
  mutating func add(_ tokens: [AddedToken], from file: String) {
    let (used, isOwn) = (Set(ids), file == Self.file)
    var known = Set(addedTokens.map { ExactName($0.text) })
    var next = max(texts.count, (addedTokens.map(\.id).max() ?? -1) + 1)
    var moved: [String] = []
    for var token in tokens where known.insert(ExactName(token.text)).inserted {
      // Without a vocabulary, the next id is not known.
      guard texts.count > 0 || token.isStated else { continue }
      // An id that contradicts the vocabulary of the same file, or is taken there, is an error later.
      if let id = id(of: token.text) {
        if !isOwn { token.id = id }
      } else if texts.count > 0, !used.contains(next),
        !isOwn || token.id > next && !used.contains(token.id)
      {
        if token.isStated, token.id != next {
          moved.append("\(token.text) \(next), not \(token.id)")
        }
        token.id = next
      }
      next = max(next, token.id + 1)
      addedTokens.append(token)
    }
    guard let first = moved.first else { return }
    notes.append(
      "added tokens get the next ids, as in transformers, whatever \(file) states: \(first)"
        + (moved.count > 1 ? ", and \(moved.count - 1) more" : ""))
  }

  /// The added tokens of tokenizer.json, or of vocab.txt, by id.
  var ownTokens: ArraySlice<AddedToken> { addedTokens.prefix(ownTokenCount) }

  /// The id of a text; nil if it is not in the vocabulary.
  package func id(of text: String) -> Int? {
    texts.index(of: Array(text.utf8)[...]).map { ids[$0] }
  }

  private static func value(_ scanner: inout JSONScanner) throws(ModelError) -> JSONValue {
    try JSONParser.parse(try scanner.rawValue(), file: file)
  }

  private static func repetition(of key: String) -> ModelError {
    ModelError(.malformed, "the key '\(key)' occurs twice", file: file)
  }

  private static func mistake(_ what: String, token: String) -> ModelError {
    ModelError(.malformed, what, file: file, tensor: "model", found: "'\(token)'")
  }
}
