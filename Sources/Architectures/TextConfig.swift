package import Bytes

/// The part of a `config.json` that describes the text model.
package enum TextConfig {
  /// The keys under which larger models have the config of their text model, or of a part with it.
  private static let keys = ["text_config", "llm_config", "language_config", "thinker_config"]

  /// Model types whose text model computes something else than a model of that type alone.
  ///
  /// PaliGemma attends to all tokens of a prompt, also to later ones.
  private static let changedTypes: Set<String> = ["paligemma"]

  /// The config of the text model, with the members of the whole config that it does not state.
  ///
  /// Sizes that neither states are the defaults of transformers. A config of a text model alone is
  /// returned unchanged.
  package static func merged(_ config: JSONValue) -> JSONValue {
    if let type = config["model_type"]?.string, changedTypes.contains(type) { return config }
    guard inner(config) != nil else { return config }
    var result = config
    while let inner = inner(result) {
      let outer = (result.members ?? []).filter { !keys.contains($0.key) }
      result = JSONValue.object(outer).overridden(by: inner)
    }
    guard let type = result["model_type"]?.string else { return result }
    return ClassDefaults.sizes(ofModelType: type).overridden(by: result)
  }

  /// Whether a config says that the embeddings are the head; nil if it does not say.
  ///
  /// If the parts of the config disagree, the embeddings are the head.
  package static func tiesEmbeddings(_ config: JSONValue) -> Bool? {
    let flags = tieFlags(config)
    return flags.isEmpty ? nil : flags.contains(true)
  }

  /// What each part of a config says about the embeddings being the head, the whole first.
  package static func tieFlags(_ config: JSONValue) -> [Bool] {
    var flags: [Bool] = []
    var part: JSONValue? = config
    while let current = part {
      if let flag = current["tie_word_embeddings"]?.bool { flags.append(flag) }
      part = inner(current)
    }
    return flags
  }

  /// Whether a model of the classes in a config predicts tokens; nil if the config states no class.
  ///
  /// Models that only embed texts do not.
  package static func predictsTokens(_ config: JSONValue) -> Bool? {
    let classes = (config["architectures"]?.array ?? []).compactMap(\.string)
    let suffixes = ["ForCausalLM", "ForConditionalGeneration", "LMHeadModel"]
    return classes.isEmpty
      ? nil : classes.contains { name in suffixes.contains(where: name.hasSuffix) }
  }

  private static func inner(_ config: JSONValue) -> JSONValue? {
    for key in keys { if let value = config[key], value.members != nil { return value } }
    return nil
  }
}
