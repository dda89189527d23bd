/// The words that larger models put before the tensor names of their text model.
///
/// The same weight is `model.layers.0.mlp.up_proj.weight` in a text model and
/// `model.language_model.layers.0.mlp.up_proj.weight` or
/// `language_model.model.layers.0.mlp.up_proj.weight` in a model with a vision tower.
package enum TextPrefix {
  private static let words: Set<Substring> = [
    "model", "language_model", "text_model", "llm", "thinker",
  ]

  /// A tensor name in two parts: the words of `words` that it begins with, and the rest.
  ///
  /// The rest is never empty. The prefix ends with a dot if it is not empty. `others` are words that
  /// belong to the prefix, too.
  package static func stripped(
    _ name: String, also others: Set<Substring> = []
  ) -> (prefix: String, rest: String) {
    var rest = name[...]
    while let dot = rest.utf8.firstIndex(of: UInt8(ascii: ".")),
      words.contains(rest[..<dot]) || others.contains(rest[..<dot])
    {
      rest = rest[rest.index(after: dot)...]
    }
    return (String(name[..<rest.startIndex]), String(rest))
  }
}
