internal import Bytes
internal import Formats
@_spi(_Unicode) internal import Swift
internal import TensorModel

/// Changes a text before added tokens of normalized text are found in it, and before it is split.
struct TextNormalizer: Sendable {
  private enum Step: Sendable {
    /// A text that comes before every part that is not empty.
    case prepend([UInt8])
    /// A text for each occurrence of another one.
    case replace([UInt8], by: [UInt8])
    /// Unicode's normalization form C.
    case compose
    /// The table of a SentencePiece model.
    case map(CharacterMapNormalizer)
    /// A text for each run of two or more spaces.
    case joinSpaces([UInt8])
    case bert(BertNormalizer)
    case llamaPieces(LlamaPieceNormalizer)
  }

  private var steps: [Step] = []

  /// Whether texts stay as they are.
  var isIdentity: Bool { steps.isEmpty }

  /// Reads the `normalizer` of a tokenizer.
  ///
  /// Throws `unsupported` for steps that Pleat does not know.
  init(_ fast: FastTokenizer) throws(ModelError) {
    switch fast.llamaSteps {
    case .words(let lowercases, let stripsAccents):
      steps = [.bert(BertNormalizer(lowercases: lowercases, stripsAccents: stripsAccents))]
    case .pieces(let pieces): steps = [.llamaPieces(LlamaPieceNormalizer(pieces))]
    case nil: try append(fast.parts["normalizer"] ?? .null, fast.source)
    }
  }

  private mutating func append(_ value: JSONValue, _ file: String) throws(ModelError) {
    switch value["type"]?.string {
    case nil: break
    case "Sequence":
      for part in value["normalizers"]?.array ?? [] { try append(part, file) }
    case "NFC": steps.append(.compose)
    case "BertNormalizer": steps.append(.bert(BertNormalizer(value)))
    case "Prepend": steps.append(.prepend(Array((value["prepend"]?.string ?? "").utf8)))
    case "Replace":
      let content = value["content"]?.string ?? ""
      if value["pattern"]?["Regex"]?.string == " {2,}" {
        steps.append(.joinSpaces(Array(content.utf8)))
        return
      }
      guard let pattern = value["pattern"]?["String"]?.string, !pattern.isEmpty else {
        throw Self.unknown("Replace of a pattern", file)
      }
      steps.append(.replace(Array(pattern.utf8), by: Array(content.utf8)))
    case "Precompiled":
      guard let map = CharacterMap(base64: value["precompiled_charsmap"]?.string ?? "") else {
        throw ModelError(
          .malformed, "the table of characters is damaged", file: file,
          tensor: "normalizer.precompiled_charsmap")
      }
      steps.append(.map(CharacterMapNormalizer(map)))
    case let type?: throw Self.unknown(type, file)
    }
  }

  private static func unknown(_ found: String, _ file: String) -> ModelError {
    ModelError(
      .unsupported, "Pleat does not normalize text as this tokenizer does", file: file,
      tensor: "normalizer",
      expected: "NFC, Prepend, Replace of a text, Precompiled, BertNormalizer", found: found,
      hint: "make the tokens with Hugging Face's tokenizers, and pass them as a file of tokens")
  }

  /// The normalized form of valid UTF-8.
  func normalized(_ text: [UInt8]) -> [UInt8] {
    var text = text
    for step in steps {
      switch step {
      case .prepend(let start): if !text.isEmpty { text = start + text }
      case .replace(let old, let new): text = Self.replaced(text, old, new)
      case .compose: text = Self.composed(text)
      case .map(let normalizer): text = normalizer.normalized(text)
      case .joinSpaces(let new): text = Self.joined(text, new)
      case .bert(let normalizer): text = normalizer.normalized(text)
      case .llamaPieces(let normalizer): text = normalizer.normalized(text)
      }
    }
    return text
  }

  /// A text with another one in place of each occurrence of `old`, which is not empty.
  static func replaced(_ text: [UInt8], _ old: [UInt8], _ new: [UInt8]) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(text.count + text.count / 2)
    var index = 0
    while index < text.count {
      if text[index] == old[0], text[index...].starts(with: old) {
        result += new
        index += old.count
      } else {
        result.append(text[index])
        index += 1
      }
    }
    return result
  }

  private static func joined(_ text: [UInt8], _ new: [UInt8]) -> [UInt8] {
    var result: [UInt8] = []
    var index = 0
    while index < text.count {
      let end = text[index...].firstIndex { $0 != UInt8(ascii: " ") } ?? text.count
      if end - index >= 2 { result += new } else { result += text[index..<end] }
      guard end < text.count else { break }
      result.append(text[end])
      index = end + 1
    }
    return result
  }

  /// Scalars below U+0300, whose first byte is below 0xCC, are composed and stay as they are.
  ///
  /// So do scalars that the normalization does not know, and nothing is composed across them.
  private static func composed(_ text: [UInt8]) -> [UInt8] {
    guard text.contains(where: { $0 >= 0xCC }) else { return text }
    let classes = ScalarClasses.shared
    var result: [UInt8] = []
    result.reserveCapacity(text.count)
    var known = ""
    for scalar in String(decoding: text, as: UTF8.self).unicodeScalars {
      if classes[scalar.value].contains(.unnormalized) {
        compose(known, into: &result)
        known.removeAll(keepingCapacity: true)
        result.append(contentsOf: String(scalar).utf8)
      } else {
        known.unicodeScalars.append(scalar)
      }
    }
    compose(known, into: &result)
    return result
  }

  private static func compose(_ text: String, into result: inout [UInt8]) {
    for scalar in text._nfc {
      result.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
    }
  }
}
