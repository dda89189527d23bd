internal import Bytes
internal import Formats
internal import TensorModel

/// A step that divides a text into parts, or changes it, before the model makes tokens of each part.
enum SplitStep: Sendable {
  /// A space comes before the text unless it begins with one.
  case prefixSpace
  /// Words as a known pattern has them.
  case words(WordScanner)
  /// Runs of scalars of a class, of at most `count`; what is between them is a part, too.
  case runs(ScalarClass, count: Int)
  /// Runs of the bytes for which byte-level tokenizers write digits; likewise.
  case byteDigits
  /// Matches of a pattern; what is between them is a part, too, unless `keepsGaps` is false.
  case pattern(String, keepsGaps: Bool)
  /// ▁ for each space, and before the text as `scheme` says; then perhaps parts that begin with ▁.
  case metaspace(MetaspaceScheme, splits: Bool)
  /// Parts between white space.
  case unspaced
  /// Parts that end with a text.
  case after([UInt8])

  /// Before which parts of a text ▁ comes.
  enum MetaspaceScheme: String, Sendable {
    case always
    case first
    case never
  }
}

// MARK: - Reading

extension SplitStep {
  /// The steps of a tokenizer.
  ///
  /// Throws `unsupported` for those that Pleat does not know.
  static func steps(of fast: FastTokenizer) throws(ModelError) -> [SplitStep] {
    if let fault = fast.patternFault { throw fault }
    let splitter = fast.preTokenizer
    guard splitter.isByteLevel else {
      return try pieceSteps(fast.parts["pre_tokenizer"] ?? .null, fast.source)
    }
    var steps: [SplitStep] = []
    for step in splitter.steps {
      switch step {
      case .prefixSpace: steps.append(.prefixSpace)
      case .split(PreTokenizer.letterDigits): steps.append(.byteDigits)
      case .split(let pattern): steps.append(try matching(pattern, keepsGaps: true, fast.source))
      case .keep(let pattern): steps.append(try matching(pattern, keepsGaps: false, fast.source))
      case .other(let name): throw unknown(name, fast.source)
      }
    }
    return steps
  }

  private static let runs: [String: (ScalarClass, Int)] = [
    #"\p{N}"#: (.number, 1), #"\p{N}+"#: (.number, .max), #"\p{N}{1,3}"#: (.number, 3),
    "[\r\n]": (.newline, 1), #"[\r\n]"#: (.newline, 1),
    PreTokenizer.punctuationPattern: (.splitPunctuation, 1),
    PreTokenizer.punctuationPattern + "+": (.splitPunctuation, .max),
  ]

  private static func matching(
    _ pattern: String, keepsGaps: Bool, _ file: String
  ) throws(ModelError) -> SplitStep {
    // These patterns leave no gaps.
    if let scanner = WordScanner.scanner(for: pattern) { return .words(scanner) }
    if keepsGaps, let (kind, count) = runs[pattern] { return .runs(kind, count: count) }
    guard regex(pattern) != nil else { throw unknown("the pattern \(pattern)", file) }
    return .pattern(pattern, keepsGaps: keepsGaps)
  }

  /// What means something else in Swift than in Oniguruma, or nothing.
  private static let otherMeaning = [
    #"\b"#, #"\B"#, #"\w"#, #"\W"#, #"\h"#, #"\X"#, #"\R"#, "(?<", "(?i",
  ]

  /// `KnownPreTokenizer.contractions` in ASCII.
  private static let asciiEndings = "'[sStTmMdD]|'[rRvV][eE]|'[lL][lL]"

  /// Compiles a pattern, which then matches as in Oniguruma; nil if it cannot be known to.
  fileprivate static func regex(_ pattern: String) -> Regex<AnyRegexOutput>? {
    var text = pattern
    if pattern == KnownPreTokenizer.digitGroups {
      // After a digit, a word ends where no scalar of a word follows.
      text.replace(#"\b"#, with: #"(?![\p{Alphabetic}\p{M}\p{Nd}\p{Pc}])"#)
    }
    // Without regard to case, ſ is a form of s, but not in Swift.
    text.replace(KnownPreTokenizer.contractions, with: "(?:'ſ|\(asciiEndings))")
    guard !otherMeaning.contains(where: text.contains) else { return nil }
    // In Swift, `\d` is any scalar with a numeric value, and `\p{Han}` also what Han texts share with
    // others.
    text.replace(#"\d"#, with: #"\p{Nd}"#)
    text.replace(#"\p{Han}"#, with: #"\p{Script=Han}"#)
    return try? Regex(text)
      .matchingSemantics(.unicodeScalar)
  }

  /// The steps of a tokenizer that marks spaces with ▁.
  private static func pieceSteps(
    _ value: JSONValue, _ file: String
  ) throws(ModelError) -> [SplitStep] {
    switch value["type"]?.string {
    case nil: return []
    case "Sequence":
      var steps: [SplitStep] = []
      for part in value["pretokenizers"]?.array ?? [] { steps += try pieceSteps(part, file) }
      return steps
    case "WhitespaceSplit": return [.unspaced]
    case "Metaspace" where value["replacement"]?.string == "▁":
      // Old files state whether ▁ is added, newer ones where it is added.
      let adds = value["add_prefix_space"]?.bool ?? true
      let name = value["prepend_scheme"]?.string ?? (adds ? "always" : "never")
      guard let scheme = MetaspaceScheme(rawValue: name) else {
        throw unknown("Metaspace with prepend_scheme \(name)", file)
      }
      return [.metaspace(scheme, splits: value["split"]?.bool ?? true)]
    case "Split" where value["behavior"]?.string == "MergedWithPrevious":
      guard let text = value["pattern"]?["String"]?.string, !text.isEmpty,
        value["invert"]?.bool != true
      else { throw unknown("Split MergedWithPrevious by a pattern", file) }
      return [.after(Array(text.utf8))]
    case let type?: throw unknown(type, file)
    }
  }

  private static func unknown(_ found: String, _ file: String) -> ModelError {
    ModelError(
      .unsupported, "Pleat does not split text as this tokenizer does", file: file,
      tensor: "pre_tokenizer", found: found,
      hint: "make the tokens with Hugging Face's tokenizers, and pass them as a file of tokens")
  }
}

// MARK: - Splitting

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
