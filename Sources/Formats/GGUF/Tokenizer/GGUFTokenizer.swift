package import Bytes
package import TensorModel

/// The tokenizer of a model of Hugging Face, as the metadata that llama.cpp reads.
///
/// Keys and their order are those of llama.cpp's converter. Where that writes something by which
/// ids would differ from those of the tokenizer, the ids decide.
package struct GGUFTokenizer: Sendable {
  /// Entries `tokenizer.*` only, in order.
  package private(set) var metadata = Metadata()
  /// What a user should know: where ids may differ, in words.
  package private(set) var notes: [String] = []

  static let tokensKey = "tokenizer.ggml.tokens"
  static let donorHint =
    "--tokenizer-from MODEL.gguf takes the tokenizer of a gguf of the same model"
  private static let prefix = "tokenizer."
  private static let modelKey = "tokenizer.ggml.model"

  /// Reads the tokenizer of a checkpoint.
  ///
  /// Throws `unsupported` for kinds that llama.cpp lacks, `malformed`, `mismatch` and `usage`.
  ///
  /// - Parameters:
  ///   - file: The content of a companion file by its name; nil when there is none.
  ///   - config: `config.json`.
  ///   - tokenCount: The rows of the embedding, to which the vocabulary is padded.
  ///   - architecture: What the model is.
  ///   - pre: How text is split, as llama.cpp calls it; nil to see from the tokenizer.
  /// - Throws: `ModelError`.
  package init(
    _ file: (String) throws(ModelError) -> [UInt8]?, config: JSONValue, tokenCount: Int,
    architecture: Architecture, pre: String?
  ) throws(ModelError) {
    let files = try TokenizerFiles(file, config: config)
    noteParticularTokens(files)
    if let fast = files.fast, files.sentencePiece == nil {
      try fast.checkAlgorithm()
      if fast.isByteLevel {
        try write(ByteLevelTokenizer(fast, tokenCount: tokenCount, pre: pre), files)
        return
      }
    }
    guard pre == nil else {
      throw ModelError(
        .usage, "--tokenizer-pre is for byte-level tokenizers; this is one of SentencePiece")
    }
    if let model = files.sentencePiece {
      let tokenizer = try PieceTokenizer(model, files, tokenCount: tokenCount)
      try write(tokenizer, files, SentencePieceModel.file, architecture)
    } else if let fast = files.fast {
      let tokenizer = try PieceTokenizer(fast, tokenCount: tokenCount)
      try write(tokenizer, files, FastTokenizer.file, architecture)
    }
  }

  /// Takes the tokenizer of another GGUF model.
  ///
  /// Throws `unsupported` when it has none, and `mismatch` when it is of another size.
  ///
  /// - Parameters:
  ///   - donor: The metadata of that model.
  ///   - path: Its path, for messages.
  ///   - tokenCount: The rows of the embedding.
  /// - Throws: `ModelError`.
  package init(donor: Metadata, path: String, tokenCount: Int) throws(ModelError) {
    guard case .array(let tokens)? = donor[Self.tokensKey], donor[Self.modelKey] != nil else {
      throw ModelError(
        .unsupported, "the model has no tokenizer to take", file: path, expected: Self.tokensKey)
    }
    guard tokens.count == tokenCount else {
      throw ModelError(
        .mismatch, "the tokenizer is that of a model of another size", file: path,
        tensor: Self.tokensKey, expected: "\(tokenCount) tokens, the rows of the embedding",
        found: "\(tokens.count)")
    }
    for entry in donor.entries where entry.key.hasPrefix(Self.prefix) {
      metadata.append(entry.key, entry.value)
    }
  }

  private mutating func write(
    _ tokenizer: ByteLevelTokenizer, _ files: TokenizerFiles
  ) throws(ModelError) {
    notes += tokenizer.notes
    let texts = try tokenizer.vocabulary.texts(file: FastTokenizer.file)
    metadata.append(Self.modelKey, .text("gpt2"))
    metadata.append("tokenizer.ggml.pre", .text(tokenizer.name))
    tokenizer.vocabulary.write(to: &metadata, scores: false)
    tokenizer.writeMerges(to: &metadata)
    var special = SpecialTokens(files, texts)
    // The name alone would have llama.cpp begin texts with a token.
    if PreTokenizerName.addingStart.contains(tokenizer.name) { special.setDefault("bos", false) }
    special.write(to: &metadata)
    ChatTemplate.write(files, to: &metadata)
  }

  private mutating func write(
    _ tokenizer: PieceTokenizer, _ files: TokenizerFiles, _ file: String,
    _ architecture: Architecture
  ) throws(ModelError) {
    notes += tokenizer.notes
    let texts = try tokenizer.vocabulary.texts(file: file)
    let isGemma = architecture.ggufName.hasPrefix("gemma")
    let addsSpace: MetadataValue = .bool(tokenizer.addsSpace && !isGemma)
    let key = "tokenizer.ggml.add_space_prefix"
    // llama.cpp's converter writes it first for Llama, where the file says so, and last for Gemma.
    let isConfigured = files.configuration["add_prefix_space"]?.bool != nil
    if isConfigured, !isGemma { metadata.append(key, addsSpace) }
    metadata.append(Self.modelKey, .text("llama"))
    metadata.append("tokenizer.ggml.pre", .text("default"))
    tokenizer.vocabulary.write(to: &metadata, scores: true)
    var special = SpecialTokens(files, texts)
    // Code Llama ends what it fills in with a token that llama.cpp does not know by its text.
    special.set("eot", texts.index(of: Array("▁<EOT>".utf8)[...]))
    special.write(to: &metadata)
    ChatTemplate.write(files, to: &metadata)
    if metadata[key] == nil, addsSpace == .bool(false) { metadata.append(key, addsSpace) }
  }

  private mutating func noteParticularTokens(_ files: TokenizerFiles) {
    let count = (files.fast?.addedTokens ?? []).count { $0.isParticular }
    guard count > 0 else { return }
    notes.append(
      "\(count) added token\(count == 1 ? " takes" : "s take") away spaces beside \(count == 1 ? "it" : "them"), "
        + "or must be words, which llama.cpp does not heed")
  }
}
