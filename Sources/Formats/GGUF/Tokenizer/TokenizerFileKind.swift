/// What a file of a Hugging Face tokenizer contains.
package enum TokenizerFileKind: Sendable {
  /// The tokens.
  case vocabulary
  /// The special tokens and other settings.
  case settings
  /// Chat templates.
  case template
  /// Something that belongs to no kind and is replaced by its name only.
  case other

  /// The file with all settings of a tokenizer.
  package static let settingsFile = TokenizerFiles.configurationFile

  /// The kind of a companion file; nil if it is not a file of a tokenizer.
  package init?(_ name: String) {
    switch name {
    case FastTokenizer.file, SentencePieceModel.file, TokenizerFiles.addedTokensFile, "vocab.json",
      "vocab.txt", "merges.txt", TekkenFile.file, "spiece.model", "sentencepiece.bpe.model",
      TiktokenFile.usualName:
      self = .vocabulary
    case TokenizerFiles.configurationFile, TokenizerFiles.specialTokensFile: self = .settings
    case ChatTemplates.file, ChatTemplates.legacyFile: self = .template
    case TokenizerFiles.generationFile: self = .other
    case _ where CompanionName.folder(of: name) == CompanionName.templateFolder: self = .template
    case _ where name.hasSuffix(TiktokenFile.suffix): self = .vocabulary
    case _ where name.hasPrefix("tokenization") && name.hasSuffix(".py"): self = .other
    default: return nil
    }
  }
}
