internal import Bytes
public import Formats
internal import SystemPackage
internal import TensorModel

/// Where a result goes and how its files are made.
public struct Destination: Sendable {
  /// The file or folder to make.
  public var path: String
  /// Its format.
  public var format: Format
  /// Split into files of at most this many bytes of tensors.
  public var shardByteCount: Int?
  /// Compress parts where that gains something; pleat files only.
  public var compresses: Bool
  /// llama.cpp's name of how text is split before byte pairs are merged, where a checkpoint becomes
  /// GGUF; nil to recognise it.
  public var preTokenizer: String?
  /// A GGUF model whose tokenizer is taken instead of the checkpoint's own.
  public var tokenizerDonor: Model?

  /// A destination.
  public init(
    path: String, format: Format, shardByteCount: Int? = nil, compresses: Bool = false
  ) {
    self.path = path
    self.format = format
    self.shardByteCount = shardByteCount
    self.compresses = compresses
  }

  /// How many bytes can be written where the result goes; nil when the system does not tell.
  public var freeByteCount: Int? { FileSystem.freeByteCount(of: FilePath(path).parentFolder) }

  /// Throws `usage` for wishes that the format cannot grant.
  func check() throws(ModelError) {
    if compresses && format != .pleat {
      throw ModelError(.usage, "only pleat files are compressed", found: "--to \(format.name)")
    }
    if shardByteCount != nil && format == .pleat {
      throw ModelError(
        .usage, "a pleat file is one file", found: "--shard", hint: "leave --shard out")
    }
    if format.needsConfig && FilePath(path).extension == "safetensors" {
      throw ModelError(
        .usage, "\(format.name) needs a folder, for the tensors and their config",
        expected: "-o folder/", found: path)
    }
    if shardByteCount != nil && FilePath(path).extension == "safetensors" {
      throw ModelError(
        .usage, "shards need a folder", expected: "-o folder/", found: path,
        hint: "leave --shard out, or name a folder")
    }
  }

  /// Throws `usage` when a file that would be written, or its folder, is read at the same time.
  func check(_ layout: any OutputLayout, against models: [Model]) throws(ModelError) {
    let path = FilePath(path)
    for place in layout.folder.map({ [$0] }) ?? layout.fileNames.map(path.sibling)
    where models.contains(where: { $0.uses(place) }) {
      throw ModelError(
        .usage, "the output is the input", file: place.string, hint: "write to another path")
    }
  }
}
