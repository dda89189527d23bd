internal import ArgumentParser
internal import Pleat

/// The options about the tokenizer of GGUF that is made from a checkpoint.
struct TokenizerOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      """
      For gguf made from a checkpoint: how text is split before byte pairs are merged, by \
      llama.cpp's name. (default: as tokenizer.json defines it)
      """, valueName: "name"))
  var tokenizerPre: String?

  @Option(
    help: ArgumentHelp(
      "For gguf made from a checkpoint: take the tokenizer of this GGUF model instead.",
      valueName: "path"),
    completion: .file(extensions: ["gguf"]))
  var tokenizerFrom: String?

  /// A destination with these wishes.
  ///
  /// Throws what opening the model throws whose tokenizer is wanted.
  func applied(to destination: Destination) throws(ModelError) -> Destination {
    var destination = destination
    destination.preTokenizer = tokenizerPre
    destination.tokenizerDonor = try tokenizerFrom.map { (path) throws(ModelError) in
      try Model.open(path)
    }
    return destination
  }
}
