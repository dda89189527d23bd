internal import Formats

/// Finds added tokens in a text: the leftmost one, and of several there the longest.
struct AddedTokenFinder: Sendable {
  /// An added token, and the text by which it is found.
  struct Token: Sendable {
    let id: Int32
    let text: [UInt8]
    let isSpecial: Bool
    let stripsLeft: Bool
    let stripsRight: Bool
    let isWholeWord: Bool

    init(_ added: AddedToken, text: [UInt8]) {
      id = Int32(clamping: added.id)
      self.text = text
      isSpecial = added.isSpecial
      stripsLeft = added.stripsLeft
      stripsRight = added.stripsRight
      isWholeWord = added.isWholeWord
    }
  }

  /// A part of a text: a token, or other text if the id is nil.
  struct Part {
    let range: Range<Int>
    let id: Int32?
  }

  private var tokens: [Token] = []
  /// The nodes of a tree of bytes; the key is the number of a node and the byte that follows.
  private var edges: [UInt64: Int32] = [:]
  /// The token that ends at a node, or -1.
  private var ends: [Int32] = [-1]
  private var isFirstByte = [Bool](repeating: false, count: 256)

  /// Creates a finder; of two tokens with the same text the last one counts.
  init(_ tokens: [Token]) {
    for token in tokens where !token.text.isEmpty {
      var node: Int32 = 0
      for byte in token.text {
        let key = Self.key(node, byte)
        if let child = edges[key] {
          node = child
        } else {
          node = Int32(ends.count)
          edges[key] = node
          ends.append(-1)
        }
      }
      ends[Int(node)] = Int32(self.tokens.count)
      self.tokens.append(token)
      isFirstByte[Int(token.text[0])] = true
    }
  }

  /// Whether there are no tokens to find.
  var isEmpty: Bool { tokens.isEmpty }

  /// Divides a range of valid UTF-8 into tokens and other text; special tokens count if asked for.
  func parts(
    of text: [UInt8], _ range: Range<Int>, findingSpecial: Bool
  ) -> [Part] {
    var parts: [Part] = []
    var start = range.lowerBound
    var index = range.lowerBound
    while index < range.upperBound {
      guard isFirstByte[Int(text[index])], let found = longest(text, index, range.upperBound) else {
        index += 1
        continue
      }
      let (token, end) = (tokens[found.token], found.end)
      let match = index..<end
      index = end
      guard findingSpecial || !token.isSpecial,
        !token.isWholeWord || Self.isWhole(match, text, range)
      else { continue }
      let from =
        token.stripsLeft
        ? max(start, Self.spaceStart(text, match.lowerBound, range)) : match.lowerBound
      let to = token.stripsRight ? Self.spaceEnd(text, end, range) : end
      if start < from { parts.append(Part(range: start..<from, id: nil)) }
      parts.append(Part(range: min(from, to)..<to, id: token.id))
      start = to
    }
    if start < range.upperBound { parts.append(Part(range: start..<range.upperBound, id: nil)) }
    return parts
  }

  private func longest(_ text: [UInt8], _ start: Int, _ limit: Int) -> (token: Int, end: Int)? {
    var found: (Int, Int)?
    var node: Int32 = 0
    for index in start..<limit {
      guard let child = edges[Self.key(node, text[index])] else { break }
      node = child
      if ends[Int(node)] >= 0 { found = (Int(ends[Int(node)]), index + 1) }
    }
    return found
  }

  private static func key(_ node: Int32, _ byte: UInt8) -> UInt64 {
    UInt64(node) << 8 | UInt64(byte)
  }

  // MARK: - Neighbors

  private static func isWhole(_ match: Range<Int>, _ text: [UInt8], _ range: Range<Int>) -> Bool {
    if match.lowerBound > range.lowerBound {
      let last = scalarStart(text, before: match.lowerBound)
      if isWordScalar(text, last) { return false }
    }
    return match.upperBound == range.upperBound || !isWordScalar(text, match.upperBound)
  }

  private static func scalarStart(_ text: [UInt8], before index: Int) -> Int {
    var start = index - 1
    while start > 0, text[start] & 0xC0 == 0x80 { start -= 1 }
    return start
  }

  /// Whether a scalar belongs to a word, as `\w` says (Unicode Technical Standard 18, annex C).
  private static func isWordScalar(_ text: [UInt8], _ index: Int) -> Bool {
    guard let scalar = Unicode.Scalar(text.scalar(at: index).value) else { return false }
    let properties = scalar.properties
    if properties.isAlphabetic || properties.isJoinControl { return true }
    switch properties.generalCategory {
    case .nonspacingMark, .spacingMark, .enclosingMark, .decimalNumber, .connectorPunctuation:
      return true
    default: return false
    }
  }

  private static func isSpace(_ text: [UInt8], _ index: Int) -> Bool {
    Unicode.Scalar(text.scalar(at: index).value)?.properties.isWhitespace ?? false
  }

  private static func spaceStart(_ text: [UInt8], _ end: Int, _ range: Range<Int>) -> Int {
    var start = end
    while start > range.lowerBound {
      let previous = scalarStart(text, before: start)
      guard isSpace(text, previous) else { break }
      start = previous
    }
    return start
  }

  private static func spaceEnd(_ text: [UInt8], _ start: Int, _ range: Range<Int>) -> Int {
    var end = start
    while end < range.upperBound, isSpace(text, end) { end += text.scalar(at: end).length }
    return end
  }
}
