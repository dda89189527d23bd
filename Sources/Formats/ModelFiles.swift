internal import Bytes
package import SystemPackage
package import TensorModel

/// The files of the model at a path that the user gave.
package struct ModelFiles: Sendable {
  /// The path as given.
  package var path: FilePath
  /// The files that contain the weights, in order; never empty.
  package var files: [FilePath]
  /// The index of the shards; nil if there is none.
  private(set) var index: SafetensorsIndex?
  /// The files that belong to the model without containing weights.
  package var companions = CompanionFiles()

  /// Finds the files of a model, given a file, a folder or an index of shards.
  ///
  /// Throws `io` if there is nothing to read, `unsupported` for a folder of PyTorch pickles,
  /// `mismatch` if shards are missing, and what reading the index throws.
  package init(_ path: FilePath) throws(ModelError) {
    self.path = path
    switch FileSystem.kind(of: path) {
    case nil:
      throw ModelError(.io, "no such file or folder", file: path.string)
    case .folder:
      (files, index) = try Self.files(in: path)
      companions = CompanionFiles(in: path)
    default:
      let isIndex = path.name.hasSuffix(".safetensors.index.json")
      (files, index) = isIndex ? try Self.files(of: path) : ([path], nil)
      if isIndex { companions = CompanionFiles(in: path.parentFolder) }
    }
  }

  /// The same without the names of tensors in the index, once they have been checked.
  var withoutEntries: ModelFiles {
    var files = self
    files.index = index?.withoutEntries
    return files
  }

  /// The file names that PEFT and MLX use for the tensors of an adapter.
  package static let adapterNames = ["adapter_model.safetensors", "adapters.safetensors"]

  /// Whether the path is an adapter folder of PEFT or MLX rather than a model.
  package var isAdapter: Bool { files.allSatisfy { Self.adapterNames.contains($0.name) } }

  // The weights are looked for in the same order as in transformers.
  private static func files(
    in folder: FilePath
  ) throws(ModelError) -> ([FilePath], SafetensorsIndex?) {
    let names = FileSystem.names(in: folder)
    let index = "model.safetensors.index.json"
    if names.contains("model.safetensors") {
      return ([folder.appending("model.safetensors")], nil)
    }
    if names.contains(index) { return try Self.files(of: folder.appending(index)) }
    let weights = names.filter { $0.hasSuffix(".safetensors") }
    let models = weights.filter { $0.hasPrefix("model") }
    let adapters = Self.adapterNames.filter(weights.contains).prefix(1)
    let other = models.isEmpty ? (adapters.isEmpty ? weights : Array(adapters)) : models
    var files = other.map(folder.appending)
    // A download folder may contain a model in one of the single-file formats.
    for suffix in [".gguf", ".pleat"] where files.isEmpty {
      files = names.filter { $0.hasSuffix(suffix) }.map(folder.appending)
    }
    guard !files.isEmpty else { throw Self.empty(folder, names) }
    // Without an index, only the file names show that an interrupted run or download left shards out.
    if let count = models.compactMap(ShardName.count).max(), models.count < count {
      throw ModelError(
        .mismatch, "shards and their index are missing", file: folder.string,
        expected: "\(count) files", found: models.joined(separator: ", "),
        hint: "the run or download was interrupted: convert or download the model again")
    }
    return (files, nil)
  }

  /// Whether the model is a folder of files, and not only one file.
  var isFolder: Bool { index != nil || FileSystem.kind(of: path) == .folder }

  /// The error for a folder with several files that do not belong together.
  var severalModels: ModelError {
    ModelError(
      .usage, "the folder holds several models", file: path.string,
      found: files.map(\.name).joined(separator: ", "), hint: "pass the path of one of the files")
  }

  private static func empty(_ folder: FilePath, _ names: [String]) -> ModelError {
    let hasPickle = names.contains { $0.hasSuffix(".bin") || $0.hasSuffix(".pth") }
    return ModelError(
      hasPickle ? .unsupported : .io, "no model in this folder", file: folder.string,
      expected: "a .safetensors, .gguf or .pleat file",
      found: hasPickle ? "PyTorch pickles" : names.isEmpty ? "nothing" : "other files",
      hint: hasPickle
        ? "save it again with model.save_pretrained(path), which writes safetensors" : nil)
  }

  private static func files(
    of index: FilePath
  ) throws(ModelError) -> ([FilePath], SafetensorsIndex?) {
    let index = try SafetensorsIndex(reading: index)
    let files = index.fileNames.map(index.path.parentFolder.appending)
    guard !files.isEmpty else {
      throw ModelError(.malformed, "the index names no tensor", file: index.path.string)
    }
    return (files, index)
  }
}

extension FilePath {
  /// The last component as text; empty for a root.
  package var name: String { lastComponent?.string ?? "" }
}
