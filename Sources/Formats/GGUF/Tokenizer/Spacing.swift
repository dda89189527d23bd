internal import Bytes
internal import TensorModel

/// Whether and where a tokenizer.json made from SentencePiece puts spaces that a text does not have.
struct Spacing {
  /// Whether a text begins with a space of its own.
  private(set) var addsSpace = false
  /// What llama.cpp does otherwise; nil when nothing.
  private(set) var note: String?
  private var marksSpaces = false

  private static let mark = "▁"

  /// What normalizer and pre-tokenizer say; nil when they do what SentencePiece does not.
  init?(normalizer: JSONValue, preTokenizer: JSONValue) {
    guard readNormalizer(normalizer), readPreTokenizer(preTokenizer), marksSpaces else {
      return nil
    }
  }

  private mutating func readNormalizer(_ value: JSONValue) -> Bool {
    switch value["type"]?.string {
    case nil, "NFC": return true
    case "Sequence":
      for part in value["normalizers"]?.array ?? [] where !readNormalizer(part) { return false }
      return true
    case "Prepend":
      addsSpace = true
      return value["prepend"]?.string == Self.mark
    case "Replace":
      marksSpaces = true
      return value["pattern"]?["String"]?.string == " " && value["content"]?.string == Self.mark
    default: return false
    }
  }

  private mutating func readPreTokenizer(_ value: JSONValue) -> Bool {
    switch value["type"]?.string {
    case nil: return true
    case "Sequence":
      for part in value["pretokenizers"]?.array ?? [] where !readPreTokenizer(part) { return false }
      return true
    // Gemma splits at spaces, of which its normalizer has left none.
    case "Split": return marksSpaces && value["pattern"]?["String"]?.string == " "
    case "Metaspace":
      marksSpaces = true
      // Old files say whether, newer ones where.
      let adds = value["add_prefix_space"]?.bool ?? true
      let scheme = value["prepend_scheme"]?.string ?? (adds ? "always" : "never")
      addsSpace = scheme != "never"
      // Metaspace adds no space to one that is there, as SentencePiece itself and llama.cpp do.
      if addsSpace {
        note =
          "llama.cpp adds a space before text that begins with one"
          + (scheme == "first" ? " or follows a special token" : "")
          + ", unlike this tokenizer: ids of such text may differ"
      }
      return value["replacement"]?.string == Self.mark && value["split"]?.bool == false
    default: return false
    }
  }
}

extension FastTokenizer {
  /// Where spaces go; nil when the file was not made from SentencePiece.
  var spacing: Spacing? {
    Spacing(
      normalizer: parts["normalizer"] ?? .null, preTokenizer: parts["pre_tokenizer"] ?? .null)
  }
}
