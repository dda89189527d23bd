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
    switch fast.llamaSteps {
    case .words: return [.unspaced, .runs(.llamaPunctuation, count: 1)]
    case .pieces: return []
    case nil: break
    }
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
  static func regex(_ pattern: String) -> Regex<AnyRegexOutput>? {
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
    case "BertPreTokenizer": return [.unspaced, .runs(.splitPunctuation, count: 1)]
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
