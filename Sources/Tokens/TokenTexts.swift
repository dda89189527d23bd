internal import Bytes
internal import Formats
internal import TensorModel

/// The texts of tokens by id, as bytes of the text that they stand for.
struct TokenTexts: Sendable {
  private var texts: [[UInt8]]
  private var special: Set<Int32> = []
  /// Whether the tokenizer adds a space before a text.
  let addsSpace: Bool

  // Ids are numbers of rows, of which an embedding has fewer.
  private static let countLimit = 1 << 24

  /// Reads the tokens of a tokenizer.
  ///
  /// Throws `limit` for very large ids.
  init(_ fast: FastTokenizer) throws(ModelError) {
    let last = max(fast.ids.max() ?? -1, fast.addedTokens.map(\.id).max() ?? -1)
    guard last < Self.countLimit else {
      throw ModelError(
        .limit, "an id is too large", file: fast.source, expected: "below \(Self.countLimit)",
        found: "\(last)")
    }
    texts = Array(repeating: [], count: last + 1)
    for index in 0..<fast.texts.count {
      texts[fast.ids[index]] =
        fast.isByteLevel ? Self.bytes(fast.texts[index]) : Self.piece(Array(fast.texts[index]))
    }
    for token in fast.addedTokens where token.id >= 0 {
      texts[token.id] = Array(token.text.utf8)
      if token.isSpecial { special.insert(Int32(token.id)) }
    }
    let decoder = fast.parts["decoder"] ?? .null
    addsSpace = !fast.isByteLevel && Self.strips(decoder)
  }

  /// The number of ids.
  var count: Int { texts.count }

  /// The bytes of a token; none for an id without a token.
  func bytes(of id: Int32) -> [UInt8] { texts.indices.contains(Int(id)) ? texts[Int(id)] : [] }

  /// Whether a token is special.
  func isSpecial(_ id: Int32) -> Bool { special.contains(id) }

  private static func bytes(_ text: ArraySlice<UInt8>) -> [UInt8] {
    ByteLetters.bytes(of: text) ?? Array(text)
  }

  private static func piece(_ text: [UInt8]) -> [UInt8] {
    for byte in UInt8.min...UInt8.max where text.count == 6 && text == MergeModel.fallback(byte) {
      return [byte]
    }
    return text.replacing("▁".utf8, with: " ".utf8)
  }

  /// Whether a decoder takes away a space at the beginning of a text.
  private static func strips(_ decoder: JSONValue) -> Bool {
    switch decoder["type"]?.string {
    case "Sequence": (decoder["decoders"]?.array ?? []).contains(where: strips)
    case "Strip": decoder["content"]?.string == " " && (decoder["start"]?.int ?? 0) > 0
    case "Metaspace": decoder["prepend_scheme"]?.string != "never"
    default: false
    }
  }
}
