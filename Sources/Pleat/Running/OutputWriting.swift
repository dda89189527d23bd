internal import Bytes
internal import Formats
internal import TensorModel

/// The steps of every run that writes: open, fill, check the inputs, seal, read back, publish.
struct OutputWriting {
  /// The layout of the files to write.
  let layout: any OutputLayout
  /// The readers of all inputs.
  let readers: [any StoredReader]
  /// Whether an existing output is replaced.
  let replaces: Bool
  /// Whether the output is re-read and compared before it is renamed into place.
  let verifies: Bool
  /// Whether finished files of an earlier run are reused; nil if the run cannot be resumed.
  var resumption: Staging.Resumption?
  /// The files that parts have filled, and what is known of them; nil if all is written anew.
  var filled: (folder: PartFolder, checksums: TensorChecksums)?

  /// Writes the output.
  ///
  /// - Parameters:
  ///   - fill: Writes all blocks to a sink. For verification it is called a second time, with a
  ///     sink that compares the blocks with the files.
  ///   - sources: Returns the source files with their checksums; called after everything was read.
  /// - Returns: How much was written, and the result of the first call of `fill`.
  /// - Throws: `io`, `malformed` for inputs that are damaged or changed meanwhile, and what the
  ///   closures throw. A failed run leaves no output; with resumption, it may keep finished files.
  func callAsFunction<Result>(
    fill: (any BlockSink) throws(ModelError) -> Result,
    sources: () throws(ModelError) -> [SourceFile] = { () throws(ModelError) in [] }
  ) throws(ModelError) -> (size: WrittenSize, result: Result) {
    readers.startChecking()
    let sink = try open()
    let result = try fill(sink)
    let sources = try sources()
    try readers.checkRead()
    let size = try sink.seal(sources: sources)
    if verifies {
      try sink.readBack(layout) { (sink) throws(ModelError) in _ = try fill(sink) }
    }
    try filled?.folder.seal()
    try sink.publish()
    return (size, result)
  }

  private func open() throws(ModelError) -> any TensorSink {
    guard let filled else { return try layout.open(replacing: replaces, resumption: resumption) }
    return try layout.finish(filled.folder, knowing: filled.checksums, replacing: replaces)
  }
}

extension [any StoredReader] {
  /// Starts recording the checksums of everything that is read, for `checkRead`.
  func startChecking() { for reader in self { reader.startChecking() } }

  /// Compares what was read with the checksums that the inputs state, and looks for changed files.
  ///
  /// Throws `malformed` and `io`.
  func checkRead() throws(ModelError) {
    for reader in self {
      try reader.checkRead()
      for file in reader.files { try file.checkUnchanged() }
    }
  }
}
