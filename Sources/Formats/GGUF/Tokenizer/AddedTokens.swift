internal import Bytes
internal import TensorModel

/// Added tokens of the files beside tokenizer.json.
extension CompanionReader {
  /// The added tokens in tokenizer_config.json.
  ///
  /// Throws `malformed`, and what reading throws.
  func configuredTokens() throws(ModelError) -> [AddedToken] {
    let file = TokenizerFiles.configurationFile
    var tokens: [AddedToken] = []
    for member in try object(file)[Self.decoderKey]?.members ?? [] {
      tokens.append(try AddedToken(member.value, id: Int(member.key) ?? -1, file: file))
    }
    return tokens
  }

  /// The tokens in added_tokens.json.
  ///
  /// Throws `malformed`, and what reading throws.
  func listedTokens() throws(ModelError) -> [AddedToken] {
    let file = TokenizerFiles.addedTokensFile
    var tokens: [AddedToken] = []
    for member in try object(file).members ?? [] {
      guard let id = member.value.int, (0...Int(Int32.max)).contains(id) else {
        throw ModelError(.malformed, "an added token has no id", file: file, tensor: member.key)
      }
      tokens.append(AddedToken(id: id, text: member.key))
    }
    return tokens
  }

  /// Adds to a tokenizer what transformers adds: the tokens of the other files, and special tokens.
  ///
  /// Throws `malformed`, and what reading throws.
  func addTokens(to tokenizer: inout FastTokenizer) throws(ModelError) {
    let file = TokenizerFiles.configurationFile
    let configuration = try object(file)
    // The older files count only if this one does not list the tokens.
    let isOld = configuration[Self.decoderKey] == nil
    let stated = isOld ? try listedTokens() : try configuredTokens()
    let map = isOld ? try object(TokenizerFiles.specialTokensFile) : .object([])
    let special = SpecialTokens.texts(in: map, or: configuration)
    let names = Set(special.map(ExactName.init))
    let tokens = stated.sorted { $0.id < $1.id }.map { token in
      var token = token
      if names.contains(ExactName(token.text)) { token.isSpecial = true }
      return token
    }
    tokenizer.add(tokens, from: isOld ? TokenizerFiles.addedTokensFile : file)
    tokenizer.add(special.map { AddedToken(text: $0, isSpecial: true) }, from: file)
  }

  private static let decoderKey = "added_tokens_decoder"
}
