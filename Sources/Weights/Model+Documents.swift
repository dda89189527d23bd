package import Bytes
package import Formats
internal import SystemPackage
package import TensorModel

extension Model {
  /// The JSON document `config.json`; nil if there is none.
  ///
  /// Throws `malformed` for a document that is not JSON, and what reading throws.
  package func configuration() throws(ModelError) -> JSONValue? {
    try document(named: "config.json")
  }

  /// The JSON document in a companion file; nil if there is none with that name.
  ///
  /// Numbers may be `NaN` and infinite, as Python writes them. Throws `malformed` for a document that
  /// is not JSON, and what reading throws.
  package func document(named name: String) throws(ModelError) -> JSONValue? {
    guard let bytes = try companion(named: name) else { return nil }
    return try JSONParser.parse(
      bytes, file: Self.path(of: name, in: path), allowingNonFinite: true)
  }

  /// The path of a companion for messages; for a file that holds its companions, with its name.
  static func path(of companion: String, in model: String) -> String {
    let path = FilePath(model)
    if FileSystem.kind(of: path) == .folder { return path.appending(companion).string }
    return path.name.hasSuffix(".index.json")
      ? path.sibling(companion).string : "\(model): \(companion)"
  }

  /// Whether the model has the tensor names, row orders and metadata of llama.cpp.
  package var isGGUF: Bool { catalog.metadata["general.architecture"] != nil }

  /// Whether a format needs the names of llama.cpp, and the model has those of Hugging Face.
  package func needsTranslation(to format: Format) -> Bool {
    format.usesGGUFNames && !isGGUF
  }
}
