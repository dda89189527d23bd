package import Bytes
package import Formats
internal import SystemPackage
package import TensorModel

extension Model {
  /// The JSON document `config.json`; nil if there is none.
  ///
  /// Throws `malformed` for a document that is not JSON, and what reading throws.
  package func configuration() throws(ModelError) -> JSONValue? {
    try companionReader.document(Self.configFile)
  }

  private static var configFile: String { "config.json" }

  /// Whether the weights have factors that `config.json` still states, as in folders of mlx-lm.
  ///
  /// Throws what reading `config.json` throws.
  package func hasAbsorbedFactors() throws(ModelError) -> Bool {
    guard MLXFactors.mayBeAbsorbed(in: unarrangedTensors) else { return false }
    let reader = CompanionReader(names: []) { (name) throws(ModelError) in
      try companion(named: name)
    }
    return try reader.document(Self.configFile).flatMap(absorbedConfig) != nil
  }

  private func absorbedConfig(_ config: JSONValue) -> JSONValue? {
    MLXFactors.absorbed(config, in: unarrangedTensors)
  }

  /// The tensors before they were arranged for a runtime.
  private var unarrangedTensors: [TensorInfo] { (origin?.model ?? self).catalog.tensors }

  /// Access to the companion files by their names.
  package var companionReader: CompanionReader {
    CompanionReader(
      names: catalog.companions.map(\.name), path: { Self.path(of: $0, in: path) },
      revised: { $0 == Self.configFile ? absorbedConfig($1) ?? $1 : $1 },
      read: { (name) throws(ModelError) in try companion(named: name) })
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
