internal import Bytes
public import Formats
internal import SystemPackage
public import TensorModel

/// An importance matrix in another form, or the sum of several.
public struct ImportanceCopy: Sendable {
  /// The matrix that is written.
  public let matrix: ImportanceMatrix
  /// The paths of the matrices that it was made from.
  public let sources: [String]
  /// The form that is written.
  public let form: ImportanceMatrix.Form
  /// The file to write.
  public let path: String
  /// The length of the file in bytes.
  public let byteCount: Int
  /// Notes for the user.
  public let notes: [String]

  /// Plans a file; writes nothing.
  ///
  /// - Parameters:
  ///   - matrices: The matrices to add, at least one.
  ///   - path: The file to write.
  ///   - form: The form to write; nil for the one that the suffix of the path names.
  /// - Throws: `usage` for a path without such a suffix, or for the path of an input; what adding
  ///   the matrices throws, and `unsupported` for what the form cannot hold.
  public init(
    of matrices: [ImportanceMatrix], to path: String, as form: ImportanceMatrix.Form? = nil
  ) throws(ModelError) {
    guard let form = form ?? Self.form(suggestedBy: path) else {
      throw ModelError(
        .usage, "the form of the importance matrix is not given", file: path,
        expected: "--to \(Self.formNames), or an output that ends in .gguf or .dat")
    }
    let inputs = matrices.flatMap(\.paths)
    if inputs.contains(where: { FileSystem.isSame(FilePath($0), FilePath(path)) }) {
      throw ModelError(
        .usage, "the output is the input", file: path, hint: "write to another path")
    }
    matrix = try ImportanceMatrix.merged(matrices)
    sources = inputs
    self.form = form
    self.path = path
    byteCount = try matrix.byteCount(as: form)
    notes = Self.notes(matrices, form, matrix)
  }

  /// The form that the suffix of a path names; nil if it names none.
  public static func form(suggestedBy path: String) -> ImportanceMatrix.Form? {
    FilePath(path).extension.flatMap { ImportanceMatrix.Form(rawValue: $0.lowercased()) }
  }

  /// The form with a name.
  ///
  /// Throws `usage` if there is none.
  public static func form(named name: String) throws(ModelError) -> ImportanceMatrix.Form {
    if let form = ImportanceMatrix.Form(rawValue: name) { return form }
    throw ModelError(
      .usage, "an importance matrix cannot be written as '\(name)'", expected: formNames,
      found: name)
  }

  private static let formNames = ImportanceMatrix.Form.allCases.map(\.rawValue).choices

  private static func notes(
    _ matrices: [ImportanceMatrix], _ form: ImportanceMatrix.Form, _ matrix: ImportanceMatrix
  ) -> [String] {
    var notes: [String] = []
    let sizes = Set(matrices.compactMap(\.chunkSize))
    let size = matrix.chunkSize ?? ImportanceMatrix.usualChunkSize
    if matrices.contains(where: { $0.form == .dat }), form == .gguf || matrices.count > 1 {
      notes.append("a .dat file does not state the size of its chunks: \(size) tokens are assumed")
    }
    if sizes.count > 1 {
      notes.append("the matrices have chunks of different sizes: the sum counts chunks of \(size)")
    }
    guard form == .dat else { return notes }
    let unseen = matrix.entries.filter(\.isUnseen)
    if let first = unseen.first {
      notes.append("weights that saw no token are left out: \(unseen.count), such as \(first.name)")
    }
    let partial = matrix.entries.filter { !$0.isUnseen && !$0.unseen.isEmpty }
    if let first = partial.first {
      notes.append("experts that saw no token get the importance 1, as in \(first.name)")
    }
    if matrix.datasets.count > 1 {
      notes.append("a .dat file has room for one dataset: the last of \(matrix.datasets.count)")
    }
    return notes
  }

  /// Writes the file.
  ///
  /// - Parameters:
  ///   - replacing: Whether an existing file is replaced.
  ///   - verifying: Whether the file is re-read and compared before it is renamed into place.
  /// - Throws: `io`, and `usage` if the file exists and must not be replaced.
  public func write(replacing: Bool, verifying: Bool = false) throws(ModelError) {
    let name = FilePath(path).name
    let staging = try Staging(
      FilePath(path), isFolder: false, names: [name], replacing: replacing)
    let file = try staging.create(name, byteCount: byteCount)
    var offset = 0
    try matrix.forEachPiece(as: form) { (piece) throws(ModelError) in
      try file.write(piece, at: offset)
      offset += piece.count
    }
    try staging.synchronize()
    if verifying { try readBack(staging.path(of: name)) }
    try staging.publish()
  }

  /// Compares the file with what was written to it.
  ///
  /// Throws `io` if it differs.
  private func readBack(_ path: FilePath) throws(ModelError) {
    let file = try InputFile(path)
    // The comparison must read the disk, not the copy that the system keeps in memory.
    file.forgetCached()
    guard let offset = try difference(from: file) else { return }
    throw ModelError(
      .io, "the written file differs from what was written", file: self.path, offset: offset)
  }

  /// Whether the file exists already, with the bytes that would be written.
  ///
  /// Throws `io`.
  func isWritten() throws(ModelError) -> Bool {
    guard FileSystem.kind(of: FilePath(path)) == .file else { return false }
    let file = try InputFile(FilePath(path))
    guard file.byteCount == byteCount else { return false }
    return try difference(from: file) == nil
  }

  /// About where a file differs from what is written; nil if it is equal.
  ///
  /// Throws `io`.
  private func difference(from file: InputFile) throws(ModelError) -> Int? {
    var offset = 0
    var difference: Int?
    try matrix.forEachPiece(as: form) { (piece) throws(ModelError) in
      guard difference == nil else { return }
      let end = offset + piece.count
      guard end <= file.byteCount, try file.bytes(at: offset, count: piece.count) == piece else {
        difference = offset
        return
      }
      offset = end
    }
    return difference
  }
}
