internal import Bytes
internal import Formats
internal import TensorModel

/// The texts of tokens by id, as bytes of the text that they stand for.
struct TokenTexts: Sendable {
  private var texts: [[UInt8]]
  private var special: Set<Int32> = []
  /// Whether the tokenizer adds a space before a text.
  let addsSpace: Bool
  /// The tokens that continue a word, and what their texts begin with at the beginning of a text.
  private var continuing: Set<Int32> = []
  private let continuation: [UInt8]

  // Ids are numbers of rows, of which an embedding has fewer.
  private static let countLimit = 1 << 24

  /// Reads the tokens of a tokenizer.
  ///
  /// Throws `limit` for very large ids, and what `WordPieceDecoder` throws.
  init(_ fast: FastTokenizer) throws(ModelError) {
    let last = max(fast.ids.max() ?? -1, fast.addedTokens.map(\.id).max() ?? -1)
    guard last < Self.countLimit else {
      throw ModelError(
        .limit, "an id is too large", file: fast.source, expected: "below \(Self.countLimit)",
        found: "\(last)")
    }
    texts = Array(repeating: [], count: last + 1)
    let words = fast.algorithm == "WordPiece" ? try WordPieceDecoder(fast) : nil
    addsSpace = words != nil || !fast.isByteLevel && Self.strips(fast.parts["decoder"] ?? .null)
    continuation = words?.continuation ?? []
    for index in 0..<fast.texts.count {
      let text = fast.texts[index]
      texts[fast.ids[index]] =
        words?.bytes(of: Array(text), isAdded: false)
        ?? (fast.isByteLevel ? Self.bytes(text) : Self.piece(Array(text)))
      if words?.continuesWord(Array(text), isAdded: false) == true {
        continuing.insert(Int32(fast.ids[index]))
      }
    }
    for token in fast.addedTokens where token.id >= 0 {
      let text = Array(token.text.utf8)
      texts[token.id] = words?.bytes(of: text, isAdded: true) ?? text
      if token.isSpecial { special.insert(Int32(token.id)) }
    }
  }

  /// The number of ids.
  var count: Int { texts.count }

  /// The bytes of a token; none for an id without a token.
  func bytes(of id: Int32) -> [UInt8] { texts.indices.contains(Int(id)) ? texts[Int(id)] : [] }

  /// The bytes of a token that begins a text, where the mark of a part stays as it is.
  func bytes(ofFirst id: Int32) -> [UInt8] {
    continuing.contains(id) ? continuation + bytes(of: id) : bytes(of: id)
  }

  /// Whether a token is special.
  func isSpecial(_ id: Int32) -> Bool { special.contains(id) }

  private static func bytes(_ text: ArraySlice<UInt8>) -> [UInt8] {
    ByteLetters.bytes(of: text) ?? Array(text)
  }

  private static let mark = Array("▁".utf8)

  private static func piece(_ text: [UInt8]) -> [UInt8] {
    if text.starts(with: "<0x".utf8),
      let byte = (UInt8.min...UInt8.max).first(where: { text == MergeModel.fallback($0) })
    {
      return [byte]
    }
    return TextNormalizer.replaced(text, mark, [UInt8(ascii: " ")])
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
