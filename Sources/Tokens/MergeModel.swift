internal import Bytes
internal import Formats
internal import TensorModel

/// Makes tokens of a word by merging: byte-level BPE, or BPE of scalars with byte fallback.
struct MergeModel: Sendable {
  private let isByteLevel: Bool
  private var merges = MergeTable(count: 0)
  /// The id of each byte: of the symbol for it if tokens are byte-level, otherwise of `<0xNN>`; or -1.
  private var byteIDs = [Int32](repeating: -1, count: 256)
  /// Whether bytes stand for scalars that are no token.
  private let fallsBackToBytes: Bool
  /// The ids of tokens of one scalar, unless tokens are byte-level.
  private var scalarIDs: [UInt32: Int32] = [:]
  private let unknownID: Int32?
  /// Whether several unknown scalars in a row are one token.
  private let fusesUnknown: Bool
  /// The tokens that a word is looked up in before merges are applied; nil if it is not.
  private let wholeWords: (texts: TextIndex, ids: [Int])?

  /// Whether no token has a ▁ after something else, so that no merge crosses the beginning of a word.
  private(set) var splitsAtMarks = false
  /// Whether a byte of ASCII is a word of its own then, because no merge has it.
  private var isAlone = [Bool](repeating: false, count: 256)
  private static let mark = Array("▁".utf8)

  /// Reads the model of a tokenizer.
  ///
  /// Throws `unsupported` for models that are not BPE, and `malformed`.
  init(_ fast: FastTokenizer) throws(ModelError) {
    try Self.check(fast)
    isByteLevel = fast.isByteLevel
    fallsBackToBytes = fast.model["byte_fallback"]?.bool ?? false
    fusesUnknown = fast.model["fuse_unk"]?.bool ?? false
    wholeWords = fast.ignoresMerges ? (fast.texts, fast.ids) : nil
    if let text = fast.model["unk_token"]?.string {
      guard let id = fast.id(of: text) else {
        throw ModelError(
          .malformed, "the token for unknown text is not in the vocabulary", file: fast.source,
          tensor: "model.unk_token", found: "'\(text)'")
      }
      unknownID = Int32(clamping: id)
    } else {
      unknownID = nil
    }
    for byte in UInt8.min...UInt8.max {
      let text = isByteLevel ? ByteLetters.text(of: [byte]) : Self.fallback(byte)
      if let id = fast.shortID(of: text[...]) { byteIDs[Int(byte)] = id }
    }
    if !isByteLevel {
      for index in 0..<fast.texts.count {
        let text = Array(fast.texts[index])
        guard !text.isEmpty else { continue }
        let (value, length) = text.scalar(at: 0)
        if length == text.count { scalarIDs[value] = Int32(clamping: fast.ids[index]) }
      }
    }
    try readMerges(fast)
  }

  private mutating func readMerges(_ fast: FastTokenizer) throws(ModelError) {
    var crosses = false
    var aloneIDs = Set((0..<0x80).compactMap(letterID))
    merges = MergeTable(count: fast.merges.count / 2)
    for rank in 0..<fast.merges.count / 2 {
      let (left, right) = (fast.merges[2 * rank], fast.merges[2 * rank + 1])
      let whole = Array(left + right)
      guard let first = fast.shortID(of: left), let second = fast.shortID(of: right),
        let id = fast.shortID(of: whole[...])
      else {
        throw ModelError(
          .malformed, "merge \(rank) has a part or a result that is not in the vocabulary",
          file: fast.source, tensor: "model.merges")
      }
      merges.set(first, second, rank: rank, id: id)
      aloneIDs.remove(first)
      aloneIDs.remove(second)
      if !crosses { crosses = Self.markedEnd(whole, 0, whole.count) < whole.count }
    }
    guard !isByteLevel else { return }
    splitsAtMarks = !crosses && wholeWords == nil && fast.shortID(of: Self.mark[...]) != nil
    for byte in 0..<0x80 { isAlone[byte] = letterID(byte).map(aloneIDs.contains) ?? false }
  }

  /// The id of a letter of ASCII if it is not unknown, unless tokens are byte-level.
  private func letterID(_ letter: Int) -> Int32? {
    guard !isByteLevel else { return nil }
    return scalarIDs[UInt32(letter)]
      ?? (fallsBackToBytes && byteIDs[letter] >= 0 ? byteIDs[letter] : nil)
  }

  private static func check(_ fast: FastTokenizer) throws(ModelError) {
    func refuse(_ key: String, _ expected: String, _ found: String?) throws(ModelError) {
      throw ModelError(
        .unsupported, "Pleat does not tokenize with a model of this kind", file: fast.source,
        tensor: key, expected: expected, found: found,
        hint: "make the tokens with Hugging Face's tokenizers, and pass them as a file of tokens")
    }
    guard fast.algorithm == "BPE" else {
      return try refuse("model.type", "BPE, Unigram or WordPiece", fast.algorithm)
    }
    for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
      let text = fast.model[key]?.string ?? ""
      guard text.isEmpty else { return try refuse("model.\(key)", "none", "'\(text)'") }
    }
    guard fast.model["dropout"]?.double ?? 0 == 0 else {
      return try refuse("model.dropout", "none", "a number")
    }
  }

  /// Where a word ends that begins at an index, so that no merge crosses its ends.
  func wordEnd(_ text: [UInt8], _ start: Int, _ limit: Int) -> Int {
    if isAlone[Int(text[start])] { return start + 1 }
    let end = Self.markedEnd(text, start, limit)
    return text[start..<end].firstIndex { isAlone[Int($0)] } ?? end
  }

  /// Where a word ends that begins at an index: before the first ▁ that follows something else.
  private static func markedEnd(_ text: [UInt8], _ start: Int, _ limit: Int) -> Int {
    var index = start
    var isMark = true
    while index < limit {
      let begins =
        text[index] == mark[0] && index + 2 < limit && text[index + 1] == mark[1]
        && text[index + 2] == mark[2]
      if begins, !isMark { return index }
      isMark = begins
      index += begins ? mark.count : 1
    }
    return limit
  }

  /// The text of the token for a byte, in vocabularies of SentencePiece.
  static func fallback(_ byte: UInt8) -> [UInt8] {
    let digits = Array("0123456789ABCDEF".utf8)
    return Array("<0x".utf8) + [digits[Int(byte >> 4)], digits[Int(byte & 15)], UInt8(ascii: ">")]
  }

  /// Appends the tokens of a word, which is valid UTF-8 or a part of it.
  func append(
    _ text: [UInt8], _ range: Range<Int>, to result: inout [Int32], _ merger: inout WordMerger
  ) {
    if let wholeWords {
      let word =
        isByteLevel ? ByteLetters.text(of: text[range])[...] : text[range]
      if let index = wholeWords.texts.index(of: word) {
        return result.append(Int32(clamping: wholeWords.ids[index]))
      }
    }
    merger.begin()
    if isByteLevel {
      appendBytes(text, range, to: &merger)
    } else {
      appendScalars(text, range, to: &merger)
    }
    merger.finish(merges, into: &result)
  }

  private func appendBytes(_ text: [UInt8], _ range: Range<Int>, to merger: inout WordMerger) {
    var unknown = UnknownRun(id: unknownID, fuses: fusesUnknown)
    for index in range {
      let id = byteIDs[Int(text[index])]
      if id >= 0 {
        unknown.end(&merger)
        merger.append(id)
      } else {
        unknown.add(&merger)
      }
    }
    unknown.end(&merger)
  }

  private func appendScalars(_ text: [UInt8], _ range: Range<Int>, to merger: inout WordMerger) {
    var unknown = UnknownRun(id: unknownID, fuses: fusesUnknown)
    var index = range.lowerBound
    while index < range.upperBound {
      let (value, length) = text.scalar(at: index)
      let bytes = index..<index + length
      index += length
      if let id = scalarIDs[value] {
        unknown.end(&merger)
        merger.append(id)
      } else if fallsBackToBytes, bytes.allSatisfy({ byteIDs[Int(text[$0])] >= 0 }) {
        for byte in bytes { merger.append(byteIDs[Int(text[byte])]) }
      } else {
        unknown.add(&merger)
      }
    }
    unknown.end(&merger)
  }
}

/// Unknown scalars in a row, which may become one token.
///
/// As in Hugging Face's tokenizers, bytes in between neither end the run nor come after it, and
/// without a token for unknown text these scalars are left out.
private struct UnknownRun {
  let id: Int32?
  let fuses: Bool
  private var isPending = false

  init(id: Int32?, fuses: Bool) { (self.id, self.fuses) = (id, fuses) }

  mutating func add(_ merger: inout WordMerger) {
    if isPending, !fuses { end(&merger) }
    isPending = true
  }

  mutating func end(_ merger: inout WordMerger) {
    if isPending, let id { merger.append(id) }
    isPending = false
  }
}

extension FastTokenizer {
  /// The id of a text; nil if it is not in the vocabulary.
  fileprivate func shortID(of text: ArraySlice<UInt8>) -> Int32? {
    texts.index(of: text).map { Int32(clamping: ids[$0]) }
  }
}
