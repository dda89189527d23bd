internal import TensorModel

/// Scores of tokens that stand for merges.
///
/// llama.cpp joins any two neighbours whose text is a token, the highest score first; a
/// tokenizer.json has a list of merges instead. Both do the same when the list has every pair that
/// makes a token, and the merges that make one token follow each other, as in files that were made
/// from a model of SentencePiece.
struct MergeRanks {
  // By place in the vocabulary, the first merge that makes a token, or -1.
  private var first: [Int32]
  /// What a user should know: nil when nothing differs.
  private(set) var note: String?

  /// Tokens of which more than one in so many is joined in ways that the list lacks are too many.
  private static let tolerance = 100

  /// Ranks the merges of a file.
  ///
  /// Throws `unsupported` when llama.cpp would join other pairs.
  init(_ fast: FastTokenizer) throws(ModelError) {
    let texts = fast.texts
    var last = [Int32](repeating: -1, count: texts.count)
    var counts = [Int32](repeating: 0, count: texts.count)
    first = last
    for rank in 0..<fast.merges.count / 2 {
      let text = fast.merges[2 * rank] + fast.merges[2 * rank + 1]
      guard let index = texts.index(of: text) else { continue }
      if first[index] < 0 { first[index] = Int32(rank) }
      last[index] = Int32(rank)
      counts[index] += 1
    }
    let (beginnings, ends) = (Affixes(texts, atEnd: false), Affixes(texts, atEnd: true))
    let added = Set(fast.addedTokens.map { Array($0.text.utf8) })
    var differing = 0
    for index in 0..<texts.count {
      let text = texts[index]
      guard !Array(text).isByteToken, !added.contains(Array(text)) else { continue }
      let isTogether = counts[index] == 0 || last[index] - first[index] + 1 == counts[index]
      let pairCount = Self.pairCount(text, beginnings.lengths(index), ends.lengths(index))
      if pairCount != Int(counts[index]) || !isTogether { differing += 1 }
    }
    guard differing <= texts.count / Self.tolerance else {
      throw ModelError(
        .unsupported, "llama.cpp joins every two parts that make a token, this tokenizer does not",
        file: FastTokenizer.file, tensor: "model.merges",
        found: "\(differing) of \(texts.count) tokens with other merges",
        hint: GGUFTokenizer.donorHint)
    }
    if differing > 0 {
      note =
        "llama.cpp joins every two parts that make a token, this tokenizer does not for \(differing)"
        + " of \(texts.count) tokens: their ids may differ"
    }
  }

  /// The score of a token by its place in the vocabulary.
  func score(_ index: Int) -> Float { first[index] < 0 ? 0 : -Float(first[index]) }

  /// The number of ways to make a text from two tokens, of those it begins with and ends with.
  private static func pairCount(
    _ text: ArraySlice<UInt8>, _ beginnings: [Int], _ ends: [Int]
  ) -> Int {
    var count = 0
    // The longer a beginning, the shorter the end that goes with it.
    var next = 0
    for length in beginnings.reversed() {
      while next < ends.count, length + ends[next] > text.count { next += 1 }
      guard next < ends.count, length + ends[next] == text.count else { continue }
      if text[text.startIndex + length] & 0xC0 != 0x80 { count += 1 }
    }
    return count
  }
}
