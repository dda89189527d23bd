internal import Bytes
internal import Kernels
package import SystemPackage
public import TensorModel

/// What a calibration has measured so far, in a file from which a later run goes on: `.name.sums`
/// beside an output `name`, or `sums-3` among its parts.
///
/// `formats/importance.md` describes the file. It is replaced as a whole.
public struct CalibrationState: Sendable, Equatable {
  /// The number of chunks that were measured.
  public private(set) var chunkCount = 0
  /// A note for the user about a file that is not used; nil without one.
  public private(set) var note: String?
  private(set) var sums: [String: InputSum] = [:]
  let path: FilePath
  private let key: String

  private static let title = "pleat sums 2"

  /// Reads what an earlier run left at a path; nothing if there is none.
  ///
  /// - Parameters:
  ///   - path: The path of the file.
  ///   - key: Equal only for runs that measure the same.
  ///   - limit: The number of chunks that such runs measure.
  /// - Throws: `io`, and `malformed` for a file that no run has written.
  package init(at path: FilePath, key: String, limit: Int) throws(ModelError) {
    self.path = path
    self.key = key
    guard FileSystem.kind(of: path) == .file else { return }
    let file = try InputFile(path)
    let line = Self.line(key)
    guard file.byteCount > line.count + 4,
      try file.bytes(at: 0, count: line.count) == line
    else {
      note =
        "\(path.string) is that of another model, text or version: measuring from the beginning"
      return
    }
    guard try Self.isWhole(file) else {
      note = "\(path.string) is damaged: measuring from the beginning"
      return
    }
    var reader = ByteReader(file, at: line.count)
    chunkCount = try Int(reader.integer(UInt32.self, of: "chunks"))
    guard chunkCount <= limit else {
      throw ModelError(
        .malformed, "the file has more chunks than the text", file: path.string,
        expected: "at most \(limit)", found: "\(chunkCount)", hint: "remove it")
    }
    for _ in 0..<(try reader.integer(UInt32.self, of: "weights")) {
      let sum = try InputSum(from: &reader)
      sums[sum.names[0]] = sum
    }
  }

  /// Whether the last 4 bytes of a file are the checksum of the others.
  private static func isWhole(_ file: InputFile) throws(ModelError) -> Bool {
    let end = file.byteCount - 4
    var checksum = CRC32C()
    for start in stride(from: 0, to: end, by: 1 << 20) {
      let bytes = try file.bytes(at: start, count: min(1 << 20, end - start))
      checksum.update(bytes.span)
    }
    var reader = ByteReader(file, at: end)
    return try reader.integer(UInt32.self, of: "the checksum") == checksum.value
  }

  private static func line(_ key: String) -> [UInt8] { Array("\(title) \(key)\n".utf8) }

  /// Writes sums in place of the earlier ones.
  ///
  /// Throws `io`.
  func save(_ sums: [String: InputSum], chunkCount: Int) throws(ModelError) {
    let staging = try Staging(path, isFolder: false, names: [path.name], replacing: true)
    let file = try staging.create(path.name)
    var checksum = CRC32C()
    var offset = 0
    func write(_ bytes: [UInt8]) throws(ModelError) {
      try file.write(bytes, at: offset)
      checksum.update(bytes.span)
      offset += bytes.count
    }
    var head = Self.line(key)
    head.append(UInt32(chunkCount))
    head.append(UInt32(sums.count))
    try write(head)
    for (_, sum) in sums.sorted(by: { $0.key < $1.key }) { try write(sum.bytes) }
    var end: [UInt8] = []
    end.append(checksum.value)
    try write(end)
    try staging.synchronize()
    try staging.publish()
  }

  /// Removes the file, after the output has been written.
  ///
  /// Throws `io`.
  public func remove() throws(ModelError) {
    if FileSystem.kind(of: path) == .file { try FileSystem.removeFile(path) }
  }
}

extension InputSum {
  /// The bytes in a file of sums.
  fileprivate var bytes: [UInt8] {
    let columnCount = squares.first?.columnCount ?? 0
    var bytes: [UInt8] = []
    bytes.reserveCapacity(100 * names.count + squares.count * (8 + 25 * columnCount))
    bytes.append(UInt32(names.count))
    for name in names {
      bytes.append(UInt32(name.utf8.count))
      bytes += name.utf8
    }
    bytes.append(UInt32(counts.count))
    bytes.append(UInt32(columnCount))
    for (count, squares) in zip(counts, squares) {
      bytes.append(UInt64(count))
      bytes += squares.tops
      for word in squares.words { bytes.append(word) }
    }
    return bytes
  }

  /// Reads the sums of some weights.
  ///
  /// Throws `malformed` for sums that do not fit the file or are those of no weight, and `io`.
  fileprivate init(from reader: inout ByteReader) throws(ModelError) {
    var names: [String] = []
    for _ in 0..<(try reader.integer(UInt32.self, of: "names")) {
      let length = try Int(reader.integer(UInt32.self, of: "a name"))
      names.append(String(decoding: try reader.bytes(length, of: "a name"), as: UTF8.self))
    }
    let matrixCount = try Int(reader.integer(UInt32.self, of: "matrices"))
    let columnCount = try Int(reader.integer(UInt32.self, of: "columns"))
    var (squares, counts): ([SquareSums], [Int]) = ([], [])
    for _ in 0..<matrixCount {
      let count = try reader.integer(UInt64.self, of: "tokens")
      guard count <= SquareSums.countLimit else {
        throw ModelError(
          .malformed, "the file has too many tokens", file: reader.path, tensor: names.first,
          expected: "at most \(SquareSums.countLimit)", found: "\(count)", hint: "remove it")
      }
      counts.append(Int(count))
      let tops = try reader.bytes(columnCount, of: "bins")
      let bytes = try reader.bytes(24 * columnCount, of: "sums")
      let words = (0..<3 * columnCount).map { index in
        (0..<8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64(bytes[8 * index + $1]) }
      }
      squares.append(SquareSums(tops: tops, words: words))
    }
    guard !names.isEmpty, !squares.isEmpty else {
      throw ModelError(
        .malformed, "the file has sums of no weight", file: reader.path, hint: "remove it")
    }
    self.init(names: names, squares: squares, counts: counts)
  }
}

extension [UInt8] {
  /// Adds a number, little-endian.
  fileprivate mutating func append(_ number: some FixedWidthInteger & UnsignedInteger) {
    for index in 0..<number.bitWidth / 8 {
      append(UInt8(truncatingIfNeeded: number >> (8 * index)))
    }
  }
}
