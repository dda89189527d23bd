internal import Bytes
internal import TensorModel

/// How a tokenizer.json that was made from SentencePiece adds spaces to a text.
struct Spacing {
  /// Whether a space is added before a text.
  private(set) var addsSpace = false
  /// A note on what llama.cpp does differently; nil if nothing.
  private(set) var note: String?
  private var marksSpaces = false

  private static let mark = "▁"

  /// Reads a normalizer and a pre-tokenizer; nil if they do something that SentencePiece does not.
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
    // Gemma splits at spaces, but its normalizer has replaced all of them.
    case "Split": return marksSpaces && value["pattern"]?["String"]?.string == " "
    case "Metaspace":
      marksSpaces = true
      // Old files state whether a space is added, newer ones where it is added.
      let adds = value["add_prefix_space"]?.bool ?? true
      let scheme = value["prepend_scheme"]?.string ?? (adds ? "always" : "never")
      addsSpace = scheme != "never"
      // If a text begins with a space, SentencePiece and llama.cpp add another one. Metaspace does not.
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
  /// How spaces are added; nil if the file was not made from SentencePiece.
  var spacing: Spacing? {
    Spacing(
      normalizer: parts["normalizer"] ?? .null, preTokenizer: parts["pre_tokenizer"] ?? .null)
  }
}
