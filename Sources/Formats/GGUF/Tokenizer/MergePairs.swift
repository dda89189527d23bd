internal import TensorModel

/// The merges of a tokenizer: the ids of their left and right parts, in the order of their ranks.
struct MergePairs {
  /// The parts of a merge.
  typealias Pair = (left: Int, right: Int)

  private(set) var pairs: [Pair] = []

  private static let key = "tokenizer.ggml.merges"
  private static let space = UInt8(ascii: " ")
  // The time to find the merges of a token grows with the square of its length.
  private static let lengthLimit = 1024

  /// Reads the merges that metadata list.
  ///
  /// Throws `malformed` if there are none, or if one has a part or a result that is not a token.
  init(_ metadata: Metadata, _ vocabulary: ListedVocabulary) throws(ModelError) {
    guard case .array(let list)? = metadata[Self.key], list.elementType == .string else {
      throw ModelError(
        .malformed, "the tokenizer lacks a list", tensor: Self.key, expected: "an array of string",
        found: metadata[Self.key] == nil ? "nothing" : "another type")
    }
    for (rank, text) in list.texts.enumerated() {
      let bytes = Array(text.utf8)
      // As in llama.cpp, the first part has at least one byte, which may be a space.
      guard let end = bytes.dropFirst().firstIndex(of: Self.space),
        let left = vocabulary.id(of: bytes[..<end]),
        let right = vocabulary.id(of: bytes[(end + 1)...]),
        vocabulary.id(of: (bytes[..<end] + bytes[(end + 1)...])[...]) != nil
      else {
        throw ModelError(
          .malformed, "merge \(rank) has a part or a result that is not in the vocabulary",
          tensor: Self.key, found: "'\(text)'")
      }
      pairs.append((left, right))
    }
  }

  /// Makes the merges that join the same parts as the scores of a SentencePiece vocabulary.
  ///
  /// SentencePiece joins any two neighbors whose text together is a token, the highest score first.
  /// So every such pair is a merge. Merges of the same score are in the order of transformers, the
  /// longest left part first. Tokens that SentencePiece does not make by joining are left out:
  /// control tokens, bytes, and those that are found before a text is split.
  ///
  /// Throws `limit` for very long tokens.
  init(scoresOf vocabulary: ListedVocabulary) throws(ModelError) {
    var merges: [Merge] = []
    for id in vocabulary.texts.indices where vocabulary.has(id) {
      guard vocabulary.kinds[id] == .normal || vocabulary.kinds[id] == .unused else { continue }
      let text = vocabulary.bytes(id)
      guard text.count <= Self.lengthLimit else {
        throw ModelError(
          .limit, "token \(id) is too long", tensor: GGUFTokenizer.tokensKey,
          expected: "at most \(Self.lengthLimit) bytes", found: "\(text.count)")
      }
      let starts = text.indices.filter { text[$0] & 0xC0 != 0x80 }
      for (length, start) in starts.enumerated().dropFirst() {
        guard let left = vocabulary.id(of: text[..<start]),
          let right = vocabulary.id(of: text[start...])
        else { continue }
        merges.append(
          Merge(
            score: vocabulary.scores[id], leftLength: length, rightLength: starts.count - length,
            result: id, parts: (left, right)))
      }
    }
    merges.sort { $0.precedes($1) }
    pairs = merges.map(\.parts)
  }

  /// A merge and what decides its rank.
  private struct Merge {
    let score: Float
    let leftLength: Int  // characters
    let rightLength: Int
    let result: Int
    let parts: Pair

    func precedes(_ other: Merge) -> Bool {
      if score != other.score { return score > other.score }
      if leftLength != other.leftLength { return leftLength > other.leftLength }
      if rightLength != other.rightLength { return rightLength > other.rightLength }
      return result < other.result
    }
  }
}
