internal import Architectures
internal import Bytes
internal import Formats
internal import SystemPackage
internal import TensorModel
internal import Weights

extension Model {
  /// The translation of the model to llama.cpp's names; nil if the destination needs none.
  ///
  /// `tensors` are those of the catalog, perhaps with more rows, then added ones.
  ///
  /// Throws `unsupported` and `malformed` for a model that cannot be translated, `usage` for
  /// tokenizer options that do not apply, and what reading the tokenizer throws.
  func translation(
    for destination: Destination, of tensors: [TensorInfo]
  ) throws(ModelError) -> GGUFTranslation? {
    guard needsTranslation(to: destination.format) else {
      if destination.preTokenizer != nil || destination.tokenizerDonor != nil {
        throw ModelError(
          .usage, "the tokenizer options are only for converting a checkpoint to gguf",
          found: "\(format.name) to \(destination.format.name)",
          hint: "leave --tokenizer-pre and --tokenizer-from out")
      }
      return nil
    }
    return try translation(of: tensors) { (architecture, tokenCount) throws(ModelError) in
      try tokenizer(destination, architecture, tokenCount)
    }
  }

  /// The translation of the model to llama.cpp's names, with the tokenizer that `tokenizer` gives.
  ///
  /// Throws what `translation(for:)` throws, and `unsupported` if the model has no `config.json`.
  func translation(
    of tensors: [TensorInfo]? = nil,
    _ tokenizer: (Architecture, Int) throws(ModelError) -> GGUFTokenizer? = { (_, _) in nil }
  ) throws(ModelError) -> GGUFTranslation {
    guard let config = try configuration() else {
      throw ModelError(
        .unsupported, "the model has no config.json, which gguf needs", file: path,
        expected: "a Hugging Face checkpoint, or a file made from one")
    }
    do throws(ModelError) {
      return try GGUFTranslation(
        tensors ?? catalog.tensors, config: config,
        generation: try document(named: "generation_config.json"),
        name: displayName, tokenizer: tokenizer)
    } catch {
      throw error.located(file: path)
    }
  }

  /// The name of the model: that of its file or folder.
  private var displayName: String {
    let name = FilePath(path).lexicallyNormalized().stem ?? "model"
    return name == "." ? "model" : name
  }

  private func tokenizer(
    _ destination: Destination, _ architecture: Architecture, _ tokenCount: Int
  ) throws(ModelError) -> GGUFTokenizer {
    if let donor = destination.tokenizerDonor {
      guard destination.preTokenizer == nil else {
        throw ModelError(
          .usage, "--tokenizer-from already determines the pre-tokenizer",
          found: "--tokenizer-pre and --tokenizer-from", hint: "leave one of them out")
      }
      return try GGUFTokenizer(
        donor: donor.catalog.metadata, path: donor.path, tokenCount: tokenCount)
    }
    return try GGUFTokenizer(
      { (name) throws(ModelError) in try companion(named: name) },
      config: try configuration() ?? .null, tokenCount: tokenCount, architecture: architecture,
      pre: destination.preTokenizer)
  }
}
