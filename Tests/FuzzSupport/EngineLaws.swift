internal import Bytes
internal import Formats
internal import Kernels
internal import Pleat
internal import SystemPackage
internal import TensorModel
internal import Tokens

/// The laws of files that only commands that run a model read.
enum EngineLaws {
  private static let key = "fuzz"
  private static let chunkLimit = 9
  private static let vocabularySize = 300

  /// A file of sums with a first line and a checksum that fit the rest.
  static func sums(_ bytes: [UInt8]) -> [UInt8] {
    let whole = Array("pleat sums 2 \(key)\n".utf8) + bytes
    let checksum = CRC32C(of: whole.span).value
    return whole + (0..<4).map { UInt8(truncatingIfNeeded: checksum >> (8 * $0)) }
  }

  /// Describes the law that a file breaks; nil if it breaks none.
  ///
  /// Throws what reading the file throws.
  static func broken(by reader: FuzzReader, _ path: String) throws(ModelError) -> String? {
    switch reader {
    case .logits: return try logits(path)
    case .sums: return try sums(path)
    case .text: return try text(path)
    default: return try tokens(path)
    }
  }

  private static func logits(_ path: String) throws(ModelError) -> String? {
    guard let file = try LogitsFile.open(path), let again = try LogitsFile.open(path) else {
      return nil
    }
    let tokens = file.tokens
    guard tokens == again.tokens else { return "a file has other tokens the second time" }
    guard tokens.allSatisfy({ (0..<file.vocabularySize).contains(Int($0)) }) else {
      return "a token is not in the vocabulary"
    }
    let (length, first) = (file.contextLength, file.contextLength / 2)
    for chunk in 0..<file.chunkCount {
      let targets = tokens[chunk * length + first + 1..<(chunk + 1) * length]
      let found = try file.predictions(
        chunk: chunk, positions: first..<length - 1, targets: Array(targets))
      guard found.losses.allSatisfy({ $0.isFinite && $0 >= -1 }) else {
        return "a probability is far above 1, or not a number"
      }
    }
    return nil
  }

  private static func sums(_ path: String) throws(ModelError) -> String? {
    func read() throws(ModelError) -> CalibrationState {
      try CalibrationState(at: FilePath(path), key: key, limit: chunkLimit)
    }
    let (first, second) = (try read(), try read())
    guard first == second else { return "sums differ when they are read a second time" }
    guard first.chunkCount <= chunkLimit else { return "there are more chunks than in the text" }
    return nil
  }

  private static func tokens(_ path: String) throws(ModelError) -> String? {
    let lists = try TokenFile.read(FilePath(path), vocabularySize: vocabularySize)
    guard try TokenFile.read(FilePath(path), vocabularySize: vocabularySize) == lists else {
      return "a file has other tokens the second time"
    }
    let isKnown = lists.joined().allSatisfy { (0..<Int32(vocabularySize)).contains($0) }
    return isKnown ? nil : "a token is not in the vocabulary"
  }

  private static func text(_ path: String) throws(ModelError) -> String? {
    let bytes = try TokenizedText.bytes(ofText: path)
    for document in [FuzzFiles.tokenizer, FuzzFiles.byteLevelTokenizer] {
      let companions = CompanionReader(names: ["tokenizer.json"]) { name in
        name == "tokenizer.json" ? document : nil
      }
      guard let tokenizer = try? Tokenizer(companions) else {
        return "a tokenizer of the fuzzer cannot be read"
      }
      for finds in [false, true] {
        let ids = tokenizer.encode(bytes, adding: .none, findingSpecialTokens: finds)
        guard ids == tokenizer.encode(bytes, adding: .none, findingSpecialTokens: finds) else {
          return "a text has other tokens the second time"
        }
        guard ids.allSatisfy({ (0..<Int32(tokenizer.vocabularySize)).contains($0) }) else {
          return "a token of a text is not in the vocabulary"
        }
        let back = tokenizer.bytes(of: ids)
        guard document != FuzzFiles.byteLevelTokenizer || finds || back == bytes else {
          return "the tokens of a text are those of another text"
        }
      }
    }
    return nil
  }
}
