public import Bytes
public import Inference
internal import SystemPackage
public import TensorModel
internal import Tokens

/// A text as ids of tokens.
public struct TokenizedText: Sendable {
  /// The ids; all lines of a file of tokens together.
  public let ids: [Int32]
  /// The number of ids that the tokenizer has.
  public let vocabularySize: Int

  private let tokenizer: Tokenizer
  private let inputs: [String]
  /// The largest text that is read at once.
  private static let textByteCount = 1 << 31

  private init(_ ids: [Int32], _ tokenizer: Tokenizer, _ inputs: [String]) {
    (self.ids, self.tokenizer, self.inputs) = (ids, tokenizer, inputs)
    vocabularySize = tokenizer.vocabularySize
  }

  /// Tokenizes a text with the tokenizer of a model, or of a folder without weights.
  ///
  /// With `auto` the tokens that the tokenizer states come before and after it. Throws `unsupported` if there is no tokenizer that Pleat knows, and `usage` if the tokenizer has
  /// no token that begins texts but the caller asks for one.
  public init(
    _ text: String, by model: String, beginning: TextBeginning = .auto
  ) throws(ModelError) {
    try self.init(Array(text.utf8), by: model, beginning, inputs: [model])
  }

  /// Tokenizes a file of text in UTF-8.
  ///
  /// Throws what `init(_:by:beginning:)` throws, `io`, and `malformed` if it is not UTF-8.
  public init(
    file: String, by model: String, beginning: TextBeginning = .auto
  ) throws(ModelError) {
    let bytes = try Self.bytes(ofText: file)
    try self.init(bytes, by: model, beginning, inputs: [model, file])
  }

  /// The bytes of a file of text in UTF-8.
  ///
  /// Throws `malformed` if it is not UTF-8, and what reading throws.
  package static func bytes(ofText file: String) throws(ModelError) -> [UInt8] {
    let bytes = try InputFile.contents(of: FilePath(file), limit: Self.textByteCount)
    do { _ = try UTF8Span(validating: bytes.span) } catch {
      throw ModelError(
        .malformed, "the text is not UTF-8", file: file,
        offset: error.byteOffsets.lowerBound)
    }
    return bytes
  }

  private init(
    _ bytes: [UInt8], by model: String, _ beginning: TextBeginning, inputs: [String]
  ) throws(ModelError) {
    let tokenizer = try Tokenizer.open(model)
    let additions: Tokenizer.Additions =
      switch beginning {
      case .auto: .usual
      case .yes: .begin
      case .no: .none
      }
    guard additions != .begin || tokenizer.beginID != nil else {
      throw ModelError(
        .usage, "no file says which token begins texts", file: model, found: "--bos yes")
    }
    self.init(tokenizer.encode(bytes, adding: additions), tokenizer, inputs)
  }

  /// Reads a file of tokens: `.npy`, JSON lines, or numbers of 16 or 32 bits.
  ///
  /// Throws what `TokenFile.read` and opening the tokenizer throw.
  public init(tokens file: String, by model: String) throws(ModelError) {
    let tokenizer = try Tokenizer.open(model)
    let lists = try TokenFile.read(FilePath(file), vocabularySize: tokenizer.vocabularySize)
    self.init(Array(lists.joined()), tokenizer, [model, file])
  }

  /// The text of each token; bytes that are only a part of a scalar are U+FFFD.
  public var pieces: [String] {
    ids.map { String(decoding: tokenizer.bytes(of: $0), as: UTF8.self) }
  }

  /// The text of all tokens, without the space that the tokenizer adds before a text.
  public var text: String { String(decoding: tokenizer.bytes(of: ids), as: UTF8.self) }

  /// The result as JSON, as described in `formats/report.md`.
  public var json: JSONValue {
    [
      "schema": "pleat.tokens.1", "vocabularySize": JSONValue(vocabularySize),
      "tokenCount": JSONValue(ids.count), "tokens": .array(ids.map { JSONValue(Int($0)) }),
      "text": .string(text),
    ]
  }

  /// Whether a file in the folder of a model is none of the model, by its name.
  private static func mayHoldTokens(_ path: FilePath) -> Bool {
    let suffix = path.extension?.lowercased()
    return suffix == "npy" || suffix == "bin" && !path.name.hasPrefix("pytorch_model")
  }

  /// Writes the ids as numbers of 16 bits, or of 32 for vocabularies beyond 65,536; `.npy` gets the
  /// header of NumPy.
  ///
  /// Throws `io`, and `usage` if the file exists and must not be replaced, if it is an input or may
  /// be a file of the model, and for the name of a form that is only read.
  public func write(to path: String, replacing: Bool) throws(ModelError) {
    let output = FilePath(path)
    guard !inputs.contains(where: { FileSystem.isSame(FilePath($0), output) }) else {
      throw ModelError(
        .usage, "the output is the input", file: path, hint: "write to another path")
    }
    let isInModel = inputs.contains { FileSystem.isSame(FilePath($0), output.parentFolder) }
    guard !isInModel || FileSystem.kind(of: output) == nil || Self.mayHoldTokens(output) else {
      throw ModelError(
        .usage, "the output would replace a file in the folder of the model", file: path,
        hint: "write to another path")
    }
    guard !["json", "jsonl"].contains(output.extension?.lowercased()) else {
      throw ModelError(
        .usage, "JSON lines of tokens are only read", file: path,
        expected: "a name that ends in .npy, or another one for numbers without a header")
    }
    let bytes = TokenFile.bytes(of: ids, for: output, vocabularySize: vocabularySize)
    let staging = try Staging(
      output, isFolder: false, names: [output.name], replacing: replacing)
    let file = try staging.create(output.name, byteCount: bytes.count)
    try file.write(bytes, at: 0)
    try staging.synchronize()
    try staging.publish()
  }
}
