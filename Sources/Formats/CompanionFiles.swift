internal import Bytes
package import SystemPackage
internal import TensorModel

/// The companion files in the folder of a model.
package struct CompanionFiles: Sendable {
  /// A companion file on the disk.
  package struct File: Sendable, Hashable {
    /// The name as a companion, with the sub-folder if it is in one.
    package var name: String
    /// The path.
    package var path: FilePath
  }

  /// The files, in byte order; those in sub-folders come last.
  package let files: [File]
  /// Notes about folders whose files are left out.
  let notes: [String]

  private static let suffixes: Set<String> = ["json", "txt", "jinja", "model", "tiktoken", "py"]
  /// The modules of sentence-transformers may have weights of their own.
  private static let moduleSuffixes = suffixes.union(["safetensors", "bin"])
  private static let moduleListByteCount = 1 << 20

  /// No files.
  init() { (files, notes) = ([], []) }

  /// Finds the companion files in a folder.
  ///
  /// Of sub-folders, those with chat templates are read, and those that `modules.json` names.
  package init(in folder: FilePath) {
    var files = Self.files(in: folder, Self.suffixes).filter {
      !$0.name.hasSuffix(".safetensors.index.json") && !$0.name.hasPrefix("adapter_")
    }
    let folders = Self.moduleFolders(in: folder).filter {
      FileSystem.kind(of: folder.appending($0)) == .folder
    }
    for name in FileSystem.names(in: folder) where CompanionName.isFolderName(name) {
      if name == CompanionName.templateFolder {
        files += Self.files(in: folder, ["jinja"], subfolder: name)
      } else if folders.contains(name) {
        files += Self.files(in: folder, Self.moduleSuffixes, subfolder: name)
      }
    }
    self.files = files
    notes = folders.filter { !CompanionName.isFolderName($0) }.map {
      "\(SentenceModules.fileName) names the folder \($0), whose files are left out: Pleat takes "
        + "folders such as 1_Pooling"
    }
  }

  private static func files(
    in folder: FilePath, _ suffixes: Set<String>, subfolder: String? = nil
  ) -> [File] {
    let folder = subfolder.map(folder.appending) ?? folder
    return FileSystem.names(in: folder).compactMap { name in
      let path = folder.appending(name)
      guard let suffix = FilePath.Component(name)?.extension, suffixes.contains(suffix),
        FileSystem.kind(of: path) == .file
      else { return nil }
      return File(name: subfolder.map { "\($0)/\(name)" } ?? name, path: path)
    }
  }

  /// The folders that `modules.json` names; none if it cannot be read.
  private static func moduleFolders(in folder: FilePath) -> [String] {
    let path = folder.appending(SentenceModules.fileName)
    guard FileSystem.kind(of: path) == .file, let file = try? InputFile(path),
      file.byteCount <= moduleListByteCount,
      let bytes = try? file.bytes(at: 0, count: file.byteCount),
      let list = try? JSONParser.parse(bytes, file: path.string)
    else { return [] }
    return SentenceModules.folders(list)
  }
}
