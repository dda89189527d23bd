internal import ArgumentParser
internal import Pleat

/// The options for the tokenizer of the output.
struct TokenizerOptions: ParsableArguments {
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

  /// Returns the destination with these options applied.
  ///
  /// Throws what opening the path of `--tokenizer-from` throws.
  func applied(to destination: Destination) throws(ModelError) -> Destination {
    var destination = destination
    destination.preTokenizer = tokenizerPre
    destination.tokenizerDonor = try tokenizerFrom.map { (path) throws(ModelError) in
      try TokenizerDonor.open(path)
    }
    return destination
  }
}
