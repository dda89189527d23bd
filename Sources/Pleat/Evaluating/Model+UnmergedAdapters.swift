internal import Adapters
internal import Network
internal import TensorModel
internal import Weights

extension Decoder {
  /// Prepares a model to run with adapters that are not merged.
  ///
  /// - Parameters:
  ///   - model: The model.
  ///   - adapters: The adapters, in the order in which they are applied.
  /// - Returns: The decoder, and notes about the adapters.
  /// - Throws: `mismatch` and `usage` for adapters that do not fit, `unsupported` for changes that
  ///   cannot be applied, and what opening a decoder throws.
  static func adapted(
    _ model: Model, by adapters: [AppliedAdapter]
  ) throws(ModelError) -> (decoder: Decoder, notes: [String]) {
    guard !adapters.isEmpty else { return (try Decoder(model), []) }
    try model.requireNumbers()
    var changes = try model.changes(by: adapters)
    if let tie = try EmbeddingTie(model), tie.head == nil {
      let head = try model.headChanges(tie, changes, adapters)
      changes[model.unstoredHeadIndex] = head.isEmpty ? nil : head
    }
    try model.checkOrder(changes)
    let names = adapters.map(\.file).filter(\.isAttached).map(\.name)
    let unmerged = UnmergedAdapters(
      changes, of: adapters.map(\.numbers), attachedNames: Set(names))
    return (try Decoder(model, unmerged), model.notes(on: adapters, changes))
  }
}

extension Model {
  /// Throws `unsupported` if an adapter replaces a tensor that an earlier one changes.
  fileprivate func checkOrder(_ changes: [Int: [PairedChange]]) throws(ModelError) {
    for (index, changes) in changes.sorted(by: { $0.key < $1.key }) {
      guard changes.dropFirst().contains(where: \.isReplacement) else { continue }
      throw ModelError(
        .unsupported, "an adapter replaces a tensor that an earlier adapter changes", file: path,
        tensor: index < catalog.tensors.count ? catalog.tensors[index].name : "the head",
        hint: "name the adapter that replaces it first")
    }
  }
}
