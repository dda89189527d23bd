internal import Bytes
internal import TensorModel

/// A vocabulary of byte sequences with ranks, which tiktoken and tekken files have.
///
/// Of all neighbors in a word whose bytes together are a token, those of the lowest rank are joined
/// first. The rank is also the id.
struct RankedVocabulary {
  /// Which merges stand for the ranks; the ids of texts are the same with both.
  enum Merges {
    /// For each token the two parts that are joined last when the token is a whole word.
    case last
    /// For each token all pairs of tokens that make it, the lowest ranks first.
    case all
  }

  /// The name of the file, for messages.
  let file: String
  private var tokens = TextIndex()
  private var ranks: [Int] = []
  // The indices of the tokens by rank; empty until the ranks are checked.
  private var order: [Int] = []

  /// The number of tokens.
  var count: Int { tokens.count }

  private static let countLimit = 1 << 24
  // The time to find the parts of a token grows with the square of its length.
  private static let lengthLimit = 1024

  /// Creates an empty vocabulary.
  init(file: String) { self.file = file }

  /// Whether a sequence of bytes is a token.
  func has(_ bytes: [UInt8]) -> Bool { tokens.index(of: bytes[...]) != nil }

  /// Adds a token.
  ///
  /// Throws `malformed` for a token without bytes and for one that occurs twice, and `limit`. `place`
  /// is where it is in the file.
  mutating func append(_ bytes: [UInt8], rank: Int, place: String) throws(ModelError) {
    guard !bytes.isEmpty else {
      throw ModelError(.malformed, "a token has no bytes", file: file, tensor: place)
    }
    guard bytes.count <= Self.lengthLimit else {
      throw ModelError(
        .limit, "a token is too long", file: file, tensor: place,
        expected: "at most \(Self.lengthLimit) bytes", found: "\(bytes.count)")
    }
    guard tokens.count < Self.countLimit else {
      throw ModelError(
        .limit, "the vocabulary has too many tokens", file: file,
        expected: "at most \(Self.countLimit)")
    }
    guard tokens.insert(bytes[...]).inserted else {
      throw ModelError(
        .malformed, "the vocabulary has a token twice", file: file, tensor: place,
        found: "'\(String(decoding: bytes, as: UTF8.self))'",
        hint: "the file is damaged: download it again")
    }
    ranks.append(rank)
  }

  /// Checks that every id has one token, and that every byte has a token.
  ///
  /// `others` are the ids of tokens that other files state: they may be between the ranks. Throws
  /// `malformed`.
  mutating func check(besides others: Set<Int>) throws(ModelError) {
    guard count > 0 else {
      throw ModelError(.malformed, "the vocabulary is empty", file: file)
    }
    order = ranks.indices.sorted { ranks[$0] < ranks[$1] }
    var next = 0
    for index in order {
      while next < ranks[index], others.contains(next) { next += 1 }
      guard ranks[index] == next else {
        throw ModelError(
          .malformed,
          ranks[index] < next ? "two tokens have the same rank" : "no token has this rank",
          file: file, tensor: "rank \(ranks[index] < next ? ranks[index] : next)",
          expected: "one token for each rank", found: "\(count) tokens",
          hint: "the file is damaged: download it again")
      }
      next += 1
    }
    for byte in UInt8.min...UInt8.max where !has([byte]) {
      throw ModelError(
        .malformed, "no token stands for this byte alone, which llama.cpp needs", file: file,
        tensor: "byte \(byte)", expected: "a token for each of the 256 bytes")
    }
  }

  /// The texts of the tokens by rank, as byte-level tokenizers write them, and their ranks.
  func texts() -> (TextIndex, ranks: [Int]) {
    var texts = TextIndex()
    for index in order { texts.insert(ByteLetters.text(of: tokens[index])[...]) }
    return (texts, order.map { ranks[$0] })
  }

  /// The left and right parts of the merges, alternating, and whether they make all tokens.
  ///
  /// Throws `limit` if they take too much memory.
  func merges(_ kind: Merges) throws(ModelError) -> (parts: TextList, makeAll: Bool) {
    var parts = TextList()
    var makeAll = true
    var byteCount = 0
    for index in order where tokens[index].count > 1 {
      let token = tokens[index]
      let last = lastSplit(of: token, rank: ranks[index])
      if last == nil { makeAll = false }
      let splits = kind == .all ? allSplits(of: token) : last.map { [$0] } ?? []
      byteCount += splits.count * token.count
      guard byteCount <= ReadLimits().headerByteCount else {
        throw ModelError(
          .limit, "the merges of the vocabulary are too large", file: file,
          expected: "at most \(ReadLimits().headerByteCount) bytes")
      }
      for split in splits {
        parts.append(ByteLetters.text(of: token[..<split]))
        parts.append(ByteLetters.text(of: token[split...]))
      }
    }
    return (parts, makeAll)
  }

  private func rank(of bytes: ArraySlice<UInt8>) -> Int? {
    tokens.index(of: bytes).map { ranks[$0] }
  }

  /// Where the parts meet that are joined last to make a token; nil if joining does not make it.
  ///
  /// Within a longer word, the bytes of a token are joined in the same order, because nothing outside
  /// changes which of them come first.
  private func lastSplit(of token: ArraySlice<UInt8>, rank limit: Int) -> Int? {
    var ends = Array(token.startIndex...token.endIndex)
    func pair(_ index: Int) -> Int { rank(of: token[ends[index]..<ends[index + 2]]) ?? .max }
    var pairs = (0..<token.count - 1).map(pair)
    while pairs.count > 1 {
      var best = 0
      for index in pairs.indices where pairs[index] < pairs[best] { best = index }
      guard pairs[best] < limit else { return nil }
      ends.remove(at: best + 1)
      pairs.remove(at: best)
      if best > 0 { pairs[best - 1] = pair(best - 1) }
      if best < pairs.count { pairs[best] = pair(best) }
    }
    return ends[1]
  }

  /// Where two tokens meet that together are a token, by the ranks of these two.
  private func allSplits(of token: ArraySlice<UInt8>) -> [Int] {
    let splits = token.indices.dropFirst().compactMap { split -> (Int, left: Int, right: Int)? in
      guard let left = rank(of: token[..<split]), let right = rank(of: token[split...]) else {
        return nil
      }
      return (split, left, right)
    }
    return splits.sorted { ($0.left, $0.right) < ($1.left, $1.right) }.map(\.0)
  }
}
