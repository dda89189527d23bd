/// Applies steps one after another: each divides the parts that the previous one made.
struct TextSplitter: Sendable {
  let steps: [SplitStep]
  private let classes = ScalarClasses.shared

  init(_ steps: [SplitStep]) { self.steps = steps }

  /// Calls `body` for each part of a text, with the bytes that contain it and its place in them.
  ///
  /// `isFirst` is whether the text begins the whole text. The bytes are valid UTF-8.
  func forEachPart(
    of text: [UInt8], _ range: Range<Int>, isFirst: Bool,
    _ body: ([UInt8], Range<Int>) -> Void
  ) {
    var patterns: [Regex<AnyRegexOutput>?] = []
    for case .pattern(let pattern, _) in steps {
      patterns.append(SplitStep.regex(pattern))
    }
    apply(0, text, range, isFirst, patterns[...], body)
  }

  /// Applies the steps from an index on; `patterns` are those of the steps that are left.
  private func apply(
    _ index: Int, _ text: [UInt8], _ range: Range<Int>, _ isFirst: Bool,
    _ patterns: ArraySlice<Regex<AnyRegexOutput>?>, _ body: ([UInt8], Range<Int>) -> Void
  ) {
    guard index < steps.count else { return body(text, range) }
    guard !range.isEmpty else { return }
    func next(_ part: Range<Int>) {
      if !part.isEmpty {
        apply(
          index + 1, text, part, isFirst && part.lowerBound == range.lowerBound, patterns, body)
      }
    }
    switch steps[index] {
    case .prefixSpace:
      guard text[range.lowerBound] != UInt8(ascii: " ") else { return next(range) }
      let longer = [UInt8(ascii: " ")] + text[range]
      apply(index + 1, longer, longer.indices, isFirst, patterns, body)
    case .words(let scanner):
      var start = range.lowerBound
      while start < range.upperBound {
        let end = scanner.end(of: text, from: start, limit: range.upperBound)
        if index + 1 == steps.count { body(text, start..<end) } else { next(start..<end) }
        start = end
      }
    case .runs(let kind, let count): runs(text, range, kind, count, next)
    case .byteDigits: byteDigits(text, range, next)
    case .pattern(_, let keepsGaps):
      guard let first = patterns.first, let pattern = first else { return }
      func rest(_ part: Range<Int>) {
        guard !part.isEmpty else { return }
        apply(
          index + 1, text, part, isFirst && part.lowerBound == range.lowerBound,
          patterns.dropFirst(), body)
      }
      matches(of: pattern, text, range, keepsGaps, rest)
    case .metaspace(let scheme, let splits):
      let marked = Self.marked(Array(text[range]), scheme, isFirst)
      guard splits else {
        return apply(index + 1, marked, marked.indices, isFirst, patterns, body)
      }
      Self.parts(marked, before: Self.mark) { part in
        apply(index + 1, marked, part, isFirst && part.lowerBound == 0, patterns, body)
      }
    case .unspaced: unspaced(text, range, next)
    case .after(let separator): Self.parts(text, range, after: separator, next)
    }
  }

  private func unspaced(_ text: [UInt8], _ range: Range<Int>, _ next: (Range<Int>) -> Void) {
    var (start, index) = (range.lowerBound, range.lowerBound)
    while index < range.upperBound {
      let (value, length) = text.scalar(at: index)
      if classes[value].contains(.space) {
        next(start..<index)
        start = index + length
      }
      index += length
    }
    next(start..<range.upperBound)
  }

  private func runs(
    _ text: [UInt8], _ range: Range<Int>, _ kind: ScalarClass, _ limit: Int,
    _ next: (Range<Int>) -> Void
  ) {
    var (start, index, count) = (range.lowerBound, range.lowerBound, 0)
    while index < range.upperBound {
      let (value, length) = text.scalar(at: index)
      let isMember = !classes[value].isDisjoint(with: kind)
      if isMember ? count == 0 || count == limit : count > 0 {
        next(start..<index)
        (start, count) = (index, 0)
      }
      if isMember { count += 1 }
      index += length
    }
    next(start..<index)
  }

  /// Whether byte-level tokenizers write a digit of any kind for a byte.
  private static func isDigit(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"), 0xB2, 0xB3, 0xB9, 0xBC...0xBE: true
    default: false
    }
  }

  private func byteDigits(_ text: [UInt8], _ range: Range<Int>, _ next: (Range<Int>) -> Void) {
    var start = range.lowerBound
    for index in range.dropFirst()
    where Self.isDigit(text[index]) != Self.isDigit(text[index - 1]) {
      next(start..<index)
      start = index
    }
    next(start..<range.upperBound)
  }

  private func matches(
    of pattern: Regex<AnyRegexOutput>, _ text: [UInt8], _ range: Range<Int>, _ keepsGaps: Bool,
    _ next: (Range<Int>) -> Void
  ) {
    let string = String(decoding: text[range], as: UTF8.self)
    var (start, place) = (range.lowerBound, string.startIndex)
    for match in string.matches(of: pattern) {
      let from = start + string.utf8.distance(from: place, to: match.range.lowerBound)
      let to = from + string.utf8.distance(from: match.range.lowerBound, to: match.range.upperBound)
      if keepsGaps { next(start..<from) }
      next(from..<to)
      (start, place) = (to, match.range.upperBound)
    }
    if keepsGaps { next(start..<range.upperBound) }
  }

  // MARK: - ▁

  private static let mark = Array("▁".utf8)

  private static func marked(
    _ text: [UInt8], _ scheme: SplitStep.MetaspaceScheme, _ isFirst: Bool
  ) -> [UInt8] {
    var marked: [UInt8] = []
    marked.reserveCapacity(text.count * 5 / 4 + mark.count)
    let adds = scheme == .always || scheme == .first && isFirst
    if adds, text.first != UInt8(ascii: " "), !text.starts(with: mark) { marked += mark }
    for byte in text {
      if byte == UInt8(ascii: " ") { marked += mark } else { marked.append(byte) }
    }
    return marked
  }

  /// Parts that begin with a separator, except perhaps the first one.
  private static func parts(
    _ text: [UInt8], before separator: [UInt8], _ next: (Range<Int>) -> Void
  ) {
    var (start, index) = (0, 0)
    while index < text.count {
      if text[index...].starts(with: separator) {
        if index > start { next(start..<index) }
        start = index
        index += separator.count
      } else {
        index += 1
      }
    }
    if start < text.count { next(start..<text.count) }
  }

  /// Parts that end with a separator, except perhaps the last one.
  private static func parts(
    _ text: [UInt8], _ range: Range<Int>, after separator: [UInt8], _ next: (Range<Int>) -> Void
  ) {
    var (start, index) = (range.lowerBound, range.lowerBound)
    while index < range.upperBound {
      if text[index..<range.upperBound].starts(with: separator) {
        index += separator.count
        next(start..<index)
        start = index
      } else {
        index += 1
      }
    }
    next(start..<range.upperBound)
  }
}
