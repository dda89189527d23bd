/// Which of the architectures that are `bert` in GGUF a model becomes.
///
/// GGUF does not state the class of the model. Those with token types compute the same vectors of a
/// text: RoBERTa counts positions from another row, and llama.cpp has only the rows after that.
package struct BERTChoice {
  /// The architecture.
  package let architecture: Architecture
  /// What decided, for the user.
  package let note: String

  /// Decides by the token types and the tokenizer of a file; nil for other architectures.
  ///
  /// - Parameters:
  ///   - ggufName: `general.architecture`.
  ///   - tokenizer: `tokenizer.ggml.model`; nil without a tokenizer.
  ///   - contents: What the file has.
  package init?(
    _ ggufName: String?, tokenizer: String?, _ contents: CheckpointConfig.Contents
  ) {
    guard ggufName == Architecture.bert.ggufName else { return nil }
    let reason: String
    switch (contents.tokenTypeCount, tokenizer, contents.paddingID) {
    case (nil, _, _):
      (architecture, reason) = (.distilBERT, "it has no token types")
    case (_, "t5"?, .some):
      (architecture, reason) = (.xlmRoBERTa, "its tokenizer has unigrams")
    case (_, "gpt2"?, .some):
      (architecture, reason) = (.roberta, "its tokenizer merges bytes")
    case (_, "bert"?, _):
      (architecture, reason) = (.bert, "its tokenizer is WordPiece")
    case (_, let other, nil) where other != nil:
      (architecture, reason) = (.bert, "it does not say which token pads texts")
    case (_, let other, _):
      (architecture, reason) = (
        .bert, other.map { "its tokenizer is \($0)" } ?? "it has no tokenizer"
      )
    }
    note =
      "gguf has one name for bert, roberta, xlm-roberta and distilbert: the model becomes "
      + "\(architecture.modelTypes[0]), because \(reason)"
  }
}
