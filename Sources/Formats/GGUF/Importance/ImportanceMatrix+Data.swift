internal import Bytes
internal import SystemPackage
package import TensorModel

// The form without a magic number, `.dat`.
extension ImportanceMatrix {
  /// The number of bytes that `recognizes` looks at.
  static let headByteCount = 64

  /// The largest count of entries, and length of a name, of a file that is taken for a matrix.
  private static let largestEntryCount = 1 << 24
  static let largestNameLength = 255

  /// Whether a file is an importance matrix in the older form, by its first bytes.
  ///
  /// It begins with a count of entries, and the length and the letters of the first name.
  package static func recognizes(_ head: [UInt8]) -> Bool {
    guard head.count > 8 else { return false }
    func number(_ start: Int) -> Int {
      head[start..<start + 4].reversed().reduce(0) { $0 << 8 | Int($1) }
    }
    guard 1...largestEntryCount ~= number(0), 1...largestNameLength ~= number(4) else {
      return false
    }
    return head[8...].prefix(number(4)).allSatisfy(isLetter)
  }

  /// Whether a byte can be in the name of a weight: printable ASCII without the space.
  static func isLetter(_ byte: UInt8) -> Bool { 0x21..<0x7F ~= byte }

  /// Whether a path is that of a file in the older form.
  ///
  /// Throws `io` for a file that cannot be read.
  package static func isData(_ path: String) throws(ModelError) -> Bool {
    guard FileSystem.kind(of: FilePath(path)) == .file else { return false }
    let file = try InputFile(FilePath(path))
    return recognizes(try file.bytes(at: 0, count: min(headByteCount, file.byteCount)))
  }

  /// Reads a file of the older form.
  ///
  /// Throws `malformed`, `limit` and `io`.
  static func readData(
    _ file: InputFile, _ limits: ReadLimits
  ) throws(ModelError) -> ImportanceMatrix {
    var reader = DataReader(reader: ByteReader(file))
    // An entry takes at least 17 bytes: three numbers, a letter and a value.
    let entryCount = try reader.number(of: "entries", atLeast: 1, elementSize: 17)
    guard entryCount <= limits.tensorCount else {
      throw ModelError(
        .limit, "too many entries", file: file.path.string,
        expected: "at most \(limits.tensorCount)", found: "\(entryCount)")
    }
    var entries: [Entry] = []
    var faults: [ModelError] = []
    var seen: Set<ExactName> = []
    for _ in 0..<entryCount {
      let start = reader.offset
      let name = try reader.name()
      guard seen.insert(ExactName(name)).inserted else {
        throw ModelError(
          .malformed, "the file has the entry twice", file: file.path.string, tensor: name,
          offset: start)
      }
      do throws(ModelError) {
        let chunkCount = try reader.number(of: "chunks", atLeast: 0)
        let count = try reader.number(of: "values", atLeast: 1, elementSize: 4)
        let values = StoredNumbers(file, at: reader.offset, count: count)
        try reader.skip(values: count)
        if let fault = try values.fault(
          file: file.path.string, tensor: name,
          offset: reader.offset - 4 * count, matrixCount: 1)
        {
          faults.append(fault)
        }
        // Without a chunk, llama-quantize takes the values themselves: those of one chunk.
        entries.append(Entry(name: name, sums: values, counts: [max(1, chunkCount)]))
      } catch {
        throw error.located(tensor: name)
      }
    }
    let (chunkCount, dataset) = try reader.ending()
    var matrix = ImportanceMatrix(
      paths: [file.path.string], form: .dat, entries: entries,
      datasets: dataset.isEmpty ? [] : [dataset],
      chunkCount: chunkCount ?? entries.lazy.flatMap(\.counts).max() ?? 0, chunkSize: nil)
    matrix.faults = faults
    return matrix
  }
}

/// Reads the parts of a `.dat` file in sequence.
private struct DataReader {
  var reader: ByteReader
  var offset: Int { reader.offset }

  /// A 32-bit number: a count of `what`, each of which takes at least `elementSize` bytes.
  mutating func number(
    of what: String, atLeast least: Int, elementSize: Int = 0
  ) throws(ModelError) -> Int {
    let start = reader.offset
    let bits = try reader.integer(UInt32.self, of: "a count of \(what)")
    let count = Int(Int32(bitPattern: bits))
    let most = elementSize == 0 ? Int(Int32.max) : reader.remaining / elementSize
    guard count >= least, count <= most else {
      throw ModelError(
        .malformed, "the count of \(what) does not fit the file", file: reader.path,
        offset: start, expected: "\(least)…\(most)", found: "\(count)",
        hint: "the file is damaged or truncated, or no importance matrix")
    }
    return count
  }

  mutating func name() throws(ModelError) -> String {
    let length = try number(of: "bytes of a name", atLeast: 1, elementSize: 1)
    let start = reader.offset
    let bytes = try reader.bytes(length, of: "a name")
    guard length <= ImportanceMatrix.largestNameLength,
      bytes.allSatisfy(ImportanceMatrix.isLetter)
    else {
      throw ModelError(
        .malformed, "not the name of a weight", file: reader.path, offset: start,
        expected: "at most \(ImportanceMatrix.largestNameLength) letters, digits and dots",
        found: "\(length) bytes")
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  mutating func skip(values count: Int) throws(ModelError) {
    try reader.skip(count * 4, of: "the values of an entry")
  }

  /// The number of chunks and the path of the dataset, which the oldest files lack.
  mutating func ending() throws(ModelError) -> (chunkCount: Int?, dataset: String) {
    guard reader.remaining > 0 else { return (nil, "") }
    let chunkCount = try number(of: "chunks", atLeast: 0)
    let length = try number(of: "bytes of the dataset", atLeast: 0, elementSize: 1)
    let dataset = try reader.bytes(length, of: "the path of the dataset")
    guard reader.remaining == 0 else {
      throw ModelError(
        .malformed, "there are extra bytes after the dataset", file: reader.path,
        offset: reader.offset, found: "\(reader.remaining) bytes")
    }
    return (chunkCount, String(decoding: dataset, as: UTF8.self))
  }
}
