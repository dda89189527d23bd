import Architectures
import Bytes
import Formats
import TensorModel
import Testing

/// Tokenizer files in memory, and their translation to GGUF.
struct SmallTokenizer {
  var files: [String: [UInt8]] = [:]
  /// The folder of the files for messages; nil for none.
  var folder: String?
  var config: JSONValue = [:]
  var tokenCount = 300
  var architecture = "llama"
  var pre: String?

  /// A copy with a file that has a JSON value.
  func with(_ name: String, _ value: JSONValue) -> SmallTokenizer {
    with(name, Array(JSONWriter.text(value).utf8))
  }

  /// A copy with a file that has these bytes.
  func with(_ name: String, _ bytes: [UInt8]) -> SmallTokenizer {
    var copy = self
    copy.files[name] = bytes
    return copy
  }

  /// Translates the files.
  func callAsFunction() throws(ModelError) -> GGUFTokenizer {
    guard let architecture = Architectures.forModelType(architecture) else {
      throw ModelError(.usage, "no such architecture")
    }
    return try GGUFTokenizer(
      reader, config: config, tokenCount: tokenCount, architecture: architecture, pre: pre)
  }

  /// Access to the files; messages call them by their paths in `folder`, or by their names.
  var reader: CompanionReader {
    let (files, folder) = (files, folder)
    return CompanionReader(
      names: files.keys.sorted(), path: { (folder.map { $0 + "/" } ?? "") + $0 },
      read: { files[$0] })
  }

  /// The error of the translation; records an issue if there is none.
  func error() -> ModelError {
    do throws(ModelError) {
      _ = try self()
      Issue.record("expected an error")
      return ModelError(.io, "none")
    } catch {
      return error
    }
  }
}

// MARK: - Byte pairs

extension SmallTokenizer {
  /// The characters that stand for the bytes 0 to 255 in GPT-2.
  static let letters: [String] = {
    let printed = Array(33...126) + Array(161...172) + Array(174...255)
    var others: UInt32 = 256
    return (0..<256).map { byte in
      defer { if !printed.contains(byte) { others += 1 } }
      let scalar = printed.contains(byte) ? UInt32(byte) : others
      return UnicodeScalar(scalar).map { String(Character($0)) } ?? ""
    }
  }()

  /// All bytes, ids 0…255, then `th` 256 and `the` 257, then `<s>` 258 and `<tool>` 259.
  static let byteLevel = SmallTokenizer().with("tokenizer.json", byteLevelJSON())

  static let gpt2: JSONValue = ["type": "ByteLevel", "add_prefix_space": false]

  static func byteLevelJSON(
    vocabulary: [(String, Int)] = [("th", 256), ("the", 257)],
    merges: JSONValue = ["t h", "th e"], splitting: JSONValue = gpt2, changes: JSONValue = [:]
  ) -> JSONValue {
    let tokens = letters.enumerated().map { ($1, $0) } + vocabulary
    var model: [JSONValue.Member] = [
      .init("type", "BPE"), .init("byte_fallback", false),
      .init("vocab", .object(tokens.map { .init($0.0, JSONValue($0.1)) })),
      .init("merges", merges),
    ]
    model += changes["model"]?.members ?? []
    let parts: [JSONValue.Member] = [
      .init(
        "added_tokens",
        [
          ["id": 258, "content": "<s>", "special": true],
          ["id": 259, "content": "<tool>", "special": false],
        ]),
      .init("pre_tokenizer", splitting), .init("model", .object(model)),
    ]
    let others = (changes.members ?? []).filter { $0.key != "model" }
    return .object(parts.filter { changes[$0.key] == nil || $0.key == "model" } + others)
  }

  /// A pre-tokenizer that splits by a pattern and then maps bytes to characters.
  static func split(_ pattern: String, _ behavior: String = "Isolated") -> JSONValue {
    [
      "type": "Sequence",
      "pretokenizers": [
        [
          "type": "Split", "pattern": ["Regex": .string(pattern)], "behavior": .string(behavior),
          "invert": .bool(behavior == "Removed"),
        ],
        ["type": "ByteLevel", "add_prefix_space": false, "use_regex": false],
      ],
    ]
  }
}

// MARK: - SentencePiece

extension SmallTokenizer {
  /// `<unk>`, `<s>`, `</s>`, all bytes from 3, then `▁a` with score -1 as 259.
  static let sentencePiece = SmallTokenizer().with("tokenizer.model", sentencePieceBytes())

  /// A model in protobuf; `trainer` and `normalizer` are the encoded fields of these messages.
  static func sentencePieceBytes(
    extra: [(String, Float, UInt8)] = [("▁a", -1, 1)], trainer: [UInt8] = [0x18, 2],
    normalizer: [UInt8] = [0x18, 1, 0x20, 0], hasBytes: Bool = true
  ) -> [UInt8] {
    var pieces: [(String, Float, UInt8)] = [("<unk>", 0, 2), ("<s>", 0, 3), ("</s>", 0, 3)]
    if hasBytes { pieces += (0..<256).map { ("<0x\(hex($0))>", 0, 6) } }
    var bytes: [UInt8] = []
    for (text, score, kind) in pieces + extra {
      bytes += field(
        1, field(1, Array(text.utf8)) + [0x15] + le(score.bitPattern) + [0x18, kind])
    }
    return bytes + field(2, trainer) + field(3, normalizer)
  }

  private static func hex(_ value: Int) -> String {
    let digits = String(value, radix: 16, uppercase: true)
    return value < 16 ? "0" + digits : digits
  }

  private static func le(_ value: UInt32) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.append(littleEndian: value)
    return bytes
  }

  private static func field(_ number: UInt8, _ bytes: [UInt8]) -> [UInt8] {
    [number << 3 | 2, UInt8(bytes.count)] + bytes
  }
}

// MARK: - Results

extension GGUFTokenizer {
  /// The value of the key `tokenizer.ggml.` + `key`.
  func value(_ key: String) -> MetadataValue? { metadata["tokenizer.ggml." + key] }

  /// The elements of an array of texts.
  func texts(_ key: String) throws -> [String] {
    guard case .array(let array)? = value(key), array.elementType == .string else { return [] }
    var reader = ByteReader(array.bytes, path: key)
    return try (0..<array.count).map { _ in
      let count = try reader.count(of: "a text", elementSize: 1)
      return String(decoding: try reader.bytes(count, of: "a text"), as: UTF8.self)
    }
  }

  /// The elements of an array of 32-bit numbers, as their stored bits.
  func words(_ key: String) throws -> [UInt32] {
    guard case .array(let array)? = value(key) else { return [] }
    var reader = ByteReader(array.bytes, path: key)
    return try (0..<array.count).map { _ in try reader.integer(UInt32.self, of: "a number") }
  }

  /// The keys in order, without `tokenizer.ggml.`.
  var keys: [String] {
    metadata.entries.map { entry in
      entry.key.hasPrefix("tokenizer.ggml.") ? String(entry.key.dropFirst(15)) : entry.key
    }
  }
}
