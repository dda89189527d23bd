internal import Architectures
internal import Bytes
internal import Formats
internal import TensorModel
internal import Weights

extension Model {
  /// The files beside the weights of a checkpoint that is made from this llama.cpp model.
  ///
  /// - Parameters:
  ///   - donor: The config to take; nil to make one from the metadata.
  ///   - tokenizer: Whether the files of the tokenizer are among them.
  ///   - notes: Receives notes for the user.
  /// - Returns: `config.json`, `generation_config.json` and the files of the tokenizer.
  /// - Throws: `unsupported` for a model or a tokenizer that these files cannot describe, and
  ///   `malformed` for metadata that is missing or invalid.
  func checkpointFiles(
    config donor: ConfigDonor?, tokenizer: Bool, _ notes: inout [String]
  ) throws(ModelError) -> [CompanionPlan] {
    let metadata = catalog.metadata
    let translation = try checkpointTranslation(of: catalog.tensors, config: donor?.config)
    let ids = GenerationConfig.tokenIDs(metadata, isEncoder: translation.isEncoder)
    var files = [CompanionPlan("config.json", ids.overridden(by: translation.config))]
    let generated = translation.isEncoder ? nil : GenerationConfig.document(metadata)
    if let generation = donor?.generation ?? generated {
      files.append(CompanionPlan("generation_config.json", generation))
    }
    files += try sentenceFiles(&notes)
    guard tokenizer else { return files }
    guard metadata["tokenizer.ggml.model"] != nil else {
      notes.append("the file has no tokenizer, so the folder has none; --tokenizer-from names one")
      return files
    }
    do throws(ModelError) {
      let documents = try TokenizerDocuments(metadata)
      notes += documents.notes
      return files + documents.files.map { CompanionPlan($0.name, $0.content) }
    } catch {
      throw error.located(file: path)
    }
  }

  /// The files of sentence-transformers, if the metadata states a pooling.
  ///
  /// Throws what making them throws.
  private func sentenceFiles(_ notes: inout [String]) throws(ModelError) -> [CompanionPlan] {
    do throws(ModelError) {
      let documents = try SentenceDocuments(
        catalog.metadata, catalog.tensors, numbers: numbers(of: catalog.tensors))
      notes += documents.notes
      return documents.files.map { CompanionPlan($0.name, $0.content) }
    } catch {
      throw error.located(file: path)
    }
  }
}
