internal import Architectures
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
    try SpecialTokens.text(of: "eos", in: companions)
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
  package static func ids(in config: JSONValue) -> [Int] { ids(config[key]) }

  private static func ids(_ value: JSONValue?) -> [Int] {
    value?.int.map { [$0] } ?? (value?.array ?? []).compactMap(\.int)
  }

  /// A `config.json` that states this token where it states another one.
  package func replacing(in config: JSONValue) -> JSONValue {
    let others = [config, TextConfig.merged(config)].map { Self.ids(in: $0) }.filter {
      !$0.contains(id)
    }
    return replacing(others.filter { !$0.isEmpty }, in: config)
  }

  /// A config that states this token in every part that has one of the lists of ids.
  private func replacing(_ others: [[Int]], in config: JSONValue) -> JSONValue {
    guard let members = config.members else { return config }
    return .object(
      members.map { member in
        guard member.key == Self.key else {
          return .init(member.key, replacing(others, in: member.value))
        }
        return others.contains(Self.ids(member.value)) ? .init(member.key, JSONValue(id)) : member
      })
  }

  /// A `generation_config.json` that also states this token where it states others.
  package func adding(to generation: JSONValue) -> JSONValue {
    let ids = Self.ids(in: generation)
    guard !ids.isEmpty, !ids.contains(id), let members = generation.members else {
      return generation
    }
    let list = JSONValue.array(([id] + ids).map { JSONValue($0) })
    return .object(members.map { $0.key == Self.key ? .init($0.key, list) : $0 })
  }
}

extension FastTokenizer {
  /// The id of an added token or another one; nil if none has the text.
  ///
  /// Also nil if an added token has the id of another text: then the file contradicts itself.
  func id(ofAddedOrOther text: String) -> Int? {
    if let id = id(of: text) { return id }
    guard let token = addedTokens.first(where: { $0.text.hasSameBytes(as: text) }),
      token.isStated, !ids.contains(token.id)
    else { return nil }
    return token.id
  }
}
