package import Bytes
package import TensorModel

/// The `generation_config.json` of a checkpoint, from the metadata of a GGUF file.
package enum GenerationConfig {
  private static let keys = [
    ("bos_token_id", "bos_token_id"), ("padding_token_id", "pad_token_id"),
  ]
  /// Tokens that end a text, a turn or a message.
  private static let ends = ["eos_token_id", "eot_token_id", "eom_token_id"]

  /// The document; nil if the metadata states nothing of it.
  package static func document(_ metadata: Metadata) -> JSONValue? {
    var members = tokenIDs(metadata).members ?? []
    func id(_ key: String) -> Int? { metadata["tokenizer.ggml.\(key)"]?.integer }
    let ids = ends.compactMap(id).reduce(into: [Int]()) { ids, id in
      if !ids.contains(id) { ids.append(id) }
    }
    if ids.count > 1 {
      members.removeAll { $0.key == "eos_token_id" }
      members.append(.init("eos_token_id", .array(ids.map { JSONValue($0) })))
    }
    members += SamplingDefaults.members(of: metadata)
    return members.isEmpty ? nil : .object(members)
  }

  /// The ids of special tokens, as `config.json` states them, too.
  ///
  /// Encoders have other names for the tokens at both ends of a text, too.
  package static func tokenIDs(_ metadata: Metadata, isEncoder: Bool = false) -> JSONValue {
    let others = [("bos_token_id", "cls_token_id"), ("seperator_token_id", "sep_token_id")]
    let names = keys + [("eos_token_id", "eos_token_id")] + (isEncoder ? others : [])
    let members = names.compactMap { key, name in
      metadata["tokenizer.ggml.\(key)"]?.integer.map { JSONValue.Member(name, JSONValue($0)) }
    }
    return .object(members)
  }
}
