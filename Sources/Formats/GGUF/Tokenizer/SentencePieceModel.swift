internal import TensorModel

/// The contents of a SentencePiece model, such as `tokenizer.model`, that matter for llama.cpp.
struct SentencePieceModel {
  /// A token of the vocabulary.
  struct Piece {
    var text: [UInt8] = []
    var score: Float = 0
    var kind = Vocabulary.Kind.normal
  }

  static let file = "tokenizer.model"
  /// The file of a unigram model that XLM-RoBERTa has.
  static let unigramFile = "sentencepiece.bpe.model"

  /// The vocabulary; the index of a piece is its id.
  private(set) var pieces: [Piece] = []
  /// The number of the training algorithm; 1 (unigram) if the file states none.
  private(set) var algorithm: UInt64 = 1
  /// Whether spaces end words instead of beginning them.
  private(set) var putsSpacesLast = false
  /// Whether a space is added before a text.
  private(set) var addsSpace = true
  /// Whether runs of spaces become one space.
  private(set) var removesSpaces = true
  /// The name of the normalization of characters; nil if there is none.
  private(set) var normalization: String?
  /// The table of the normalization; empty if there is none.
  private(set) var characterMap: [UInt8] = []
  /// The ids of special tokens that the trainer states; negative for none.
  private(set) var special: [String: Int] = ["unk": 0, "bos": 1, "eos": 2, "pad": -1]

  private static let unigram: UInt64 = 1
  private static let bytePairs: UInt64 = 2
  private let file: String

  /// Reads a file.
  ///
  /// - Parameters:
  ///   - bytes: The contents.
  ///   - file: The name, for messages.
  ///   - isUnigram: Whether it has to be a unigram model instead of a BPE model.
  /// - Throws: `malformed`, and `unsupported` if it is not a model that llama.cpp supports.
  init(
    _ bytes: [UInt8], file: String = Self.file, isUnigram: Bool = false
  ) throws(ModelError) {
    self.file = file
    var reader = ProtobufReader(bytes, bytes.indices, file: file)
    while let (number, field) = try reader.next() {
      guard case .bytes(let range) = field else { continue }
      switch number {
      case 1: pieces.append(try piece(bytes, range, id: pieces.count))
      case 2: try readTraining(bytes, range)
      case 3: try readNormalization(bytes, range)
      default: break
      }
    }
    guard !pieces.isEmpty else {
      throw ModelError(
        .malformed, "there are no tokens", file: file,
        hint: "the file is not a SentencePiece model, or it is damaged")
    }
    guard algorithm == (isUnigram ? Self.unigram : Self.bytePairs) else {
      let name =
        switch algorithm {
        case Self.unigram: "unigram"
        case Self.bytePairs: "bpe"
        case 3: "word"
        case 4: "char"
        default: "number \(algorithm)"
        }
      throw ModelError(
        .unsupported, "llama.cpp does not support this kind of SentencePiece model",
        file: file, expected: isUnigram ? "unigram" : "bpe", found: name,
        hint: GGUFTokenizer.donorHint)
    }
    guard !putsSpacesLast else {
      throw ModelError(
        .unsupported, "words end in spaces in this tokenizer, but begin with them in llama.cpp",
        file: file, tensor: "treat_whitespace_as_suffix", hint: GGUFTokenizer.donorHint)
    }
  }

  private func piece(
    _ bytes: [UInt8], _ range: Range<Int>, id: Int
  ) throws(ModelError) -> Piece {
    var piece = Piece()
    var reader = ProtobufReader(bytes, range, file: file)
    while let (number, field) = try reader.next() {
      switch (number, field) {
      case (1, .bytes(let text)): piece.text = Array(bytes[text])
      case (2, .float(let score)): piece.score = score
      case (3, .number(let number)):
        guard let value = Int32(exactly: number), let kind = Vocabulary.Kind(rawValue: value) else {
          throw ModelError(
            .malformed, "a token has an unknown type", file: file, tensor: "token \(id)",
            expected: "1…6", found: "\(number)")
        }
        piece.kind = kind
      default: break
      }
    }
    guard (try? UTF8Span(validating: piece.text.span)) != nil else {
      throw ModelError(.malformed, "a token is not UTF-8", file: file, tensor: "token \(id)")
    }
    guard !piece.text.isEmpty, piece.score.isFinite else {
      throw ModelError(
        .malformed, "a token has no text, or no score that is finite", file: file,
        tensor: "token \(id)")
    }
    return piece
  }

  private mutating func readTraining(
    _ bytes: [UInt8], _ range: Range<Int>
  ) throws(ModelError) {
    var reader = ProtobufReader(bytes, range, file: file)
    while let (number, field) = try reader.next() {
      guard case .number(let value) = field else { continue }
      switch number {
      case 3: algorithm = value
      case 24: putsSpacesLast = value != 0
      // A negative number is stored in 64 bits.
      case 40: special["unk"] = Int(Int64(bitPattern: value))
      case 41: special["bos"] = Int(Int64(bitPattern: value))
      case 42: special["eos"] = Int(Int64(bitPattern: value))
      case 43: special["pad"] = Int(Int64(bitPattern: value))
      default: break
      }
    }
  }

  private mutating func readNormalization(
    _ bytes: [UInt8], _ range: Range<Int>
  ) throws(ModelError) {
    var reader = ProtobufReader(bytes, range, file: file)
    var name = "its own"
    while let (number, field) = try reader.next() {
      switch (number, field) {
      case (1, .bytes(let text)): name = String(decoding: bytes[text], as: UTF8.self)
      case (2, .bytes(let table)): characterMap = Array(bytes[table])
      case (3, .number(let value)): addsSpace = value != 0
      case (4, .number(let value)): removesSpaces = value != 0
      default: break
      }
    }
    normalization = characterMap.isEmpty ? nil : name
  }

  /// Whether a file is a tiktoken vocabulary, which some models have under the same name.
  static func isTiktoken(_ bytes: [UInt8]) -> Bool {
    let line = bytes.prefix(200).prefix { $0 != UInt8(ascii: "\n") }
    let parts = line.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
    let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
    return parts.count == 2 && !parts[0].isEmpty && !parts[1].isEmpty
      && parts[0].allSatisfy { (0x21...0x7E).contains($0) } && parts[1].allSatisfy(digits.contains)
  }
}
