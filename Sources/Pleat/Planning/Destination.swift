internal import Bytes
public import Formats
internal import SystemPackage
internal import TensorModel
internal import Weights

/// The output of a run: its path, its format and how its files are made.
public struct Destination: Sendable {
  /// The file or folder to write.
  public var path: String
  /// The format to write.
  public var format: Format
  /// The largest number of tensor bytes in a file; nil to write one file.
  public var shardByteCount: Int?
  /// Whether parts are compressed if that saves space; pleat files only.
  public var compresses: Bool
  /// llama.cpp's name of the pre-tokenizer, if a checkpoint becomes GGUF; nil to recognize it.
  public var preTokenizer: String?
  /// A tokenizer that replaces that of the model.
  public var tokenizerDonor: TokenizerDonor?
  /// The config of the checkpoint that a GGUF model becomes; nil to make one from its metadata.
  public var configDonor: ConfigDonor?
  /// The paths of files that the run reads besides models, such as its recipe; the output replaces
  /// none of them.
  public var otherInputs: [String] = []

  /// Creates a destination.
  public init(
    path: String, format: Format, shardByteCount: Int? = nil, compresses: Bool = false
  ) {
    self.path = path
    self.format = format
    self.shardByteCount = shardByteCount
    self.compresses = compresses
  }

  /// The free space at the output path, in bytes; nil if the system does not report it.
  public var freeByteCount: Int? { FileSystem.freeByteCount(of: FilePath(path).parentFolder) }

  /// Whether the output includes companion files.
  var holdsCompanions: Bool {
    format.isCheckpoint ? !isSafetensorsFile : !format.usesGGUFNames
  }

  /// Whether it is the folder of a checkpoint, with its config and its tokenizer.
  var isCheckpointFolder: Bool { format.isCheckpoint && !isSafetensorsFile }

  private var isSafetensorsFile: Bool { FilePath(path).extension == "safetensors" }

  /// Throws `usage` for options that the format does not support.
  func check() throws(ModelError) {
    let features = format.container.features
    if compresses && !features.contains(.compression) {
      throw ModelError(.usage, "only pleat files can be compressed", found: "--to \(format.name)")
    }
    if shardByteCount != nil && !features.contains(.shards) {
      throw ModelError(
        .usage, "\(format.name) output cannot be split into several files", found: "--shard",
        hint: "leave --shard out")
    }
    if format.needsConfig && isSafetensorsFile {
      throw ModelError(
        .usage, "\(format.name) needs a folder for the tensors and their config",
        expected: "-o folder/", found: path)
    }
    if shardByteCount != nil && isSafetensorsFile {
      throw ModelError(
        .usage, "--shard needs a folder as output", expected: "-o folder/", found: path,
        hint: "leave --shard out, or name a folder")
    }
  }

  /// The layout of an output with these contents.
  ///
  /// Throws `unsupported` for contents that the container cannot store.
  func layout(
    _ contents: Contents, for model: Model
  ) throws(ModelError) -> any OutputLayout {
    let options = WriteOptions(
      path: FilePath(path), shardByteCount: shardByteCount, compresses: compresses)
    do throws(ModelError) {
      return try format.container.layout(contents, options)
    } catch {
      throw error.located(file: model.path)
    }
  }

  /// Throws `usage` if an output file, or its folder, is also an input of the run.
  func check(_ layout: any OutputLayout, against models: [Model]) throws(ModelError) {
    let path = FilePath(path)
    for output in layout.folder.map({ [$0] }) ?? layout.fileNames.map(path.sibling)
    where models.contains(where: { $0.reads(output) }) || tokenizerDonor?.reads(output) == true
      || otherInputs.contains(where: { FileSystem.isSame(FilePath($0), output) })
    {
      throw ModelError(
        .usage, "the output is the input", file: output.string, hint: "write to another path")
    }
  }
}
