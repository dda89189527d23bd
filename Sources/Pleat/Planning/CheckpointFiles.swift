internal import Bytes
internal import Formats
internal import TensorModel
internal import Weights

extension Model {
  /// The files beside the weights of a checkpoint that is made from this llama.cpp model.
  ///
  /// - Parameters:
  ///   - tokenizer: Whether the files of the tokenizer are among them.
  ///   - notes: Receives notes for the user.
  /// - Returns: `config.json`, `generation_config.json` and the files of the tokenizer.
  /// - Throws: `unsupported` for a model or a tokenizer that these files cannot describe, and
  ///   `malformed` for metadata that is missing or invalid.
  func checkpointFiles(
    tokenizer: Bool, _ notes: inout [String]
  ) throws(ModelError) -> [CompanionPlan] {
    let metadata = catalog.metadata
    let config = try checkpointTranslation(of: catalog.tensors).config
    let ids = GenerationConfig.tokenIDs(metadata)
    var files = [
      CompanionPlan("config.json", .object((config.members ?? []) + ids))
    ]
    if let generation = GenerationConfig.document(metadata) {
      files.append(CompanionPlan("generation_config.json", generation))
    }
    guard tokenizer else { return files }
    guard metadata["tokenizer.ggml.model"] != nil else {
      notes.append("the file has no tokenizer, so the folder has none; --tokenizer-from names one")
      return files
    }
    do throws(ModelError) {
      let documents = try TokenizerDocuments(metadata)
      notes += documents.notes
      return files
        + documents.files.map { file in
          CompanionPlan(
            companion: Companion(name: file.name, byteCount: file.content.count), source: nil,
            text: file.content)
        }
    } catch {
      throw error.located(file: path)
    }
  }
}
