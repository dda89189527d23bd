internal import Architectures
internal import Bytes
internal import TensorModel

/// A tokenizer that marks spaces as SentencePiece does and applies merges: `gemma4` in GGUF.
struct MergedPieceTokenizer {
  private(set) var vocabulary: Vocabulary
  private(set) var notes: [String] = []

  /// The special tokens that llama.cpp also finds in texts that contain no special ones, so that
  /// programs can read what a chat model wrote.
  private static let visible = [
    "<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", "<|tool_response>",
    "<tool_response|>", "<|\"|>",
  ]

  /// Converts a tokenizer.json.
  ///
  /// Throws `mismatch`, `malformed` and `unsupported`.
  init(_ fast: FastTokenizer, tokenCount: Int) throws(ModelError) {
    try fast.checkAlgorithm()
    let spacing = try fast.pieceSpacing()
    guard !spacing.addsSpace else {
      throw ModelError(
        .unsupported, "llama.cpp adds no space before a text with this tokenizer",
        file: FastTokenizer.file, expected: "no space before a text", found: "a space",
        hint: GGUFTokenizer.donorHint)
    }
    try fast.checkHasMerges()
    notes += fast.notes
    vocabulary = try fast.vocabulary(tokenCount: tokenCount, &notes) { text, _ in
      let text = Array(text)
      return Vocabulary.Token(
        text: text, score: Vocabulary.addedScore, kind: text.isByteToken ? .byte : .normal)
    }
    for text in Self.visible {
      let id = fast.id(of: text) ?? fast.addedTokens.first { $0.text == text }?.id
      if let id, vocabulary.has(id) { vocabulary.setKind(.userDefined, of: id) }
    }
    try vocabulary.checkBytes(file: FastTokenizer.file)
  }
}

extension GGUFTokenizer {
  /// Writes a tokenizer with the merges of tokenizer.json.
  ///
  /// Throws `unsupported` without such a file, and what converting it throws.
  mutating func writeMergedPieces(
    _ files: TokenizerFiles, _ tokenCount: Int, _ architecture: Architecture
  ) throws(ModelError) {
    guard let fast = files.fast else {
      throw ModelError(
        .unsupported, "llama.cpp needs the merges of the tokenizer for these models",
        expected: FastTokenizer.file, found: "no such file", hint: Self.donorHint)
    }
    let tokenizer = try MergedPieceTokenizer(fast, tokenCount: tokenCount)
    notes += tokenizer.notes
    let texts = try tokenizer.vocabulary.texts(file: FastTokenizer.file)
    metadata.append(Self.modelKey, .text("gemma4"))
    tokenizer.vocabulary.write(to: &metadata, scores: true)
    fast.writeMerges(to: &metadata)
    var special = SpecialTokens(files, texts)
    if special.isAdded("bos") == false {
      notes.append("llama.cpp begins every text with the start token, unlike this tokenizer")
    }
    special.put("bos", true)
    special.write(to: &metadata)
    files.chatTemplates.write(to: &metadata)
    metadata.append("tokenizer.ggml.add_space_prefix", .bool(false))
  }
}
