internal import Bytes
internal import TensorModel

/// Tokens that adapters add: more rows in the embeddings and the head.
struct VocabularyGrowth {
  /// The index of the adapter.
  let adapter: Int
  private let oldCount: Int
  private let newCount: Int
  private static let key = "vocab_size"

  /// The growth of the table that has more rows in the output; nil if none has.
  init?(_ wishes: [TensorWish]) {
    for wish in wishes where wish.isGrown {
      let change = wish.transform.adapterEdits.first { $0.grownRowCount != nil }
      guard let change else { continue }
      adapter = change.adapter
      (oldCount, newCount) = (wish.source.shape.rowCount, wish.target.shape.rowCount)
      return
    }
    return nil
  }

  /// The number of tokens that are added.
  var tokenCount: Int { newCount - oldCount }

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
