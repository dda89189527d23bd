internal import Architectures
internal import Bytes
internal import Formats
internal import TensorModel
internal import Weights

/// The token embeddings of a model and its output head, which may be the same numbers.
struct EmbeddingTie {
  /// The index of the embeddings.
  let table: Int
  /// The index of the head; nil if the embeddings serve as the head.
  let head: Int?
  /// The head, as it is stored or as it would be stored.
  let headInfo: TensorInfo
  /// Whether the config says that the embeddings are the head, although a head may be stored.
  let isStated: Bool

  /// Finds both in a model; nil if it has no embeddings, several, or none that a head could equal.
  ///
  /// Throws what reading `config.json` throws.
  init?(_ model: Model) throws(ModelError) {
    let tensors = model.catalog.tensors
    let tables = tensors.indices.filter {
      let name = tensors[$0].name
      return TensorNames.isEmbedding(name) && !TensorNames.isTower(name)
        && !name.contains("per_layer")
    }
    guard tables.count == 1, let table = tables.first else { return nil }
    let architecture = try model.ggufArchitecture().flatMap(Architectures.named)
    if architecture?.isEncoder ?? false { return nil }
    self.table = table
    let head = tensors.firstIndex { TensorNames.isTextHead($0.name) }
    self.head = head
    let name = tensors[table].name
    let (prefix, rest) = TextPrefix.stripped(name)
    let config = try model.configuration() ?? .null
    // Models that make embeddings of texts have no head.
    let isBare = prefix.isEmpty && rest == "embed_tokens.weight"
    if head == nil, !model.isGGUF, isBare, TextConfig.predictsTokens(config) != true { return nil }
    headInfo =
      head.map { tensors[$0] }
      ?? TensorInfo(
        name: model.isGGUF ? TensorNames.ggufHead : TensorNames.head(besideTable: name),
        shape: tensors[table].shape, encoding: tensors[table].encoding)
    let flags = TextConfig.tieFlags(config)
    isStated = flags.contains(true) && !flags.contains(false)
  }

  /// The key of `config.json` that says whether the embeddings are the head.
  static let key = "tie_word_embeddings"

  /// A copy of a `config.json` that says whether the embeddings are the head.
  ///
  /// The value is changed wherever the config has the key; otherwise it is added at the top, and in
  /// the config of the text model.
  static func stating(_ isTied: Bool, in config: JSONValue) -> JSONValue {
    let (changed, found) = replaced(config, isTied)
    guard !found, var members = changed.members else { return changed }
    if let index = members.firstIndex(where: { $0.key == "text_config" }),
      let text = members[index].value.members
    {
      members[index].value = .object(text + [.init(key, .bool(isTied))])
    }
    return .object(members + [.init(key, .bool(isTied))])
  }

  private static func replaced(_ config: JSONValue, _ isTied: Bool) -> (JSONValue, found: Bool) {
    guard let members = config.members else { return (config, false) }
    var found = false
    let changed = members.map { member in
      if member.key == key {
        found = true
        return JSONValue.Member(key, .bool(isTied))
      }
      let (value, isInside) = replaced(member.value, isTied)
      found = found || isInside
      return JSONValue.Member(member.key, value)
    }
    return (.object(changed), found)
  }
}
