package import Bytes
package import TensorModel

/// The token that ends a text.
package struct EndToken: Sendable, Hashable {
  /// The id of the token.
  package let id: Int

  /// The key of a config for the id of the token, or for a list of ids.
  private static let key = "eos_token_id"

  /// The text of the token, as the files of a tokenizer state it; nil if they state none.
  ///
  /// Throws what reading them throws.
  package static func text(in companions: CompanionReader) throws(ModelError) -> String? {
    for name in [TokenizerFiles.configurationFile, TokenizerFiles.specialTokensFile] {
      if let text = SpecialTokens.text(of: "eos", in: try companions.object(name)) { return text }
    }
    return nil
  }

  /// Finds the token with a text; nil if no token has it, or if another token has its id.
  ///
  /// Throws what reading the files of the tokenizer throws.
  package init?(_ text: String, in companions: CompanionReader) throws(ModelError) {
    let found: Int?
    if let fast = try companions.fastTokenizer() {
      found = fast.id(ofAddedOrOther: text)
    } else {
      let configuration = try companions.object(TokenizerFiles.configurationFile)
      let decoder = configuration["added_tokens_decoder"]?.members ?? []
      let token = decoder.first { $0.value["content"]?.string?.hasSameBytes(as: text) ?? false }
      let added = try companions.object(TokenizerFiles.addedTokensFile)
      found = token.flatMap { Int($0.key) } ?? added[text]?.int
    }
    guard let found else { return nil }
    id = found
  }

  // MARK: - Configs

  /// The ids of the tokens that end a text according to a config.
  package static func ids(in config: JSONValue) -> [Int] {
    let value = config[key]
    return value?.int.map { [$0] } ?? (value?.array ?? []).compactMap(\.int)
  }

  /// A `config.json` that states this token where it states another one.
  package func replacing(in config: JSONValue) -> JSONValue {
    changing(config) { _ in JSONValue(id) }.changing("text_config") { text in
      changing(text) { _ in JSONValue(id) }
    }
  }

  /// A `generation_config.json` that also states this token where it states others.
  package func adding(to generation: JSONValue) -> JSONValue {
    changing(generation) { ids in .array(([id] + ids).map { JSONValue($0) }) }
  }

  private func changing(
    _ config: JSONValue, _ value: ([Int]) -> JSONValue
  ) -> JSONValue {
    let ids = Self.ids(in: config)
    guard !ids.isEmpty, !ids.contains(id) else { return config }
    return config.changing(Self.key) { _ in value(ids) }
  }
}

extension JSONValue {
  /// The object with a changed value of a key; the same value if it lacks the key.
  fileprivate func changing(_ key: String, _ change: (JSONValue) -> JSONValue) -> JSONValue {
    guard let members else { return self }
    return .object(
      members.map { $0.key == key ? Member($0.key, change($0.value)) : $0 })
  }
}

extension FastTokenizer {
  /// The id of an added token or another one; nil if none has the text.
  ///
  /// Also nil if an added token has the id of another text: then the file contradicts itself.
  fileprivate func id(ofAddedOrOther text: String) -> Int? {
    if let id = id(of: text) { return id }
    guard let id = addedTokens.first(where: { $0.text.hasSameBytes(as: text) })?.id,
      !ids.contains(id)
    else { return nil }
    return id
  }
}
