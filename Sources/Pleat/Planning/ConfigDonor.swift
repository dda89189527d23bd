internal import Bytes
internal import Formats
internal import SystemPackage
public import TensorModel

/// A folder whose config states what the metadata of a llama.cpp model may not tell.
public struct ConfigDonor: Sendable {
  /// The path that the user gave.
  public let path: String
  /// Its `config.json`.
  let config: JSONValue
  /// Its `generation_config.json`; nil if it has none.
  let generation: JSONValue?

  /// Reads the config in a folder.
  ///
  /// Throws `unsupported` if there is none, `malformed` for a file that is no JSON object, `io` and
  /// `limit`.
  public static func open(_ path: String) throws(ModelError) -> ConfigDonor {
    let folder = FilePath(path)
    guard let config = try document("config.json", in: folder), config.members != nil else {
      throw ModelError(
        .unsupported, "there is no config to take", file: path,
        expected: "a folder with config.json",
        hint: "name the folder of the checkpoint that the gguf file was made from")
    }
    return ConfigDonor(
      path: path, config: config,
      generation: try document("generation_config.json", in: folder))
  }

  private static func document(
    _ name: String, in folder: FilePath
  ) throws(ModelError) -> JSONValue? {
    let file = folder.appending(name)
    guard FileSystem.kind(of: file) != nil else { return nil }
    return try JSONParser.parse(
      try InputFile.contents(of: file), file: file.string, allowingNonFinite: true)
  }
}
