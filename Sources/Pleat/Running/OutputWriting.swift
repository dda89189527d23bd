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
    for reader in readers { reader.startChecking() }
    let sink = try layout.open(replacing: replaces, resumption: resumption)
    let result = try fill(sink)
    let sources = try sources()
    for reader in readers {
      try reader.checkRead()
      for file in reader.files { try file.checkUnchanged() }
    }
    let size = try sink.seal(sources: sources)
    if verifies {
      try sink.readBack(layout) { (sink) throws(ModelError) in _ = try fill(sink) }
    }
    try sink.publish()
    return (size, result)
  }
}
