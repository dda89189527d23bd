internal import Bytes
internal import TensorModel

/// A vocabulary of tiktoken: a line for each token, with its bytes in base 64, a space and its rank.
struct TiktokenFile {
  let vocabulary: RankedVocabulary

  /// The file that Kimi has.
  static let usualName = "tiktoken.model"
  /// The suffix of other files.
  static let suffix = ".tiktoken"
  private static let space = UInt8(ascii: " ")

  /// The name of the file among the files of a model; nil if there is none.
  ///
  /// Throws `unsupported` if several files may be the vocabulary.
  static func name(in companions: CompanionReader) throws(ModelError) -> String? {
    var names = companions.names.filter { $0 == usualName || $0.hasSuffix(suffix) }
    if let model = try companions.bytes(of: SentencePieceModel.file),
      SentencePieceModel.isTiktoken(model)
    {
      names.append(SentencePieceModel.file)
    }
    guard names.count < 2 else {
      throw ModelError(
        .unsupported, "several files may be the vocabulary of the tokenizer", expected: "one",
        found: names.sorted().prefix(4).joined(separator: ", "),
        hint: "copy the model to a folder with the one that belongs to it")
    }
    return names.first
  }

  /// Reads a file.
  ///
  /// With `numbersLines`, the tokens are numbered in the order of their lines, whatever ranks are
  /// stated, and a line that repeats a token is skipped. Throws `malformed` for lines that are no
  /// token, and `limit`.
  init(_ bytes: [UInt8], file: String, numbersLines: Bool) throws(ModelError) {
    var vocabulary = RankedVocabulary(file: file)
    var number = 0
    for line in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
      number += 1
      let line = line.last == UInt8(ascii: "\r") ? line.dropLast() : line
      guard !line.isEmpty else { continue }
      let fields = line.split(separator: Self.space, omittingEmptySubsequences: false)
      guard fields.count == 2, let token = Base64.decoded(fields[0]),
        let rank = Self.rank(fields[1])
      else {
        throw ModelError(
          .malformed, "a line is not a token of tiktoken", file: file, tensor: "line \(number)",
          expected: "bytes in base 64, a space and a rank up to \(Int32.max)",
          found: "'\(String(decoding: line.prefix(80), as: UTF8.self))'",
          hint: "the file is damaged: download it again")
      }
      if numbersLines, vocabulary.has(token) { continue }
      try vocabulary.append(
        token, rank: numbersLines ? vocabulary.count : rank, place: "line \(number)")
    }
    self.vocabulary = vocabulary
  }

  private static func rank(_ digits: ArraySlice<UInt8>) -> Int? {
    guard (1...10).contains(digits.count),
      digits.allSatisfy((UInt8(ascii: "0")...UInt8(ascii: "9")).contains)
    else { return nil }
    let value = digits.reduce(0) { $0 * 10 + Int($1 - UInt8(ascii: "0")) }
    return value <= Int(Int32.max) ? value : nil
  }
}

extension CompanionReader {
  /// The tokenizer of a tiktoken vocabulary, with the tokens and the pattern that complete it.
  ///
  /// - Parameters:
  ///   - configuration: tokenizer_config.json.
  ///   - config: config.json.
  /// - Returns: The tokenizer; nil if there is no such vocabulary.
  /// - Throws: `malformed`, `limit`, `unsupported` if no file states the special tokens, and what
  ///   reading throws.
  func tiktokenTokenizer(
    _ configuration: JSONValue, _ config: JSONValue
  ) throws(ModelError) -> FastTokenizer? {
    guard let name = try TiktokenFile.name(in: self), let bytes = try bytes(of: name) else {
      return nil
    }
    let code = try TokenizerCode(self, configuration)
    let known = TiktokenClass.all.first { $0.name == code.className }
    try known?.check(code, vocabulary: name)
    var vocabulary = try TiktokenFile(
      bytes, file: name, numbersLines: known?.numbersLines ?? false
    ).vocabulary
    var stated = try configuredTokens()
    if stated.isEmpty { stated = try listedTokens() }
    // tiktoken has no other added tokens than special ones.
    for index in stated.indices { stated[index].isSpecial = true }
    let added = known?.tokens(stated, after: vocabulary.count) ?? stated
    guard !added.isEmpty else {
      throw ModelError(
        .unsupported, "no file states the special tokens of this tiktoken vocabulary", file: name,
        expected: "added_tokens_decoder in \(TokenizerFiles.configurationFile), or one of the "
          + "classes " + TiktokenClass.all.map(\.name).joined(separator: ", "),
        found: code.className.map { "the class \($0)" },
        hint: "add them to \(TokenizerFiles.configurationFile); or " + GGUFTokenizer.donorHint)
    }
    try vocabulary.check(besides: Set(added.map(\.id)))
    let pattern = code.splitting(known, config, vocabulary: name)
    var tokenizer = try FastTokenizer(
      vocabulary, offset: 0, merges: .last, pattern: pattern, added: added)
    if let known {
      (tokenizer.fixedTokens, tokenizer.usualTokens) = (known.fixedTokens, known.usualTokens)
    } else {
      tokenizer.notes.append(
        "Pleat does not know the class \(code.className ?? "of the tokenizer"): the special tokens "
          + "are those of \(TokenizerFiles.configurationFile)")
    }
    return tokenizer
  }
}
