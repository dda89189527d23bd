internal import Bytes
internal import TensorModel

/// What the Python class of a tiktoken vocabulary adds to its file.
///
/// The file has no special tokens and no pattern. tokenizer_config.json may state the tokens; the
/// class has them, or names those that are not stated.
struct TiktokenClass {
  /// The special tokens that a class has; their ids come after those of the file.
  enum SpecialTokens {
    /// These texts, then this many texts `<|extra_0|>`, `<|extra_1|>` and so on.
    case listed([String], extraCount: Int)
    /// This many tokens, which are named if no file states them.
    case reserved(Int)
  }

  /// The name of the class.
  let name: String
  let specialTokens: SpecialTokens
  /// Whether ids are the numbers of lines, not the ranks that the lines state.
  var numbersLines = false
  /// The pattern of models that come without the file of the class, and what their `model_type`
  /// begins with; nil if that file is needed.
  var usual: (pattern: String, modelType: String)?
  /// The special tokens that llama.cpp's converter sets, whatever config.json states.
  var fixedTokens: [(kind: String, text: String)] = []
  /// The special tokens of kinds that config.json does not state.
  var usualTokens: [(kind: String, text: String)] = []

  /// The classes that Pleat knows: of Qwen 1, HunYuan and Kimi.
  static let all = [
    TiktokenClass(
      name: "QWenTokenizer",
      specialTokens: .listed(["<|endoftext|>", "<|im_start|>", "<|im_end|>"], extraCount: 205),
      usualTokens: ["bos", "eos", "unk"].map { ($0, "<|endoftext|>") }),
    TiktokenClass(
      name: "HYTokenizer",
      specialTokens: .listed(
        ["<|endoftext|>", "<|startoftext|>", "<|bos|>", "<|eos|>", "<|pad|>"], extraCount: 205),
      numbersLines: true, fixedTokens: [("bos", "<|bos|>")]),
    TiktokenClass(
      name: "TikTokenTokenizer", specialTokens: .reserved(256),
      usual: (KnownPreTokenizer.kimiPattern, "kimi")),
  ]

  /// Throws `unsupported` unless the file of the class has the special tokens that are known.
  ///
  /// Classes of other models have the same names, but more tokens, such as those for pictures.
  /// `vocabulary` is the name of the file with the tokens, for messages.
  func check(_ code: TokenizerCode, vocabulary: String) throws(ModelError) {
    guard case .listed(let texts, let extraCount) = specialTokens else { return }
    let (extra, number) = ("<|extra_{i}|>", "range(\(extraCount))")
    let known = Set((texts + [extra]).map(ExactName.init))
    guard let file = code.file else {
      throw ModelError(
        .unsupported, "the file of the tokenizer's class is missing, which has the special tokens",
        file: vocabulary, expected: "tokenization_….py with \(name)",
        hint: "download it too; or " + GGUFTokenizer.donorHint)
    }
    let found = code.markedTexts
    guard found == known, code.text.contains(number) else {
      let others = found.subtracting(known).map(\.text) + known.subtracting(found).map(\.text)
      throw ModelError(
        .unsupported, "the class has other special tokens than Pleat knows", file: file,
        tensor: others.min() ?? extra, expected: "those of the published \(name), with \(number)",
        hint: GGUFTokenizer.donorHint)
    }
  }

  /// The tokens that complete a vocabulary.
  ///
  /// - Parameters:
  ///   - stated: The tokens that tokenizer_config.json or added_tokens.json states.
  ///   - count: The number of tokens in the file.
  /// - Returns: The tokens by id.
  func tokens(_ stated: [AddedToken], after count: Int) -> [AddedToken] {
    let texts: [String]
    switch specialTokens {
    case .listed(let names, let extraCount):
      texts = names + (0..<extraCount).map { "<|extra_\($0)|>" }
    case .reserved(let number):
      texts = (count..<count + number).map { "<|reserved_token_\($0)|>" }
    }
    let (ids, known) = (Set(stated.map(\.id)), Set(stated.map { ExactName($0.text) }))
    let missing = zip(count..., texts).filter {
      !ids.contains($0) && !known.contains(ExactName($1))
    }
    let added = missing.map { AddedToken(id: $0, text: $1, isSpecial: true) }
    return (stated + added).sorted { $0.id < $1.id }
  }
}
