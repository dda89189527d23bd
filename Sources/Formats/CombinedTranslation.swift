package import Architectures
package import TensorModel

/// A translation of the tensors that another one names.
package struct CombinedTranslation: Translation {
  package let runtime: Runtime
  package private(set) var placements: [TensorPlacement?] = []
  package let newMetadata: Metadata?
  package let notes: [String]

  /// Combines two translations.
  ///
  /// - Parameters:
  ///   - first: A translation that divides no tensor.
  ///   - second: A translation of the tensors that the first one does not leave out, in order.
  package init(_ first: some Translation, then second: some Translation) {
    runtime = second.runtime
    newMetadata = second.newMetadata ?? first.newMetadata
    notes = first.notes + second.notes
    var rest = second.placements[...]
    for own in first.placements {
      guard let own, let next = rest.popFirst(), var placement = next else {
        placements.append(nil)
        continue
      }
      placement.rowOrder = own.rowOrder
      placement.addend += own.addend
      placements.append(placement)
    }
  }
}
