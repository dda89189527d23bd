internal import Bytes
internal import Formats
internal import SystemPackage
public import TensorModel
public import Weights

/// A copy of a model's files with changed metadata, in which every tensor keeps its bytes.
///
/// In GGUF only the first file of a set changes; in safetensors, every shard. All other files that
/// belong to the model are copied.
public struct MetadataCopy: Sendable {
  /// The model that is copied.
  public let model: Model
  /// The changes.
  public let changes: MetadataChanges
  /// Notes for the user.
  public let notes: [String]

  let layout: any OutputLayout
  private static let pieceByteCount = 1 << 26

  /// Plans a copy; reads and writes no tensor.
  ///
  /// - Parameters:
  ///   - model: The model, or a file with an adapter.
  ///   - changes: The changes of its metadata.
  ///   - path: The file to write, or the folder if the model is one. For a set of several GGUF files,
  ///     the name of the first file, or the name without its number.
  /// - Throws: `unsupported` for files whose metadata cannot be changed, `usage` for a path that does
  ///   not suit the model, and `io`.
  public init(
    of model: Model, with changes: MetadataChanges, to path: String
  ) throws(ModelError) {
    self.model = model
    self.changes = changes
    layout = try model.reader.copyLayout(
      WriteOptions(path: FilePath(path)), changing: changes.applied)
    var destination = Destination(path: path, format: model.format)
    destination.otherInputs = changes.inputs
    try destination.check(layout, against: [model])
    notes = changes.notes + Self.leftOut(model, layout)
  }

  /// The total length of the output files in bytes.
  public var byteCount: Int { layout.byteCount }

  /// The names of the output files, relative to their folder.
  public var fileNames: [String] { layout.fileNames }

  /// A text with the first and the last file of a split set; nil for one file, or a folder.
  public var splitName: String? { layout.splitName }

  /// A note about the files in the model's folder that are not copied.
  private static func leftOut(_ model: Model, _ layout: any OutputLayout) -> [String] {
    guard layout.folder != nil, let folder = model.reader.inputPaths.first?.parentFolder else {
      return []
    }
    let copied = Set(layout.fileNames.map { $0.split(separator: "/")[0] })
    let names = FileSystem.names(in: folder).filter {
      !$0.hasPrefix(".") && !copied.contains($0[...])
        && !$0.hasSuffix(".safetensors.index.json")
    }
    return names.isEmpty ? [] : ["not copied: \(names.joined(separator: ", "))"]
  }

  /// Writes the files.
  ///
  /// - Parameters:
  ///   - replacing: Whether an existing output is replaced.
  ///   - verifying: Whether the output is re-read and compared before it is renamed into place.
  ///   - cancellation: The request to stop.
  ///   - onProgress: A closure that is called after each block.
  /// - Returns: How much was written.
  /// - Throws: `io`, and `interrupted` if cancelled.
  public func write(
    replacing: Bool, verifying: Bool = false, cancellation: Cancellation = Cancellation(),
    onProgress: ((Progress) -> Void)? = nil
  ) throws(ModelError) -> WrittenSize {
    let writing = OutputWriting(
      layout: layout, readers: [model.reader], replaces: replacing, verifies: verifying)
    return try writing(
      fill: { (sink) throws(ModelError) in try copyAll(to: sink, cancellation, onProgress) }
    ).size
  }

  private func copyAll(
    to sink: any BlockSink, _ cancellation: Cancellation, _ onProgress: ((Progress) -> Void)?
  ) throws(ModelError) {
    for index in layout.holdsCompanions ? model.catalog.companions.indices : 0..<0 {
      try UnchangedParts.copyCompanion(index, of: model, to: index, in: sink)
    }
    let stored = model.reader.stored
    var progress = Progress(
      byteCount: 0, totalByteCount: model.tensorByteCount, tensorCount: 0,
      totalTensorCount: stored.count, tensor: "")
    var ticket = 0
    for (index, tensor) in stored.enumerated() {
      guard let location = model.reader.location(of: index) else {
        preconditionFailure("the layout of a copy has only tensors that can be copied")
      }
      progress.tensor = tensor.name
      progress.tensorCount = index + 1
      for start in stride(from: 0, to: tensor.byteCount, by: Self.pieceByteCount) {
        guard !cancellation.isRequested else {
          throw ModelError(.interrupted, "stopped on request")
        }
        let end = min(start + Self.pieceByteCount, tensor.byteCount)
        let range = location.offset + start..<location.offset + end
        try sink.write(
          [PartBlock(stored: index, offset: start, .range(location.file, range))], ticket: ticket)
        ticket += 1
        progress.byteCount += range.count
        onProgress?(progress)
      }
    }
  }
}
