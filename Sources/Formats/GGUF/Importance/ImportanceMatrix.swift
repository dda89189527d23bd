public import Bytes
internal import SystemPackage
public import TensorModel

/// What llama-imatrix measured about the inputs of a model's weights: the importance of each column.
///
/// Its numbers stay in the files, which must not change while it is used. `formats/importance.md`
/// describes the files.
public struct ImportanceMatrix: Sendable {
  /// A kind of file that holds an importance matrix.
  public enum Form: String, Sendable, Hashable, CaseIterable {
    /// A GGUF file, since July 2025. Its counts are numbers of tokens.
    case gguf
    /// The older file, whose counts are numbers of chunks.
    case dat
  }

  /// The paths of the files that are added up; one unless matrices were merged.
  public var paths: [String]
  /// The form of the file that it was read from, which is also the unit of the counts.
  public var form: Form
  /// The entries, sorted by the bytes of their names; no two have the same name.
  public var entries: [Entry]
  /// The paths of the texts that were measured with.
  public var datasets: [String]
  /// How many chunks of text were measured with.
  public var chunkCount: Int
  /// The number of tokens in a chunk; nil for a `.dat` file, which does not state it.
  public var chunkSize: Int?
  /// What is wrong with the numbers: one error for each entry with numbers that cannot be.
  public var faults: [ModelError] = []

  /// Creates a matrix from its parts.
  init(
    paths: [String], form: Form, entries: [Entry], datasets: [String], chunkCount: Int,
    chunkSize: Int?
  ) {
    self.paths = paths
    self.form = form
    self.entries = entries.sorted {
      $0.name.utf8.lexicographicallyPrecedes($1.name.utf8)
    }
    self.datasets = datasets
    self.chunkCount = chunkCount
    self.chunkSize = chunkSize
  }

  /// Creates a matrix from what was measured.
  ///
  /// - Parameters:
  ///   - entries: The weights; no two have the same name.
  ///   - datasets: The paths of the texts.
  ///   - chunkCount: The number of chunks.
  ///   - chunkSize: The number of tokens in a chunk.
  package init(
    measured entries: [Entry], datasets: [String], chunkCount: Int, chunkSize: Int
  ) {
    self.init(
      paths: [], form: .gguf, entries: entries, datasets: datasets, chunkCount: chunkCount,
      chunkSize: chunkSize)
  }

  /// The size of a chunk that llama-imatrix uses unless it is told another one.
  public static let usualChunkSize = 512

  /// The paths of all files, for messages.
  public var path: String { paths.joined(separator: ", ") }

  // MARK: - Reading

  /// Reads a file of either form, recognized by its content, and refuses numbers that cannot be.
  ///
  /// Throws what `open` throws, and the first of `faults`.
  public static func read(
    _ path: String, limits: ReadLimits = ReadLimits()
  ) throws(ModelError) -> ImportanceMatrix {
    let matrix = try open(path, limits: limits)
    try matrix.checkNumbers()
    return matrix
  }

  /// Reads a file of either form, recognized by its content; lists bad numbers in `faults`.
  ///
  /// Throws `io`, `malformed`, `limit`, and `unsupported` for another kind of file.
  public static func open(
    _ path: String, limits: ReadLimits = ReadLimits()
  ) throws(ModelError) -> ImportanceMatrix {
    let file = try InputFile(FilePath(path))
    let head = try file.bytes(at: 0, count: min(headByteCount, file.byteCount))
    if head.starts(with: GGUFHeader.magic) { return try readGGUF(path, limits) }
    if recognizes(head) { return try readData(file, limits) }
    throw ModelError(
      file.byteCount == 0 ? .malformed : .unsupported, "not an importance matrix", file: path,
      expected: "a .gguf or .dat file of llama-imatrix",
      found: file.byteCount == 0 ? "an empty file" : "another kind of file")
  }

  /// Throws the first of `faults`, if there is one.
  public func checkNumbers() throws(ModelError) {
    if let fault = faults.first { throw fault }
  }

  /// The number of numbers, without counts.
  public var valueCount: Int { entries.reduce(0) { $0 + $1.valueCount } }

  /// The index of the entry with a name; nil if there is none.
  ///
  /// Takes a number of steps that is logarithmic in the number of entries.
  public func index(of name: String) -> Int? {
    var (low, high) = (0, entries.count)
    while low < high {
      let middle = (low + high) / 2
      if entries[middle].name.utf8.lexicographicallyPrecedes(name.utf8) {
        low = middle + 1
      } else {
        high = middle
      }
    }
    return low < entries.count && entries[low].name.hasSameBytes(as: name) ? low : nil
  }
}
