internal import Bytes
internal import Formats
internal import TensorModel

/// Makes tokens of a word from the left: each is the longest one that the rest begins with.
///
/// It is a class because loops over words copy references, but not all that the model refers to.
final class WordPieceModel: Sendable {
  /// The tokens that begin words, by their texts, and the ids of the texts.
  private let starts: (tree: TextTree, ids: [Int])
  /// The other tokens, by their texts without the mark of a part.
  private let parts: (tree: TextTree, ids: [Int])
  /// What comes before the text of each word.
  private let wordMark: [UInt8]
  /// Where the tokens of a word begin in the tree, after the mark; nil if no token has the mark.
  private let wordStart: TextTree.Node?
  /// Longer words stand for unknown ones.
  private let letterLimit: Int
  private let unknownID: Int32

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
    starts = (TextTree(fast.texts), fast.ids)
    if fast.llamaSteps == nil {
      wordMark = []
      letterLimit = fast.model["max_input_chars_per_word"]?.int ?? Self.usualLetterLimit
      let mark = Array((fast.model["continuing_subword_prefix"]?.string ?? "##").utf8)
      var (texts, ids) = (TextIndex(), [Int]())
      for index in 0..<fast.texts.count where fast.texts[index].starts(with: mark) {
        texts.insert(fast.texts[index].dropFirst(mark.count))
        ids.append(fast.ids[index])
      }
      parts = (TextTree(texts), ids)
    } else {
      (wordMark, letterLimit) = (Self.llamaMark, .max)
      parts = starts
    }
    wordStart = starts.tree.node(of: wordMark)
  }

  /// Appends the tokens of a word, which is valid UTF-8.
  func append(_ text: [UInt8], _ range: Range<Int>, to result: inout [Int32]) {
    let first = result.count
    guard !exceedsLimit(text[range]) else { return result.append(unknownID) }
    guard !range.isEmpty || !wordMark.isEmpty else { return }
    var place = range.lowerBound
    var isFirst = true
    repeat {
      let found =
        isFirst
        ? wordStart.flatMap { longestToken(of: text, place..<range.upperBound, starts, from: $0) }
        : longestToken(of: text, place..<range.upperBound, parts, from: TextTree.root)
      guard let (id, end) = found else {
        result.removeSubrange(first...)
        return result.append(unknownID)
      }
      result.append(id)
      (place, isFirst) = (end, false)
    } while place < range.upperBound
  }

  private func exceedsLimit(_ word: ArraySlice<UInt8>) -> Bool {
    word.count > letterLimit && word.count(where: { $0 & 0xC0 != 0x80 }) > letterLimit
  }

  /// The longest token that a text begins with, after the node of a mark.
  private func longestToken(
    of text: [UInt8], _ range: Range<Int>, _ tokens: (tree: TextTree, ids: [Int]),
    from start: TextTree.Node
  ) -> (id: Int32, end: Int)? {
    var (node, place) = (start, range.lowerBound)
    var longest = tokens.tree.text(at: node).map { (index: $0, end: place) }
    while place < range.upperBound, let next = tokens.tree.child(of: node, text[place]) {
      (node, place) = (next, place + 1)
      if let index = tokens.tree.text(at: node) { longest = (index, place) }
    }
    return longest.map { (Int32(clamping: tokens.ids[$0.index]), $0.end) }
  }
}
