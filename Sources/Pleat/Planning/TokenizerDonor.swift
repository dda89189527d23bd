internal import Bytes
internal import Formats
internal import SystemPackage
public import TensorModel
internal import Weights

/// A tokenizer that replaces that of the model: of an adapter folder or of another model.
public struct TokenizerDonor: Sendable {
  /// The path that the user gave.
  public let path: String

  /// What the donor stores.
  enum Contents {
    /// The files of a tokenizer, in byte order of their names.
    case files([File])
    /// The metadata of a llama.cpp model.
    case metadata(Metadata)
  }

  /// A file of a tokenizer.
  struct File {
    var name: String
    var bytes: [UInt8]
  }

  let contents: Contents

  /// Opens a folder with the files of a tokenizer, or a model that stores a tokenizer.
  ///
  /// Throws `unsupported` if there is no tokenizer, and what opening a model throws.
  public static func open(_ path: String) throws(ModelError) -> TokenizerDonor {
    // A folder needs no weights, and those of an adapter are not read.
    if let donor = try TokenizerDonor(folder: path) { return donor }
    let model = try Model.open(path)
    if model.isGGUF {
      return TokenizerDonor(path: path, contents: .metadata(model.catalog.metadata))
    }
    var files: [File] = []
    for name in model.catalog.companions.map(\.name) where belongs(name) {
      files.append(File(name: name, bytes: try model.companion(named: name) ?? []))
    }
    guard isTokenizer(files.map(\.name)) else {
      throw ModelError(
        .unsupported, "there is no tokenizer to take", file: path,
        expected: "a folder with tokenizer.json or tokenizer.model, or a gguf model",
        hint: "name the folder in which the trainer saved the tokenizer")
    }
    return TokenizerDonor(path: path, contents: .files(files.sorted { $0.name < $1.name }))
  }

  /// Reads the tokenizer in a folder; nil if there is none, or no folder.
  ///
  /// Throws `io` and `limit`.
  init?(folder path: String) throws(ModelError) {
    try self.init(partIn: path)
    guard isTokenizer else { return nil }
  }

  /// Reads what a folder has of a tokenizer, perhaps only generation_config.json; nil if it has nothing.
  ///
  /// Throws `io` and `limit`.
  init?(partIn folder: String) throws(ModelError) {
    guard FileSystem.kind(of: FilePath(folder)) == .folder else { return nil }
    let files = CompanionFiles(in: FilePath(folder)).files.filter { Self.belongs($0.name) }
    guard !files.isEmpty else { return nil }
    var contents: [File] = []
    for file in files { contents.append(try Self.read(file)) }
    self.init(path: folder, contents: .files(contents))
  }

  /// Whether there is more than files of no kind, such as generation_config.json.
  var isTokenizer: Bool {
    guard case .files(let files) = contents else { return true }
    return Self.isTokenizer(files.map(\.name))
  }

  private init(path: String, contents: Contents) {
    self.path = path
    self.contents = contents
  }

  private static func belongs(_ name: String) -> Bool { TokenizerFileKind(name) != nil }

  private static func isTokenizer(_ names: [String]) -> Bool {
    names.contains { belongs($0) && TokenizerFileKind($0) != .other }
  }

  private static func read(_ file: CompanionFiles.File) throws(ModelError) -> File {
    File(name: file.name, bytes: try InputFile.contents(of: file.path))
  }

  /// Whether writing to a path would change the donor.
  func reads(_ path: FilePath) -> Bool { FileSystem.isSame(path, FilePath(self.path)) }

  /// The path of a file of the donor, for messages.
  func path(of name: String) -> String { FilePath(path).appending(name).string }

  /// Access to its files; none for a llama.cpp model.
  var reader: CompanionReader {
    guard case .files(let files) = contents else { return CompanionReader(names: []) { _ in nil } }
    return CompanionReader(
      names: files.map(\.name), path: path(of:),
      read: { name in files.first { $0.name == name }?.bytes })
  }
}
