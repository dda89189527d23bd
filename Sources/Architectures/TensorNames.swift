/// The names of tensors with special purposes, in checkpoints and in GGUF files.
///
/// A word is a part of a name between dots.
package enum TensorNames {
  /// Words for the table of token embeddings.
  package static let embeddings: Set<String> = [
    "embed_tokens", "token_embd", "wte", "word_embeddings", "tok_embeddings", "embed_in",
    "tokens_embed", "embed_tokens_per_layer", "per_layer_token_embd",
  ]

  /// Words for the output head, which computes logits.
  package static let heads: Set<String> = ["lm_head", "embed_out"]

  /// The layer path of the head in Hugging Face checkpoints.
  package static let head = "lm_head"

  /// The name of a head in a checkpoint, from the name of the table of embeddings.
  ///
  /// A model with a head has it beside its part `model`, also inside a larger one: `thinker.model`
  /// and `thinker.lm_head`.
  package static func head(besideTable name: String) -> String {
    let words = TextPrefix.stripped(name).prefix.split(separator: ".")
    let outer = words.count > 1 && words.last == "model" ? words.dropLast() : []
    return (outer.map(String.init) + [head, "weight"]).joined(separator: ".")
  }

  /// The name of the head in a GGUF file.
  package static let ggufHead = "output.weight"

  /// The name of the token embeddings in a GGUF file.
  package static let ggufEmbeddings = "token_embd.weight"

  /// The name of position embeddings in a GGUF file.
  package static let ggufPositions = "position_embd.weight"

  /// The name of the embeddings of token types in a GGUF file.
  package static let ggufTokenTypes = "token_types.weight"

  /// Whether a layer path, or the name of its weight, is that of the token embeddings.
  package static func isEmbedding(_ name: String) -> Bool {
    let path = name.hasSuffix(".weight") ? name.utf8.dropLast(".weight".utf8.count) : name.utf8[...]
    return embeddings.contains(lastWord(of: path))
  }

  /// The word after the last dot.
  private static func lastWord(of path: Substring.UTF8View) -> String {
    let dot = path.lastIndex(of: UInt8(ascii: "."))
    return String(Substring(dot.map { path[$0...].dropFirst() } ?? path))
  }

  /// Whether a name is that of the head, in a checkpoint or in a GGUF file.
  package static func isHead(_ name: String) -> Bool {
    name == ggufHead || heads.contains { name == $0 + ".weight" }
  }

  /// Whether a name is that of the head, also of a text model inside a larger one.
  package static func isTextHead(_ name: String) -> Bool {
    guard name.hasSuffix(ggufHead) || heads.contains(where: { name.hasSuffix($0 + ".weight") })
    else { return false }
    return isHead(TextPrefix.stripped(name).rest)
  }

  /// Whether a tensor belongs to a head for classification, for answers or for values.
  package static func isTaskHead(_ name: String) -> Bool {
    let words = TextPrefix.stripped(name).rest.split(separator: ".")
    return words.first.map { taskHeads.contains(String($0)) } ?? false
  }

  private static let taskHeads: Set<String> = [
    "score", "classifier", "classification_head", "qa_outputs", "v_head", "value_head",
  ]

  /// Whether a tensor is a rotary table of an old checkpoint; runtimes compute it themselves.
  package static func isRotaryTable(_ name: String) -> Bool {
    name.hasSuffix(".rotary_emb.inv_freq")
  }

  /// Whether a layer is a lookup table instead of a matrix that inputs are multiplied by.
  package static func isTable(_ path: String) -> Bool {
    let word = lastWord(of: path.utf8[...])
    return embeddings.contains(word) || isPositions(word) || isRelativeBias(word)
      || isTokenTypes(word)
  }

  /// Whether a word stands for embeddings of positions, absolute or relative.
  package static func isPositions(_ word: String) -> Bool {
    positions.contains(word) || positionParts.contains { word.contains(bytes: $0) }
  }

  private static let positions: Set<String> = [
    "wpe", "embed_positions", "positions_embed", "distance_embedding", "rel_embeddings",
  ]
  private static let positionParts = [
    "position_emb", "positional_emb", "pos_emb", "relative_pos", "rel_pos",
  ]

  /// Whether a word stands for a table of numbers that attention adds by relative position.
  package static func isRelativeBias(_ word: String) -> Bool {
    relativeBiases.contains { word.contains(bytes: $0) }
  }

  private static let relativeBiases = [
    "relative_attention_bias", "relative_position_bias", "attn_rel_b",
  ]

  /// Whether a word stands for embeddings of token types, such as the segments of BERT.
  package static func isTokenTypes(_ word: String) -> Bool { word.begins("token_type") }
}
