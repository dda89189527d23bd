package import Bytes
package import SystemPackage
package import TensorModel

/// The plan of an output: file lengths and tensor locations, before any tensor is read.
package protocol OutputLayout: Sendable {
  /// The contents of the output.
  var contents: Contents { get }
  /// The length of all files together, in bytes; an upper bound unless `isExact`.
  var byteCount: Int { get }
  /// Whether `byteCount` is exact.
  var isExact: Bool { get }
  /// The names of the files, relative to the folder that will contain them.
  var fileNames: [String] { get }
  /// The folder that will contain only these files; nil if they are written beside other files.
  var folder: FilePath? { get }
  /// Whether the output includes companion files.
  var holdsCompanions: Bool { get }
  /// The first bytes of each file, for formats that have no checksum of them.
  var fileHeaders: [FileHeader] { get }

  /// Creates the files under temporary names. Throws `io`.
  ///
  /// `resumption` identifies the output, so that a later run can continue it. It is used only for
  /// sets of several files.
  func open(replacing: Bool, resumption: Staging.Resumption?) throws(ModelError) -> any TensorSink
  /// The number of files that hold tensors.
  var shardCount: Int { get }

  /// Where the stored tensors lie; nil if this is known only once they are compressed.
  var placement: FilePlacement? { get }
  /// Takes over files in which parts have written all tensors with blocks, to write the rest.
  ///
  /// Only for layouts with a placement. `checksums` are those of what is there, if the format states
  /// any. Throws `io`, and `usage` as `open` does.
  func finish(
    _ parts: PartFolder, knowing checksums: TensorChecksums, replacing: Bool
  ) throws(ModelError) -> any TensorSink
}

/// Where the stored tensors of an output lie in its files.
package struct FilePlacement: Sendable {
  /// The names and lengths of the files that hold tensors.
  package let files: [(name: String, byteCount: Int)]
  // A table would be a copy of that of the layout.
  private let locate: @Sendable (Int) -> (file: Int, offset: Int)

  init(
    files: [(name: String, byteCount: Int)],
    locate: @escaping @Sendable (Int) -> (file: Int, offset: Int)
  ) {
    self.files = files
    self.locate = locate
  }

  /// The file and the offset of a stored tensor.
  package func location(of stored: Int) -> (file: Int, offset: Int) { locate(stored) }
}

extension OutputLayout {
  package var fileHeaders: [FileHeader] { [] }

  /// A text with the first and the last file of a split set; nil for one file, or a folder.
  package var splitName: String? {
    guard folder == nil, fileNames.count > 1, let first = fileNames.first,
      let last = fileNames.last
    else { return nil }
    return "\(first) … \(last)"
  }
}
