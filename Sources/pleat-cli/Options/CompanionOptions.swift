internal import ArgumentParser
internal import Pleat

/// The options for what stands beside the weights of the output: its tokenizer and its config.
struct CompanionOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      """
      For gguf output from a checkpoint: llama.cpp's name of the pre-tokenizer, which splits text \
      before byte pairs are merged. (default: recognized from tokenizer.json)
      """, valueName: "name"))
  var tokenizerPre: String?

  @Option(
    help: ArgumentHelp(
      """
      Use the tokenizer, chat template and end-of-text token of this adapter folder or model \
      instead of those of the model that is read.
      """,
      valueName: "path"),
    completion: .file())
  var tokenizerFrom: String?

  @Option(
    help: ArgumentHelp(
      """
      For a gguf model that becomes a folder: use config.json and generation_config.json of this \
      folder, which may state what the metadata does not. (default: made from the metadata)
      """,
      valueName: "folder"),
    completion: .directory)
  var configFrom: String?

  /// Returns the destination with these options applied.
  ///
  /// Throws what opening the paths of the options throws.
  func applied(to destination: Destination) throws(ModelError) -> Destination {
    var destination = destination
    destination.preTokenizer = tokenizerPre
    destination.tokenizerDonor = try tokenizerFrom.map { (path) throws(ModelError) in
      try TokenizerDonor.open(path)
    }
    destination.configDonor = try configFrom.map { (path) throws(ModelError) in
      try ConfigDonor.open(path)
    }
    return destination
  }
}
