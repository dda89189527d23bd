internal import Bytes
internal import Kernels
internal import SystemPackage
public import TensorModel

/// What a calibration has measured so far, in a file beside its output from which a later run goes
/// on: `.name.sums` for an output `name`.
///
/// The file begins with a line that identifies the model, the text and the version of Pleat. Then
/// come the number of chunks, and for each weight its name, numbers of tokens and sums in float64,
/// and at the end the CRC-32C of all that. It is replaced as a whole.
public struct CalibrationState: Sendable {
  /// The number of chunks that were measured.
  public private(set) var chunkCount = 0
  /// A note for the user about a file that is not used; nil without one.
  public private(set) var note: String?
  private(set) var sums: [String: InputSum] = [:]
  let path: FilePath
  private let key: String

  private static let title = "pleat sums 1"

  /// Reads what an earlier run left beside an output.
  ///
  /// `key` is equal only for runs that measure the same. Throws `io`.
  init(beside output: FilePath, key: String) throws(ModelError) {
    path = output.sibling(".\(output.name).sums")
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
    let bytes = try file.bytes(at: 0, count: file.byteCount)
    guard CRC32C(of: bytes.span.extracting(0..<bytes.count - 4)).value == bytes.lastNumber else {
      note = "\(path.string) is damaged: measuring from the beginning"
      return
    }
    var reader = ByteReader(bytes, path: path.string)
    try reader.skip(line.count, of: "the key")
    chunkCount = try Int(reader.integer(UInt32.self, of: "chunks"))
    for _ in 0..<(try reader.integer(UInt32.self, of: "weights")) {
      let length = try Int(reader.integer(UInt32.self, of: "a name"))
      let name = String(decoding: try reader.bytes(length, of: "a name"), as: UTF8.self)
      let matrixCount = try Int(reader.integer(UInt32.self, of: "matrices"))
      let columnCount = try Int(reader.integer(UInt32.self, of: "columns"))
      var sum = InputSum(squares: [], counts: [])
      for _ in 0..<matrixCount {
        sum.counts.append(Int(try reader.integer(UInt64.self, of: "tokens")))
        try reader.require(8 * columnCount, of: "sums")
        var squares: [Double] = []
        squares.reserveCapacity(columnCount)
        for _ in 0..<columnCount {
          squares.append(Double(bitPattern: try reader.integer(UInt64.self, of: "sums")))
        }
        sum.squares.append(squares)
      }
      sums[name] = sum
    }
  }

  private static func line(_ key: String) -> [UInt8] { Array("\(title) \(key)\n".utf8) }

  /// Writes sums in place of the earlier ones.
  ///
  /// Throws `io`.
  func save(_ sums: [String: InputSum], chunkCount: Int) throws(ModelError) {
    var bytes = Self.line(key)
    bytes.append(UInt32(chunkCount))
    bytes.append(UInt32(sums.count))
    for (name, sum) in sums.sorted(by: { $0.key < $1.key }) {
      bytes.append(UInt32(name.utf8.count))
      bytes += Array(name.utf8)
      bytes.append(UInt32(sum.counts.count))
      bytes.append(UInt32(sum.squares.first?.count ?? 0))
      for (count, squares) in zip(sum.counts, sum.squares) {
        bytes.append(UInt64(count))
        for square in squares { bytes.append(square.bitPattern) }
      }
    }
    bytes.append(CRC32C(of: bytes.span).value)
    let staging = try Staging(path, isFolder: false, names: [path.name], replacing: true)
    try staging.create(path.name, byteCount: bytes.count).write(bytes, at: 0)
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

extension [UInt8] {
  /// Adds a number, little-endian.
  fileprivate mutating func append(_ number: some FixedWidthInteger & UnsignedInteger) {
    for index in 0..<number.bitWidth / 8 {
      append(UInt8(truncatingIfNeeded: number >> (8 * index)))
    }
  }

  /// The number of the last 4 bytes.
  fileprivate var lastNumber: UInt32 { suffix(4).reversed().reduce(0) { $0 << 8 | UInt32($1) } }
}
