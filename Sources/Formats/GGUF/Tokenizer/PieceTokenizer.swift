internal import Bytes
internal import TensorModel

/// A SentencePiece BPE tokenizer with byte fallback: `llama` in GGUF.
struct PieceTokenizer {
  private(set) var vocabulary: Vocabulary
  private(set) var notes: [String] = []
  /// Whether a space is added before a text.
  private(set) var addsSpace: Bool

  /// Converts a tokenizer.model, and the tokens that other files add to it.
  ///
  /// Throws `mismatch`, `malformed` and `unsupported`.
  init(
    _ model: SentencePieceModel, _ files: TokenizerFiles, tokenCount: Int
  ) throws(ModelError) {
    guard model.pieces.count <= tokenCount else {
      throw ModelError(
        .mismatch, "the tokenizer has more tokens than the embedding has rows",
        file: SentencePieceModel.file, expected: "at most \(tokenCount)",
        found: "\(model.pieces.count)", hint: "the tokenizer may belong to another model")
    }
    vocabulary = Vocabulary(count: tokenCount)
    addsSpace = files.configuration["add_prefix_space"]?.bool ?? model.addsSpace
    for (id, piece) in model.pieces.enumerated() {
      let text = piece.kind == .userDefined ? piece.text.withSpaces : piece.text
      vocabulary.set(id, Vocabulary.Token(text: text, score: piece.score, kind: piece.kind))
    }
    var beyond: Set<Int> = []
    for token in files.addedTokens {
      guard token.id < tokenCount else {
        beyond.insert(token.id)
        continue
      }
      vocabulary.set(
        token.id,
        Vocabulary.Token(
          text: Array(token.text.utf8), score: Vocabulary.addedScore, kind: .userDefined))
    }
    for token in files.configuredTokens {
      if token.id < tokenCount { vocabulary.add(token) } else { beyond.insert(token.id) }
    }
    // Newer models state their added tokens only in tokenizer.json.
    for token in files.fast?.ownTokens ?? [] where !vocabulary.has(token.id) {
      if token.id < tokenCount { vocabulary.add(token) } else { beyond.insert(token.id) }
    }
    if !beyond.isEmpty { notes.append(Notes.beyond(beyond.count, tokenCount)) }
    if let fast = files.fast {
      if let note = fast.spacing?.note { notes.append(note) }
    } else if model.normalization ?? "identity" != "identity" || model.removesSpaces {
      notes.append(
        "tokenizer.model normalizes letters and spaces, llama.cpp does not: ids of text that this "
          + "changes may differ")
    }
    try vocabulary.checkBytes(file: SentencePieceModel.file)
  }

  /// Converts a tokenizer.json that was made from a SentencePiece model.
  ///
  /// Throws `mismatch`, `malformed` and `unsupported`.
  init(_ fast: FastTokenizer, tokenCount: Int) throws(ModelError) {
    let spacing = try fast.pieceSpacing()
    addsSpace = spacing.addsSpace
    if let note = spacing.note { notes.append(note) }
    let ranks = try MergeRanks(fast)
    if let note = ranks.note { notes.append(note) }
    let unknown = fast.model["unk_token"]?.string.map { Array($0.utf8) }
    vocabulary = try fast.vocabulary(tokenCount: tokenCount, &notes) { text, index in
      let text = Array(text)
      let isByte = text.isByteToken
      return Vocabulary.Token(
        text: text, score: isByte ? 0 : ranks.score(index), kind: isByte ? .byte : .normal)
    }
    if let unknown, let index = fast.texts.index(of: unknown[...]) {
      let id = fast.ids[index]
      vocabulary.set(id, Vocabulary.Token(text: unknown, score: 0, kind: .unknown))
    }
    try vocabulary.checkBytes(file: FastTokenizer.file)
  }
}

extension FastTokenizer {
  /// How spaces are added, in a tokenizer that was made from SentencePiece.
  ///
  /// Throws `unsupported` for other tokenizers.
  func pieceSpacing() throws(ModelError) -> Spacing {
    if let spacing, model["byte_fallback"]?.bool == true { return spacing }
    throw ModelError(
      .unsupported, "llama.cpp has no tokenizer that splits text as this one does",
      file: FastTokenizer.file, expected: "ByteLevel, or byte_fallback and ▁ for spaces",
      found: "pre_tokenizer: \(preTokenizer.description)", hint: GGUFTokenizer.donorHint)
  }
}

extension Vocabulary {
  /// Throws `unsupported` unless there is a token for every byte.
  ///
  /// llama.cpp aborts at a character that is not a token if its bytes have no tokens.
  func checkBytes(file: String) throws(ModelError) {
    let bytes = Set(tokens.lazy.filter { $0.kind == .byte }.map(\.text))
    let digits = Array("0123456789ABCDEF".utf8)
    for value in 0..<256 {
      let text = Array("<0x".utf8) + [digits[value / 16], digits[value % 16]] + Array(">".utf8)
      guard bytes.contains(text) else {
        throw ModelError(
          .unsupported, "the vocabulary has no token for a byte, which llama.cpp needs",
          file: file, tensor: String(decoding: text, as: UTF8.self), expected: "byte fallback",
          hint: GGUFTokenizer.donorHint)
      }
    }
  }
}

/// The texts of notes that several tokenizers share.
enum Notes {
  static func beyond(_ count: Int, _ tokenCount: Int) -> String {
    "left out \(count) added token\(count == 1 ? "" : "s") beyond the \(tokenCount) rows of the "
      + "embedding"
  }
}
