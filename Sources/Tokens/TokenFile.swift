internal import Bytes
package import SystemPackage
package import TensorModel

/// A file of ids of tokens: numbers of 16 or 32 bits in a row, an array of NumPy, or JSON lines.
package struct TokenFile: Sendable {
  /// How ids are stored.
  package enum Form: Sendable, Hashable {
    /// 16-bit or 32-bit numbers, little-endian, without a header.
    case numbers(NumberType)
    /// An array of NumPy with one dimension.
    case array
    /// A list of ids for each line, or an object with the list `tokens`.
    case lines
  }

  /// The type of a number in a file.
  package enum NumberType: String, Sendable, CaseIterable {
    case u16 = "<u2"
    case u32 = "<u4"
    case i32 = "<i4"
    case i64 = "<i8"

    /// The length in bytes.
    var byteCount: Int {
      switch self {
      case .u16: 2
      case .u32, .i32: 4
      case .i64: 8
      }
    }

    /// The type for the ids of a vocabulary of this size, as programs for training write them.
    package static func forVocabulary(_ size: Int) -> NumberType { size <= 1 << 16 ? .u16 : .u32 }
  }

  /// The path, for messages.
  let path: String
  /// The number of ids: those of the file are below it.
  let vocabularySize: Int

  private static let hint = "the tokens may be those of another tokenizer"
  private static let pieceByteCount = 1 << 20
  /// The largest file of JSON lines, which is read at once.
  private static let linesByteCount = 1 << 30

  /// Reads a file, whose form follows from its name: `.npy`, `.jsonl` or `.json`, or else numbers.
  ///
  /// - Parameters:
  ///   - path: The path of the file.
  ///   - vocabularySize: The number of ids; all ids of the file must be below it.
  ///   - type: The type of numbers without a header; nil for the one that fits the vocabulary.
  ///   - limit: How many tokens are read at most; nil for all. JSON lines are read whole.
  /// - Returns: The tokens of each line, or one list for the other forms.
  /// - Throws: `io`, `limit`, `malformed` for a file that is damaged, `unsupported` for other arrays,
  ///   and `mismatch` for ids that the vocabulary does not have.
  package static func read(
    _ path: FilePath, vocabularySize: Int, type: NumberType? = nil, limit: Int? = nil
  ) throws(ModelError) -> [[Int32]] {
    let file = TokenFile(path: path.string, vocabularySize: vocabularySize)
    switch path.extension?.lowercased() {
    case "npy":
      let input = try InputFile(path)
      let array = try NumPyHeader(input)
      return [try file.ids(input, from: array.offset, array.type, count: array.count, limit)]
    case "jsonl", "json":
      return try file.lines(InputFile.contents(of: path, limit: linesByteCount))
    default:
      let input = try InputFile(path)
      let type = type ?? .forVocabulary(vocabularySize)
      guard input.byteCount % type.byteCount == 0 else {
        throw ModelError(
          .malformed, "the length is not a multiple of that of a token", file: path.string,
          expected: "\(type.byteCount) bytes for each token", found: "\(input.byteCount) bytes",
          hint: "the file may have numbers of another size")
      }
      return [
        try file.ids(input, from: 0, type, count: input.byteCount / type.byteCount, limit)
      ]
    }
  }

  // MARK: - Numbers

  private func ids(
    _ input: InputFile, from start: Int, _ type: NumberType, count: Int, _ limit: Int?
  ) throws(ModelError) -> [Int32] {
    let count = min(count, limit ?? count)
    var ids: [Int32] = []
    ids.reserveCapacity(count)
    let (size, end) = (type.byteCount, start + count * type.byteCount)
    for piece in stride(from: start, to: end, by: Self.pieceByteCount) {
      let bytes = try input.bytes(at: piece, count: min(Self.pieceByteCount, end - piece))
      for place in stride(from: 0, to: bytes.count, by: size) {
        let number = Self.number(bytes, place, type)
        guard number >= 0, number < vocabularySize else {
          throw foreign(number, offset: piece + place)
        }
        ids.append(Int32(number))
      }
    }
    return ids
  }

  private static func number(_ bytes: [UInt8], _ place: Int, _ type: NumberType) -> Int64 {
    let bits = (0..<type.byteCount).reversed().reduce(UInt64(0)) {
      $0 << 8 | UInt64(bytes[place + $1])
    }
    switch type {
    case .u16, .u32, .i64: return Int64(bitPattern: bits)
    case .i32: return Int64(Int32(truncatingIfNeeded: bits))
    }
  }

  private func foreign(_ number: some BinaryInteger, offset: Int?, line: String? = nil)
    -> ModelError
  {
    ModelError(
      .mismatch, "the vocabulary has no such token", file: path, tensor: line, offset: offset,
      expected: "ids below \(vocabularySize)", found: "\(number)", hint: Self.hint)
  }

  // MARK: - Lines

  private func lines(_ bytes: [UInt8]) throws(ModelError) -> [[Int32]] {
    var lists: [[Int32]] = []
    var (start, number) = (0, 0)
    while start < bytes.count {
      let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count
      number += 1
      let line = Array(bytes[start..<end])
      if line.contains(where: { !" \t\r".utf8.contains($0) }) {
        let counts = try counts(line, offset: start)
        for count in counts where count >= vocabularySize {
          throw foreign(count, offset: nil, line: "line \(number)")
        }
        lists.append(counts.map { Int32(clamping: $0) })
      }
      start = end + 1
    }
    return lists
  }

  private func counts(_ line: [UInt8], offset: Int) throws(ModelError) -> [Int] {
    var scanner = try JSONScanner(line, file: path, offset: offset, limits: ReadLimits())
    var found: [Int]?
    if scanner.peek() == UInt8(ascii: "{") {
      try scanner.members { (scanner, key) throws(ModelError) in
        if key == "tokens" { found = try scanner.counts() } else { try scanner.skip() }
      }
    } else {
      found = try scanner.counts()
    }
    try scanner.end()
    guard let found else {
      throw ModelError(
        .malformed, "the line has no list of tokens", file: path, offset: offset,
        expected: "a list of ids, or an object with the list 'tokens'")
    }
    return found
  }

  // MARK: - Writing

  /// The contents of a file with these ids, as its name asks for: `.npy`, or else numbers alone.
  package static func bytes(
    of ids: [Int32], for path: FilePath, vocabularySize: Int
  ) -> [UInt8] {
    let type = NumberType.forVocabulary(vocabularySize)
    var bytes =
      path.extension?.lowercased() == "npy" ? NumPyHeader.bytes(type, count: ids.count) : []
    bytes.reserveCapacity(bytes.count + ids.count * type.byteCount)
    for id in ids {
      if type == .u16 {
        bytes.append(littleEndian: UInt16(truncatingIfNeeded: id))
      } else {
        bytes.append(littleEndian: id)
      }
    }
    return bytes
  }
}
