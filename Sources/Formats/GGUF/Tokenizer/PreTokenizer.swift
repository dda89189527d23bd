internal import Bytes
internal import TensorModel

/// How a byte-level tokenizer splits a text before it joins bytes, as its tokenizer.json defines it.
///
/// Recognised by definition: llama.cpp's converter instead encodes one text and looks the ids' hash
/// up, which finds only the vocabularies that somebody has listed, and says nothing of why.
struct PreTokenizer: Equatable {
  /// One step; each splits what the one before has left.
  enum Step: Hashable {
    /// Each match of a pattern becomes a part, and so does what is between matches.
    case split(String)
    /// Each match becomes a part; what is between matches is lost.
    case keep(String)
    /// Something else, in the words of the file.
    case other(String)
  }

  /// The pattern of GPT-2, which `ByteLevel` splits by unless told otherwise.
  static let gpt2Pattern =
    #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#

  /// The steps, without the last, which turns bytes into letters.
  private(set) var steps: [Step] = []
  /// Whether the last step turns bytes into letters.
  private(set) var isByteLevel = false

  /// The steps of a `pre_tokenizer`.
  init(_ value: JSONValue) { append(value) }

  /// What splits so, of several rather that which takes words whole or not; nil when nothing is known.
  func known(ignoringMerges: Bool) -> KnownPreTokenizer? {
    guard isByteLevel else { return nil }
    var patterns: [String] = []
    for step in steps {
      switch step {
      case .split(let pattern): patterns.append(pattern)
      // The known patterns match everything, so that nothing is between matches.
      case .keep(let pattern) where steps.count == 1: patterns.append(pattern)
      default: return nil
      }
    }
    let known = KnownPreTokenizer.all.filter { $0.definitions.contains(patterns) }
    return known.first { $0.ignoresMerges == ignoringMerges } ?? known.first
  }

  private mutating func append(_ value: JSONValue) {
    let type = value["type"]?.string ?? "null"
    // Letters that stand for bytes are split by no pattern that we know.
    guard !isByteLevel else { return steps.append(.other(type + " after ByteLevel")) }
    switch type {
    case "Sequence": for part in value["pretokenizers"]?.array ?? [] { append(part) }
    case "Split": steps.append(Self.split(value))
    case "Digits":
      steps.append(.split(value["individual_digits"]?.bool == true ? #"\p{N}"# : #"\p{N}+"#))
    case "ByteLevel":
      if value["add_prefix_space"]?.bool ?? true {
        steps.append(.other("ByteLevel with add_prefix_space"))
      }
      if value["use_regex"]?.bool ?? true { steps.append(.split(Self.gpt2Pattern)) }
      isByteLevel = true
    default: steps.append(.other(type))
    }
  }

  private static func split(_ value: JSONValue) -> Step {
    let behavior = value["behavior"]?.string ?? ""
    let inverts = value["invert"]?.bool ?? false
    guard let pattern = value["pattern"]?["Regex"]?.string else {
      return .other("Split by a text that is no pattern")
    }
    switch (behavior, inverts) {
    case ("Isolated", _): return .split(pattern)
    case ("Removed", true): return .keep(pattern)
    default: return .other("Split \(behavior)\(inverts ? ", inverted," : "") by \(pattern)")
    }
  }

  /// The steps in words, for a message.
  var description: String {
    guard isByteLevel || !steps.isEmpty else { return "none" }
    var words = steps.map { step in
      switch step {
      case .split(let pattern): "Split by \(pattern)"
      case .keep(let pattern): "Split Removed, inverted, by \(pattern)"
      case .other(let text): text
      }
    }
    if isByteLevel { words.append("ByteLevel") }
    return words.joined(separator: ", ")
  }
}
