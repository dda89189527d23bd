internal import ArgumentParser
internal import Pleat

/// The options for the tokenizer of GGUF output that is made from a checkpoint.
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
      For gguf output from a checkpoint: use the tokenizer of this GGUF file instead of the \
      checkpoint's.
      """,
      valueName: "path"),
    completion: .file(extensions: ["gguf"]))
  var tokenizerFrom: String?

  /// Returns the destination with these options applied.
  ///
  /// Throws what opening the model of `--tokenizer-from` throws.
  func applied(to destination: Destination) throws(ModelError) -> Destination {
    var destination = destination
    destination.preTokenizer = tokenizerPre
    destination.tokenizerDonor = try tokenizerFrom.map { (path) throws(ModelError) in
      try Model.open(path)
    }
    return destination
  }
}
