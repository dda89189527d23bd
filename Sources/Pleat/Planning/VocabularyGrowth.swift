internal import Bytes
internal import TensorModel

/// Tokens that adapters add: more rows in the embeddings and the head.
struct VocabularyGrowth {
  private let oldCount: Int
  private let newCount: Int
  private static let key = "vocab_size"

  /// The growth of the table that has more rows in the output; nil if none has.
  init?(_ wishes: [TensorWish]) {
    guard
      let wish = wishes.first(where: { $0.target.shape.rowCount > $0.source.shape.rowCount })
    else { return nil }
    (oldCount, newCount) = (wish.source.shape.rowCount, wish.target.shape.rowCount)
  }

  /// A `config.json` with the new `vocab_size`, wherever it states the old one.
  func applied(to config: JSONValue) -> JSONValue {
    guard let members = config.members else { return config }
    return .object(
      members.map { member in
        member.key == Self.key && member.value.int == oldCount
          ? .init(Self.key, JSONValue(newCount)) : .init(member.key, applied(to: member.value))
      })
  }
}
