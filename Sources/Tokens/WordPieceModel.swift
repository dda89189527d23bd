internal import Bytes
internal import Formats
internal import TensorModel

/// Makes tokens of a word from the left: each is the longest one that the rest begins with.
///
/// It is a class because loops over words copy references, but not all that the model refers to.
final class WordPieceModel: Sendable {
  /// The tokens that begin words, by their texts.
  private let starts: TextIndex
  private let startIDs: [Int]
  /// The other tokens, by their texts without the mark of a part.
  private let parts: TextIndex
  private let partIDs: [Int]
  /// What comes before the text of each word.
  private let wordMark: [UInt8]
  /// Longer words stand for unknown ones.
  private let letterLimit: Int
  private let unknownID: Int32
  private let longest: Int  // bytes of a token

  private static let usualLetterLimit = 100
  private static let llamaMark = Array("▁".utf8)

  /// Reads the model of a tokenizer.
  ///
  /// Throws `malformed` if no token stands for unknown words.
  init(_ fast: FastTokenizer) throws(ModelError) {
    let unknown = fast.model["unk_token"]?.string ?? "[UNK]"
    guard let id = fast.id(of: unknown) else {
      throw ModelError(
        .malformed, "the token for unknown words is not in the vocabulary", file: fast.source,
        tensor: "model.unk_token", found: "'\(unknown)'")
    }
    unknownID = Int32(clamping: id)
    (starts, startIDs) = (fast.texts, fast.ids)
    if fast.llamaSteps == nil {
      wordMark = []
      letterLimit = fast.model["max_input_chars_per_word"]?.int ?? Self.usualLetterLimit
      let mark = Array((fast.model["continuing_subword_prefix"]?.string ?? "##").utf8)
      var (texts, ids) = (TextIndex(), [Int]())
      for index in 0..<fast.texts.count where fast.texts[index].starts(with: mark) {
        texts.insert(fast.texts[index].dropFirst(mark.count))
        ids.append(fast.ids[index])
      }
      (parts, partIDs) = (texts, ids)
    } else {
      (wordMark, letterLimit) = (Self.llamaMark, .max)
      (parts, partIDs) = (starts, startIDs)
    }
    let texts = fast.texts
    longest = (0..<texts.count).reduce(0) { max($0, texts[$1].count) }
  }

  /// Appends the tokens of a word, which is valid UTF-8.
  func append(_ text: [UInt8], _ range: Range<Int>, to result: inout [Int32]) {
    let word = wordMark.isEmpty ? text[range] : (wordMark + text[range])[...]
    let first = result.count
    guard !exceedsLimit(word) else { return result.append(unknownID) }
    var start = word.startIndex
    while start < word.endIndex {
      let isFirst = start == word.startIndex
      guard let (id, end) = longestToken(of: word[start...], isFirst: isFirst) else {
        result.removeSubrange(first...)
        return result.append(unknownID)
      }
      result.append(id)
      start = end
    }
  }

  private func exceedsLimit(_ word: ArraySlice<UInt8>) -> Bool {
    word.count > letterLimit && word.count(where: { $0 & 0xC0 != 0x80 }) > letterLimit
  }

  private func longestToken(
    of text: ArraySlice<UInt8>, isFirst: Bool
  ) -> (id: Int32, end: Int)? {
    let (texts, ids) = isFirst ? (starts, startIDs) : (parts, partIDs)
    var end = min(text.endIndex, text.startIndex + longest)
    while end > text.startIndex {
      if let index = texts.index(of: text[..<end]) { return (Int32(clamping: ids[index]), end) }
      repeat { end -= 1 } while end > text.startIndex && text[end] & 0xC0 == 0x80
    }
    return nil
  }
}
