internal import Bytes
internal import Formats

/// Replaces characters by the table of a SentencePiece model, as Hugging Face's tokenizers do.
///
/// They look up grapheme clusters of fewer than six bytes, and the scalars of others.
struct CharacterMapNormalizer: Sendable {
  private let map: CharacterMap
  /// What becomes of each scalar of the basic plane, one scalar or none, if it is simple: if its
  /// neighbors, when they are simple too, are other clusters.
  private let results: [UInt16]

  private static let none: UInt16 = 0xFFFE
  private static let notSimple: UInt16 = 0xFFFF
  private static let clusterLimit = 6

  init(_ map: CharacterMap) {
    self.map = map
    results = (0..<0xFFFE).map { value in
      guard let scalar = Unicode.Scalar(UInt32(value)), scalar.isAloneAmongLetters else {
        return Self.notSimple
      }
      let bytes = Array(String(scalar).utf8)
      guard let new = map.replacement(ofPrefixOf: bytes[...]) else { return UInt16(value) }
      let text = String(decoding: new, as: UTF8.self)  // a table may have other bytes than UTF-8
      guard let first = text.unicodeScalars.first else { return Self.none }
      let isOnly = text.unicodeScalars.count == 1 && text.utf8.elementsEqual(new)
      return isOnly && first.value < Self.none ? UInt16(first.value) : Self.notSimple
    }
  }

  /// The normalized form of valid UTF-8.
  func normalized(_ text: [UInt8]) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(text.count + text.count / 4)
    var index = 0
    while index < text.count {
      let (new, length) = self.result(text, index)
      var end = index + length
      var (isSimple, nextLength) = follower(of: text, end)
      if new != Self.notSimple, isSimple {
        if new != Self.none { result.append(scalar: UInt32(new)) }
        index = end
        continue
      }
      var wasSimple = new != Self.notSimple
      while end < text.count, !(wasSimple && isSimple) {
        end += nextLength
        wasSimple = isSimple
        (isSimple, nextLength) = follower(of: text, end)
      }
      appendClusters(of: text, index..<end, to: &result)
      index = end
    }
    return result
  }

  @inline(__always)
  private func result(_ text: [UInt8], _ index: Int) -> (new: UInt16, length: Int) {
    let (value, length) = text.scalar(at: index)
    return (value < results.count ? results[Int(value)] : Self.notSimple, length)
  }

  /// Whether the scalar at a place is simple, and its length; the end of a text is.
  @inline(__always)
  private func follower(of text: [UInt8], _ index: Int) -> (isSimple: Bool, length: Int) {
    guard index < text.count else { return (true, 0) }
    let (new, length) = result(text, index)
    return (new != Self.notSimple, length)
  }

  private func appendClusters(
    of text: [UInt8], _ range: Range<Int>, to result: inout [UInt8]
  ) {
    var start = range.lowerBound
    for cluster in String(decoding: text[range], as: UTF8.self) {
      let end = start + cluster.utf8.count
      if end - start < Self.clusterLimit,
        let new = map.replacement(ofPrefixOf: text[start..<end])
      {
        result += new
        start = end
      }
      while start < end {
        let scalar = start..<start + text.scalar(at: start).length
        if let new = map.replacement(ofPrefixOf: text[scalar]) {
          result += new
        } else {
          result += text[scalar]
        }
        start = scalar.upperBound
      }
    }
  }
}

extension Unicode.Scalar {
  /// Whether a text of such scalars has as many grapheme clusters as scalars.
  fileprivate var isAloneAmongLetters: Bool {
    switch value {
    case 0x3400...0x9FFF, 0xAC00...0xD7A3: true  // ideographs, Korean syllables
    // Korean letters form syllables with each other, and a carriage return joins a line feed.
    case 0x1100...0x11FF, 0xA960...0xA97F, 0xD7B0...0xD7FF, 0x0D: false
    default: "a\(self)a".count == 3
    }
  }
}
