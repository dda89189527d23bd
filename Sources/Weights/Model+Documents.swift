package import Bytes
package import Formats
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
  /// Throws `malformed` for a document that is not JSON, and what reading throws.
  package func document(named name: String) throws(ModelError) -> JSONValue? {
    guard let bytes = try companion(named: name) else { return nil }
    return try JSONParser.parse(bytes, file: name)
  }

  /// Whether the model has the tensor names, row orders and metadata of llama.cpp.
  package var isGGUF: Bool { catalog.metadata["general.architecture"] != nil }

  /// Whether a format needs the names of llama.cpp, and the model has those of Hugging Face.
  package func needsTranslation(to format: Format) -> Bool {
    format.usesGGUFNames && !isGGUF
  }
}
