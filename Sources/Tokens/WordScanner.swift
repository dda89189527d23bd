internal import Formats

/// Finds the ends of words as the patterns of common pre-tokenizers do, without a regex engine.
///
/// These patterns match at every scalar, so words follow each other without gaps. A pattern is known
/// by its text. The alternatives are tried in the order of the pattern.
package struct WordScanner: Sendable {
  /// What a word is.
  enum Form: Sendable, Hashable {
    /// GPT-2: letters, or numbers, after a space.
    case spaced
    /// GPT-4: letters after any other scalar; marks may be letters, too.
    case prefixed(marks: Bool)
    /// GPT-4o: letters whose lowercase ones come last.
    case cased
  }

  /// Where endings such as `'s` are words or the ends of words.
  enum Endings: Sendable, Hashable {
    case none
    /// They are words, in lowercase.
    case lowercase
    /// They are words, in any case.
    case anyCase
    /// They end words, in any case.
    case attached
  }

  /// What may follow punctuation in the same word.
  enum Closing: Sendable, Hashable {
    case nothing
    case newlines
    case newlinesAndSlashes
  }

  private let form: Form
  private let endings: Endings
  /// How many digits may be together.
  private let digitCount: Int
  private let closing: Closing
  private let classes = ScalarClasses.shared

  private static let known: [(patterns: [[String]], scanner: WordScanner)] = {
    typealias Known = KnownPreTokenizer
    var known: [([[String]], WordScanner)] = [
      (
        [[PreTokenizer.gpt2Pattern]],
        WordScanner(form: .spaced, endings: .lowercase, digitCount: .max, closing: .nothing)
      ),
      (
        [[Known.plainWords]],
        WordScanner(
          form: .prefixed(marks: false), endings: .none, digitCount: 1, closing: .newlines)
      ),
      (
        [[Known.contractions + "|" + Known.plainWords]],
        WordScanner(
          form: .prefixed(marks: false), endings: .anyCase, digitCount: 1, closing: .newlines)
      ),
      (
        [[Known.markedWords]],
        WordScanner(
          form: .prefixed(marks: true), endings: .anyCase, digitCount: 1, closing: .newlines)
      ),
    ]
    for (digits, count) in [(#"\p{N}"#, 1), (#"\p{N}{1,3}"#, 3), (#"\p{N}+"#, Int.max)] {
      known.append(
        (
          Known.words(#"\p{L}+"#, digits),
          WordScanner(
            form: .prefixed(marks: false), endings: .anyCase, digitCount: count, closing: .newlines)
        ))
      for (suffix, endings) in [("", Endings.none), (Known.contractions + "?", .attached)] {
        known.append(
          (
            Known.cases(suffix, digits),
            WordScanner(
              form: .cased, endings: endings, digitCount: count,
              closing: .newlinesAndSlashes)
          ))
      }
    }
    return known
  }()

  private init(form: Form, endings: Endings, digitCount: Int, closing: Closing) {
    (self.form, self.endings) = (form, endings)
    (self.digitCount, self.closing) = (digitCount, closing)
  }

  /// The scanner for a pattern; nil if it is not known.
  package static func scanner(for pattern: String) -> WordScanner? {
    known.first { $0.patterns.contains { $0.count == 1 && $0[0] == pattern } }?.scanner
  }

  /// Where the word ends that begins at an index of valid UTF-8; nothing from `limit` on counts.
  package func end(of text: [UInt8], from start: Int, limit: Int) -> Int {
    let byte = text[start]
    if byte == UInt8(ascii: "'"), endings == .lowercase || endings == .anyCase,
      let end = ending(of: text, at: start, limit)
    {
      return end
    }
    let end =
      switch form {
      case .spaced: spacedWord(text, start, limit)
      case .prefixed(let marks):
        prefixedWord(text, start, limit, marks ? [.letter, .mark] : .letter)
      case .cased: casedWord(text, start, limit)
      }
    return end ?? space(text, start, limit)
  }

  /// The classes of the scalar at an index, and the index of the next one.
  @inline(__always)
  private func look(_ text: [UInt8], _ index: Int) -> (ScalarClass, next: Int) {
    let (value, length) = text.scalar(at: index)
    return (classes[value], index + length)
  }

  /// The end of a run of scalars, each of which has one of the classes.
  @inline(__always)
  private func run(
    _ text: [UInt8], _ start: Int, _ limit: Int, of wanted: ScalarClass, count: Int = .max
  ) -> Int {
    var (index, left) = (start, count)
    while index < limit, left > 0 {
      let (found, next) = look(text, index)
      if found.isDisjoint(with: wanted) { break }
      index = next
      left -= 1
    }
    return index
  }

  /// The end of a run of scalars that have none of the classes.
  @inline(__always)
  private func run(
    _ text: [UInt8], _ start: Int, _ limit: Int, without unwanted: ScalarClass
  ) -> Int {
    var index = start
    while index < limit {
      let (found, next) = look(text, index)
      if !found.isDisjoint(with: unwanted) { break }
      index = next
    }
    return index
  }

  /// The end of `'s`, `'t`, `'re`, `'ve`, `'m`, `'ll` or `'d`; nil for anything else.
  private func ending(of text: [UInt8], at start: Int, _ limit: Int) -> Int? {
    guard start + 1 < limit else { return nil }
    let fold: UInt8 = endings == .lowercase ? 0 : 0x20
    let first = text[start + 1]
    switch first | (first < 0x80 ? fold : 0) {
    case UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "m"), UInt8(ascii: "d"):
      return start + 2
    case let letter where start + 2 < limit:
      let second = text[start + 2]
      let pair = (letter, second | (second < 0x80 ? fold : 0))
      switch pair {
      case (UInt8(ascii: "r"), UInt8(ascii: "e")), (UInt8(ascii: "v"), UInt8(ascii: "e")),
        (UInt8(ascii: "l"), UInt8(ascii: "l")):
        return start + 3
      // ſ is a form of s.
      case (0xC5, 0xBF) where endings != .lowercase: return start + 3
      default: return nil
      }
    default: return nil
    }
  }

  /// Digits that stand together; `start` is at the first one.
  private func digits(_ text: [UInt8], _ start: Int, _ limit: Int) -> Int {
    run(text, start, limit, of: .number, count: digitCount)
  }

  /// Spaces: up to the last line end, or up to the last space before a word, or all of them.
  ///
  /// A word of GPT-2 does not end at line ends.
  private func space(_ text: [UInt8], _ start: Int, _ limit: Int) -> Int {
    var (index, last, newline) = (start, start, start)
    while index < limit {
      let (found, next) = look(text, index)
      guard found.contains(.space) else { break }
      if found.contains(.newline) { newline = next }
      (last, index) = (index, next)
    }
    if form != .spaced, newline > start { return newline }
    return index == limit || last == start ? index : last
  }

  // MARK: - Words

  private func spacedWord(_ text: [UInt8], _ start: Int, _ limit: Int) -> Int? {
    var first = start
    if text[start] == UInt8(ascii: " "), start + 1 < limit { first += 1 }
    let (found, next) = look(text, first)
    if found.contains(.letter) { return run(text, next, limit, of: .letter) }
    if found.contains(.number) { return run(text, next, limit, of: .number) }
    if found.contains(.space) { return nil }
    return run(text, next, limit, without: [.letter, .number, .space])
  }

  private func prefixedWord(
    _ text: [UInt8], _ start: Int, _ limit: Int, _ letters: ScalarClass
  ) -> Int? {
    let (found, next) = look(text, start)
    if !found.isDisjoint(with: letters) { return run(text, next, limit, of: letters) }
    if found.isDisjoint(with: [.newline, .number]) {
      let end = run(text, next, limit, of: letters)
      if end > next { return end }
    }
    return other(text, start, limit, found, next, letters)
  }

  /// The end of digits or of punctuation; nil for spaces.
  private func other(
    _ text: [UInt8], _ start: Int, _ limit: Int, _ found: ScalarClass, _ next: Int,
    _ letters: ScalarClass
  ) -> Int? {
    if found.contains(.number) { return digits(text, start, limit) }
    let unwanted = letters.union([.number, .space])
    var first = start
    if text[start] == UInt8(ascii: " ") {
      first = next
    } else if found.contains(.space) {
      return nil
    }
    let end = run(text, first, limit, without: unwanted)
    guard end > first else { return nil }
    var index = end
    while index < limit, closes(text[index]) { index += 1 }
    return index
  }

  private func closes(_ byte: UInt8) -> Bool {
    switch closing {
    case .nothing: false
    case .newlines: byte == 0x0A || byte == 0x0D
    case .newlinesAndSlashes: byte == 0x0A || byte == 0x0D || byte == UInt8(ascii: "/")
    }
  }

  private func casedWord(_ text: [UInt8], _ start: Int, _ limit: Int) -> Int? {
    let (found, next) = look(text, start)
    let mayPrecede = found.isDisjoint(with: [.newline, .letter, .number])
    let starts = mayPrecede ? [next, start] : [start]
    for first in starts {
      if let end = lowerEnd(text, first, limit) { return suffixed(text, end, limit) }
    }
    for first in starts {
      let end = run(text, first, limit, of: .upper)
      if end > first {
        return suffixed(text, run(text, end, limit, of: .lower), limit)
      }
    }
    return other(text, start, limit, found, next, .letter)
  }

  /// The end of scalars that may begin a word and one or more that may end it; nil if there are none.
  private func lowerEnd(_ text: [UInt8], _ start: Int, _ limit: Int) -> Int? {
    var index = start
    var last: Int?
    while index < limit {
      let (found, next) = look(text, index)
      guard found.contains(.upper) else { break }
      if found.contains(.lower) { last = next }
      index = next
    }
    let end = run(text, index, limit, of: .lower)
    return end > index ? end : last
  }

  private func suffixed(_ text: [UInt8], _ end: Int, _ limit: Int) -> Int {
    guard endings == .attached, end < limit, text[end] == UInt8(ascii: "'") else { return end }
    return ending(of: text, at: end, limit) ?? end
  }
}
