package import Bytes
internal import TensorModel

/// What distinguishes an architecture whose models embed texts from one that predicts tokens.
///
/// In an encoder, tokens attend to later ones too, and there is no head.
package struct EncoderTraits: Sendable {
  /// What stands before the number of a layer in the names of a checkpoint.
  package var layerPath = "encoder.layer."
  /// What stands before the other names in the tables.
  package var path = ""
  /// The words that checkpoints of larger models put before all names.
  package var outerWords: Set<Substring> = []
  /// The beginnings of names of tensors that compute no vectors of tokens, such as a pooler.
  package var unusedNames: [String] = []
  /// Whether position embeddings begin with rows for padding: up to that of `pad_token_id`.
  package var hasRowsForPadding = false
  /// Whether transformers has a pooler after the layers, which computes no vectors of tokens.
  package var hasPooler = false
  /// Whether llama.cpp needs the number of token types.
  package var countsTokenTypes = true
  /// The keys of `config.json` that have other names here, and their usual names.
  package var keys: [(own: String, usual: String)] = []
  /// Whether transformers reads the usual names, and other programs the own ones.
  package var readsUsualKeys = false
  /// The number of first layers that lack the tensors in `laterNames`.
  package var leadingCount = 0
}

extension Architecture {
  /// Whether the models embed texts, and have no head.
  package var isEncoder: Bool { encoder != nil }

  /// What stands before the number of a layer in the names of a checkpoint.
  package var layerPath: String { encoder?.layerPath ?? "model.layers." }

  /// What stands before other names of a checkpoint in the tables, except that of the head.
  var modelPath: String { encoder?.path ?? "model." }

  /// A config with the usual names of its keys.
  ///
  /// A key that is stated under its usual name stays as it is.
  package func withUsualKeys(_ config: JSONValue) -> JSONValue {
    (encoder?.keys ?? []).reduce(config) { config, key in
      guard let value = config[key.own], config[key.usual] == nil else { return config }
      return config.setting(key.usual, to: value)
    }
  }

  /// A config with the names that keys have here, of one with their usual names.
  func withOwnKeys(_ config: JSONValue) -> JSONValue {
    guard let encoder else { return config }
    let members = (config.members ?? []).flatMap { member -> [JSONValue.Member] in
      let own = encoder.keys.first { $0.usual == member.key }
      guard let own else { return [member] }
      let renamed = JSONValue.Member(own.own, member.value)
      return encoder.readsUsualKeys ? [member, renamed] : [renamed]
    }
    return .object(members)
  }

  /// Whether the position of a token is a row of a table.
  var hasPositionTable: Bool { modelNames.contains { $0.gguf == "position_embd" } }

  /// Whether llama.cpp has no use for a tensor of a checkpoint.
  ///
  /// In an encoder it computes no vectors of tokens; otherwise transformers does not use it either.
  package func leavesOut(_ huggingFaceName: String) -> Bool {
    guard let encoder else {
      return !leftOut.isEmpty
        && leftOut.contains(where: TextPrefix.stripped(huggingFaceName).rest.hasPrefix)
    }
    let rest = TextPrefix.stripped(huggingFaceName, also: encoder.outerWords).rest
    return encoder.unusedNames.contains { rest.hasPrefix($0) }
  }

  /// The number of first rows of position embeddings that no token of a text has.
  ///
  /// `config` has the defaults of the architecture. Throws `malformed` for an invalid id.
  func skippedPositionCount(_ config: ConfigValues) throws(ModelError) -> Int {
    guard encoder?.hasRowsForPadding ?? false else { return 0 }
    guard let padding = try config.wholeNumber("pad_token_id") else {
      throw ConfigValues.fault("pad_token_id", "the id of a token", nil)
    }
    return padding + 1
  }

  /// The number of token types that llama.cpp needs; nil if it needs none.
  ///
  /// The default is that of llama.cpp's converter.
  package func tokenTypeCount(_ config: JSONValue) -> Int? {
    guard encoder?.countsTokenTypes ?? false else { return nil }
    return config["type_vocab_size"]?.int ?? 1
  }
}
