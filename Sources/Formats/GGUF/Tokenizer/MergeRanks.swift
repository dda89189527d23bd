internal import TensorModel

/// The scores of tokens that replace the merges of a tokenizer.json.
///
/// llama.cpp joins any two neighbours whose text together is a token, the highest score first. A
/// tokenizer.json has a list of merges instead. The results are the same if the list contains every
/// pair that makes a token, and if the merges that make the same token are adjacent. This is the
/// case in files that were made from a SentencePiece model.
struct MergeRanks {
  // For each token of the vocabulary the rank of the first merge that makes it, or -1.
  private var first: [Int32]
  /// A note for the user; nil if nothing differs.
  private(set) var note: String?

  /// The vocabulary is refused if more than one token in this many has other merges in llama.cpp.
  private static let tolerance = 100

  /// Ranks the merges of a file.
  ///
  /// Throws `unsupported` if llama.cpp would join other pairs for too many tokens.
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
    let beginnings = PrefixChains(texts, atEnd: false)
    let ends = PrefixChains(texts, atEnd: true)
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
        .unsupported, "llama.cpp joins any two parts that make a token, this tokenizer does not",
        file: FastTokenizer.file, tensor: "model.merges",
        found: "\(differing) of \(texts.count) tokens with other merges",
        hint: GGUFTokenizer.donorHint)
    }
    if differing > 0 {
      note =
        "llama.cpp joins any two parts that make a token, this tokenizer does not for \(differing)"
        + " of \(texts.count) tokens: their ids may differ"
    }
  }

  /// The score of a token by its index in the vocabulary.
  func score(_ index: Int) -> Float { first[index] < 0 ? 0 : -Float(first[index]) }

  /// The number of ways to make a text from two tokens.
  ///
  /// `beginnings` and `ends` are the lengths of the tokens that it begins and ends with, the longest
  /// first. A split within a UTF-8 character does not count.
  private static func pairCount(
    _ text: ArraySlice<UInt8>, _ beginnings: [Int], _ ends: [Int]
  ) -> Int {
    var count = 0
    // Longer beginnings need shorter ends. So both lists are passed only once.
    var next = 0
    for length in beginnings.reversed() {
      while next < ends.count, length + ends[next] > text.count { next += 1 }
      guard next < ends.count, length + ends[next] == text.count else { continue }
      if text[text.startIndex + length] & 0xC0 != 0x80 { count += 1 }
    }
    return count
  }
}
