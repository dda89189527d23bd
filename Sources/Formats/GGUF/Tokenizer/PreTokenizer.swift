internal import Bytes
internal import TensorModel

/// How a byte-level tokenizer splits a text before it applies merges, as tokenizer.json defines it.
///
/// Pleat recognizes a pre-tokenizer by its definition. llama.cpp's converter instead encodes a
/// sample text and looks up the hash of its ids. That finds only vocabularies that are listed, and
/// gives no reason for a failure.
package struct PreTokenizer: Equatable {
  /// A step, which splits the parts that the previous step made.
  package enum Step: Hashable {
    /// A space comes before the text unless it begins with one.
    case prefixSpace
    /// Each match of a pattern becomes a part, and so does the text between matches.
    case split(String)
    /// Each match of a pattern becomes a part; the text between matches is dropped.
    case keep(String)
    /// Any other step, in the words of the file.
    case other(String)
  }

  /// The pattern of GPT-2, by which `ByteLevel` splits unless the file says otherwise.
  package static let gpt2Pattern =
    #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#

  /// What `Punctuation` takes as such: all of ASCII and of Unicode.
  package static let punctuationPattern = #"[\p{P}!-/:-@\[-`{-~]"#
  /// Three digits, which are also the letters that stand for their bytes.
  package static let threeDigits = "[0-9][0-9][0-9]"
  /// Runs of digits among the letters that stand for bytes, for messages.
  package static let letterDigits = #"\p{N}+ after ByteLevel"#

  /// The steps, except the one that turns bytes into letters.
  package private(set) var steps: [Step] = []
  /// Whether a step turns bytes into letters.
  package private(set) var isByteLevel = false

  /// Reads the steps of a `pre_tokenizer`.
  init(_ value: JSONValue) { append(value) }

  /// The known pre-tokenizer with this definition; nil if there is none.
  ///
  /// Of several, it is the one with the same merge behavior.
  func known(ignoringMerges: Bool) -> KnownPreTokenizer? {
    guard isByteLevel else { return nil }
    var patterns: [String] = []
    for step in steps {
      switch step {
      case .split(let pattern): patterns.append(pattern)
      // Known patterns match every character, so there is no text between matches.
      case .keep(let pattern) where steps.count == 1: patterns.append(pattern)
      default: return nil
      }
    }
    let exact = patterns.map(ExactName.init)
    let known = KnownPreTokenizer.all.filter {
      $0.definitions.contains { $0.map(ExactName.init) == exact }
    }
    return known.first { $0.ignoresMerges == ignoringMerges } ?? known.first
  }

  private mutating func append(_ value: JSONValue) {
    let type = value["type"]?.string ?? "null"
    guard !isByteLevel else { return steps.append(Self.letterStep(value, type)) }
    switch type {
    case "Sequence": for part in value["pretokenizers"]?.array ?? [] { append(part) }
    case "Split": steps.append(Self.split(value))
    case "Digits":
      steps.append(.split(value["individual_digits"]?.bool == true ? #"\p{N}"# : #"\p{N}+"#))
    case "Punctuation": steps.append(Self.punctuation(value))
    case "ByteLevel":
      if value["add_prefix_space"]?.bool ?? true {
        steps.append(.prefixSpace)
      }
      if value["use_regex"]?.bool ?? true { steps.append(.split(Self.gpt2Pattern)) }
      isByteLevel = true
    default: steps.append(.other(type))
    }
  }

  /// A step that splits the letters that stand for bytes, as Falcon has them.
  private static func letterStep(_ value: JSONValue, _ type: String) -> Step {
    switch type {
    case "Digits" where value["individual_digits"]?.bool != true: return .split(letterDigits)
    case "Split" where split(value) == .split(threeDigits): return .split(threeDigits)
    default: return .other(type + " after ByteLevel")
    }
  }

  private static func punctuation(_ value: JSONValue) -> Step {
    switch value["behavior"]?.string ?? "Isolated" {
    case "Isolated": .split(punctuationPattern)
    case "Contiguous": .split(punctuationPattern + "+")
    case let behavior: .other("Punctuation \(behavior)")
    }
  }

  private static func split(_ value: JSONValue) -> Step {
    let behavior = value["behavior"]?.string ?? ""
    let inverts = value["invert"]?.bool ?? false
    guard let pattern = value["pattern"]?["Regex"]?.string else {
      return .other("Split by a text instead of a pattern")
    }
    switch (behavior, inverts) {
    case ("Isolated", _): return .split(pattern)
    case ("Removed", true): return .keep(pattern)
    default: return .other("Split \(behavior)\(inverts ? ", inverted," : "") by \(pattern)")
    }
  }

  /// The steps as a text for messages.
  var description: String {
    guard isByteLevel || !steps.isEmpty else { return "none" }
    var words = steps.map { step in
      switch step {
      case .prefixSpace: "ByteLevel with add_prefix_space"
      case .split(let pattern): "Split by \(pattern)"
      case .keep(let pattern): "Split Removed, inverted, by \(pattern)"
      case .other(let text): text
      }
    }
    if isByteLevel { words.append("ByteLevel") }
    return words.joined(separator: ", ")
  }
}
