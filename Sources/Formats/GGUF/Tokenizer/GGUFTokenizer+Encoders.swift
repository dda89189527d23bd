internal import Architectures
internal import Bytes
internal import TensorModel

/// The tokenizers of encoders that other models do not have.
extension GGUFTokenizer {
  /// Writes a WordPiece or a unigram tokenizer; returns false for others.
  ///
  /// Throws `usage`, `unsupported`, `malformed` and `mismatch`.
  mutating func writeEncoder(
    _ files: TokenizerFiles, _ tokenCount: Int, _ architecture: Architecture, _ pre: String?
  ) throws(ModelError) -> Bool {
    let kind = files.fast?.algorithm
    guard files.unigram != nil || kind == "WordPiece" || kind == "Unigram" else { return false }
    guard pre == nil else {
      throw ModelError(
        .usage, "--tokenizer-pre is for byte-level tokenizers", found: kind ?? "Unigram")
    }
    let typeCount = architecture.tokenTypeCount(files.config)
    if let model = files.unigram {
      let mask = SpecialTokens.text(of: "mask", in: files.configuration) ?? ""
      let tokenizer = try UnigramTokenizer(model, mask: mask, tokenCount: tokenCount)
      try write(tokenizer, files, SentencePieceModel.unigramFile, typeCount)
    } else if let fast = files.fast {
      notes += fast.notes
      if kind == "Unigram" {
        let tokenizer = try UnigramTokenizer(fast, tokenCount: tokenCount)
        try write(tokenizer, files, FastTokenizer.file, typeCount)
      } else {
        try write(
          WordPieceTokenizer(fast, configuration: files.configuration, tokenCount: tokenCount),
          fast, files, typeCount)
      }
    }
    files.chatTemplates.write(to: &metadata)
    return true
  }

  private mutating func write(
    _ tokenizer: WordPieceTokenizer, _ fast: FastTokenizer, _ files: TokenizerFiles,
    _ typeCount: Int?
  ) throws(ModelError) {
    notes += tokenizer.notes
    let texts = try tokenizer.vocabulary.texts(file: fast.source)
    Self.write(tokenTypeCount: typeCount, to: &metadata)
    metadata.append(Self.modelKey, .text("bert"))
    metadata.append(Self.preKey, .text("default"))
    tokenizer.vocabulary.write(to: &metadata, scores: false)
    var special = SpecialTokens(files, texts)
    special.set("unk", fast.id(of: tokenizer.unknown))
    // llama.cpp adds these two to every text, whatever the metadata state.
    guard let ends = fast.postProcessing.ends, let first = special.id(of: "bos"),
      let last = special.id(of: "sep"), fast.id(ofAddedOrOther: ends.first) == first,
      fast.id(ofAddedOrOther: ends.last) == last
    else {
      throw ModelError(
        .unsupported, "llama.cpp begins texts with one token and ends them with another one",
        file: fast.source, tensor: "post_processor",
        expected: "cls_token, the text, sep_token", hint: Self.donorHint)
    }
    special.write(to: &metadata)
    tokenizer.writeNormalizer(to: &metadata)
  }

  private mutating func write(
    _ tokenizer: UnigramTokenizer, _ files: TokenizerFiles, _ file: String, _ typeCount: Int?
  ) throws(ModelError) {
    notes += tokenizer.notes
    let texts = try tokenizer.vocabulary.texts(file: file)
    metadata.append(Self.modelKey, .text("t5"))
    metadata.append(Self.preKey, .text("default"))
    tokenizer.vocabulary.write(to: &metadata, scores: true)
    tokenizer.writeSteps(to: &metadata, tokenTypeCount: typeCount)
    var special = SpecialTokens(files, texts)
    special.set("unk", tokenizer.unknownID)
    // llama.cpp adds only an end unless the metadata states both.
    let adds = files.fast == nil || files.fast?.postProcessing.ends != nil
    for kind in ["bos", "eos"] { special.setDefault(kind, adds) }
    special.write(to: &metadata)
  }
}
