internal import Bytes
internal import Formats
internal import TensorModel

/// Makes tokens of a word so that the sum of their scores is the largest (the Viterbi algorithm).
///
/// It is a class for the same reason as `WordPieceModel`.
final class UnigramModel: Sendable {
  private let texts: TextIndex
  private let ids: [Int]
  private let scores: [Double]
  private let tree: TextTree
  /// The index of the token for letters that are no token.
  private let unknown: Int
  private let unknownScore: Double
  /// Whether several unknown letters may together be a token.
  private let joinsUnknown: Bool
  /// The tokens for bytes; nil without byte fallback, and unless all of them are there.
  private let bytes: [Int32]?

  /// What the score of an unknown letter is below the lowest score.
  private static let penalty = 10.0

  /// Reads the model of a tokenizer.
  ///
  /// Throws `unsupported` for a model without a token for unknown letters, and `malformed`.
  init(_ fast: FastTokenizer) throws(ModelError) {
    if let text = fast.repeatedText {
      throw ModelError(
        .malformed, "the vocabulary has a token twice", file: fast.source, tensor: "model",
        found: "'\(text)'")
    }
    guard let unknown = fast.model["unk_id"]?.int, fast.scores.indices.contains(unknown),
      let lowest = fast.scores.min()
    else {
      throw ModelError(
        .unsupported, "no token stands for unknown letters", file: fast.source,
        tensor: "model.unk_id")
    }
    (texts, ids, scores) = (fast.texts, fast.ids, fast.scores)
    self.unknown = unknown
    if case .pieces(let pieces) = fast.llamaSteps {
      (tree, unknownScore) = (TextTree(fast.texts, except: unknown), pieces.unknownScore)
      joinsUnknown = false
    } else {
      (tree, unknownScore) = (TextTree(fast.texts), lowest - Self.penalty)
      joinsUnknown = true
    }
    if fast.model["byte_fallback"]?.bool == true {
      let found = (UInt8.min...UInt8.max).compactMap { byte in
        fast.texts.index(of: MergeModel.fallback(byte)[...]).map { Int32(clamping: fast.ids[$0]) }
      }
      guard found.count == 256 else {
        throw ModelError(
          .unsupported, "the vocabulary has no token for some bytes", file: fast.source,
          tensor: "model.byte_fallback", expected: "256 tokens", found: "\(found.count)")
      }
      bytes = found
    } else {
      bytes = nil
    }
  }

  /// The best tokens of the text up to a place.
  private struct Best {
    var score = 0.0
    /// Where the last token begins; -1 if no tokens lead here.
    var start = -1
    var token = -1
  }

  /// Appends the tokens of a word, which is valid UTF-8.
  ///
  /// Unknown letters in a row are one token, or their bytes.
  func append(_ text: [UInt8], _ range: Range<Int>, to result: inout [Int32]) {
    let best = bestTokens(of: text, range)
    var parts: [(token: Int, range: Range<Int>)] = []
    var end = range.upperBound
    while end > range.lowerBound {
      let last = best[end - range.lowerBound]
      if last.token == unknown, let next = parts.last, next.token == unknown {
        parts[parts.count - 1].range = last.start..<next.range.upperBound
      } else {
        parts.append((last.token, last.start..<end))
      }
      end = last.start
    }
    for part in parts.reversed() {
      if part.token != unknown {
        result.append(Int32(clamping: ids[part.token]))
      } else if joinsUnknown, let token = texts.index(of: text[part.range]) {
        result.append(Int32(clamping: ids[token]))
      } else if let bytes {
        for index in part.range { result.append(bytes[Int(text[index])]) }
      } else {
        result.append(Int32(clamping: ids[unknown]))
      }
    }
  }

  /// The best tokens up to each place of a word, from its start to its end.
  private func bestTokens(of text: [UInt8], _ range: Range<Int>) -> [Best] {
    let start = range.lowerBound
    var best = [Best](repeating: Best(), count: range.count + 1)
    func reach(_ end: Int, from place: Int, _ token: Int, _ score: Double) {
      let sum = score + best[place - start].score
      guard best[end - start].start < 0 || sum > best[end - start].score else { return }
      best[end - start] = Best(score: sum, start: place, token: token)
    }
    var place = start
    while place < range.upperBound {
      let length = text.scalar(at: place).length
      var hasLetter = false
      var (node, end) = (TextTree.root, place)
      while end < range.upperBound, let next = tree.child(of: node, text[end]) {
        (node, end) = (next, end + 1)
        guard let token = tree.text(at: node) else { continue }
        reach(end, from: place, token, scores[token])
        if end - place == length { hasLetter = true }
      }
      if !hasLetter { reach(place + length, from: place, unknown, unknownScore) }
      place += length
    }
    return best
  }
}
