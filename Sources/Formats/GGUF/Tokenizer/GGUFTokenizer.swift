package import Architectures
package import Bytes
package import TensorModel

/// The tokenizer of a Hugging Face model, as metadata for llama.cpp.
///
/// Keys and their order are those of llama.cpp's converter. If the converter's value would change
/// ids, Pleat writes the value that keeps the ids of the tokenizer.
package struct GGUFTokenizer: Sendable {
  /// The entries, whose keys all begin with `tokenizer.`, in order.
  package internal(set) var metadata = Metadata()
  /// Notes for the user, such as where ids may differ.
  package internal(set) var notes: [String] = []

  static let tokensKey = "tokenizer.ggml.tokens"
  static let preKey = "tokenizer.ggml.pre"
  static let donorHint =
    "--tokenizer-from PATH uses the tokenizer of another folder, or of a gguf of the same model"
  // An embedding without columns could have any number of rows.
  private static let tokenLimit = 1 << 24
  private static let prefix = "tokenizer."
  static let modelKey = "tokenizer.ggml.model"

  /// Reads the tokenizer of a checkpoint.
  ///
  /// - Parameters:
  ///   - companions: The files beside its weights.
  ///   - config: `config.json`.
  ///   - tokenCount: The number of rows of the embedding; the vocabulary is padded to it.
  ///   - architecture: The architecture of the model.
  ///   - pre: llama.cpp's name for the pre-tokenizer; nil to derive it from the tokenizer.
  /// - Throws: `unsupported` for tokenizers that llama.cpp does not support, `malformed`, `mismatch`,
  ///   `limit` and `usage`.
  package init(
    _ companions: CompanionReader, config: JSONValue, tokenCount: Int,
    architecture: Architecture, pre: String?
  ) throws(ModelError) {
    guard tokenCount <= Self.tokenLimit else {
      throw ModelError(
        .limit, "the embedding has too many rows", expected: "at most \(Self.tokenLimit)",
        found: "\(tokenCount)")
    }
    do throws(ModelError) {
      let isEncoder = architecture.isEncoder
      let files = try TokenizerFiles(companions, config: config, isEncoder: isEncoder)
      noteMatchingOptions(files)
      let isWritten = isEncoder ? try writeEncoder(files, tokenCount, architecture, pre) : false
      if !isWritten { try write(files, tokenCount, architecture, pre) }
      notes += files.chatTemplates.notes
    } catch {
      throw companions.located(error)
    }
  }

  private mutating func write(
    _ files: TokenizerFiles, _ tokenCount: Int, _ architecture: Architecture, _ pre: String?
  ) throws(ModelError) {
    if architecture.hasMergesOfPieces, pre == nil {
      return try writeMergedPieces(files, tokenCount, architecture)
    }
    if let fast = files.fast, files.sentencePiece == nil {
      try fast.checkAlgorithm()
      notes += fast.notes
      if fast.isByteLevel {
        try write(
          ByteLevelTokenizer(fast, tokenCount: tokenCount, pre: pre), fast, files, architecture)
        return
      }
    }
    guard pre == nil else {
      throw ModelError(
        .usage, "--tokenizer-pre is for byte-level tokenizers; this is a SentencePiece tokenizer")
    }
    if let model = files.sentencePiece {
      let tokenizer = try PieceTokenizer(model, files, tokenCount: tokenCount)
      try write(tokenizer, files, SentencePieceModel.file, architecture)
    } else if let fast = files.fast {
      let tokenizer = try PieceTokenizer(fast, tokenCount: tokenCount)
      try write(tokenizer, files, FastTokenizer.file, architecture)
    }
  }

  /// Copies the tokenizer of another GGUF model.
  ///
  /// - Parameters:
  ///   - donor: The metadata of that model.
  ///   - path: Its path, for messages.
  ///   - tokenCount: The number of rows of the embedding.
  /// - Throws: `unsupported` if that model has no tokenizer, and `mismatch` if the tokenizer has
  ///   another number of tokens.
  package init(donor: Metadata, path: String, tokenCount: Int) throws(ModelError) {
    guard case .array(let tokens)? = donor[Self.tokensKey], donor[Self.modelKey] != nil else {
      throw ModelError(
        .unsupported, "the model has no tokenizer to copy", file: path, expected: Self.tokensKey)
    }
    guard tokens.count == tokenCount else {
      throw ModelError(
        .mismatch, "the tokenizer belongs to a model of another size", file: path,
        tensor: Self.tokensKey, expected: "\(tokenCount) tokens, the rows of the embedding",
        found: "\(tokens.count)")
    }
    for entry in donor.entries where entry.key.hasPrefix(Self.prefix) {
      metadata.append(entry.key, entry.value)
    }
  }

  private mutating func write(
    _ tokenizer: ByteLevelTokenizer, _ fast: FastTokenizer, _ files: TokenizerFiles,
    _ architecture: Architecture
  ) throws(ModelError) {
    notes += tokenizer.notes
    let texts = try tokenizer.vocabulary.texts(file: fast.source)
    metadata.append(Self.modelKey, .text("gpt2"))
    metadata.append(Self.preKey, .text(tokenizer.name))
    var special = SpecialTokens(files, texts)
    // With these names, llama.cpp adds a start token to texts unless the metadata forbids it.
    if PreTokenizerName.addingStart.contains(tokenizer.name) { special.setDefault("bos", false) }
    for (kind, text) in architecture.specialTokens {
      special.set(kind, texts.index(of: Array(text.utf8)[...]))
    }
    if fast.source == TekkenFile.file {
      // The order of llama.cpp's converter, which also writes scores here.
      fast.writeMerges(to: &metadata)
      special.writeIDs(to: &metadata)
      tokenizer.vocabulary.withoutScores.write(to: &metadata, scores: true)
      special.writeAdditions(to: &metadata)
    } else {
      tokenizer.vocabulary.write(to: &metadata, scores: false)
      fast.writeMerges(to: &metadata)
      special.write(to: &metadata)
    }
    Self.write(tokenTypeCount: architecture.tokenTypeCount(files.config), to: &metadata)
    files.chatTemplates.write(to: &metadata)
  }

  /// Adds the number of token types to metadata, unless it is nil.
  static func write(tokenTypeCount: Int?, to metadata: inout Metadata) {
    guard let tokenTypeCount else { return }
    metadata.append("tokenizer.ggml.token_type_count", .u32(UInt32(clamping: tokenTypeCount)))
  }

  private mutating func write(
    _ tokenizer: PieceTokenizer, _ files: TokenizerFiles, _ file: String,
    _ architecture: Architecture
  ) throws(ModelError) {
    notes += tokenizer.notes
    let texts = try tokenizer.vocabulary.texts(file: file)
    let addsSpace: MetadataValue = .bool(
      tokenizer.addsSpace && !architecture.neverAddsSpacePrefix)
    let key = "tokenizer.ggml.add_space_prefix"
    // llama.cpp's converter writes this key first for Llama, if the config states it, and last for
    // Gemma.
    let isConfigured = files.configuration["add_prefix_space"]?.bool != nil
    if isConfigured, !architecture.neverAddsSpacePrefix { metadata.append(key, addsSpace) }
    metadata.append(Self.modelKey, .text("llama"))
    metadata.append(Self.preKey, .text("default"))
    tokenizer.vocabulary.write(to: &metadata, scores: true)
    var special = SpecialTokens(files, texts)
    // Code Llama ends an infill with a token that llama.cpp does not recognize by its text.
    special.set("eot", texts.index(of: Array("▁<EOT>".utf8)[...]))
    special.write(to: &metadata)
    files.chatTemplates.write(to: &metadata)
    if metadata[key] == nil, addsSpace == .bool(false) { metadata.append(key, addsSpace) }
  }

  /// Adds a note if the metadata does not say which token ends a text.
  package mutating func noteMissingEnd() {
    guard let key = SpecialTokens.key(of: "eos"), metadata[key] == nil else { return }
    notes.append(
      "no file says which token ends a text, so llama.cpp takes a fixed id; pleat metadata --set "
        + "\(key)=ID states it")
  }

  private mutating func noteMatchingOptions(_ files: TokenizerFiles) {
    let count = (files.fast?.addedTokens ?? []).count { $0.hasMatchingOptions }
    guard count > 0 else { return }
    let (takes, matches) = count == 1 ? (" takes", "matches") : ("s take", "match")
    notes.append(
      "\(count) added token\(takes) away adjacent spaces or \(matches) only whole words, which "
        + "llama.cpp does not support")
  }
}
