package import Architectures
package import TensorModel

/// A translation of the tensors that another one names.
package struct CombinedTranslation: Translation {
  package let runtime: Runtime
  package private(set) var placements: [TensorPlacement?] = []
  package private(set) var additions: [TensorAddition] = []
  package let newMetadata: Metadata?
  package let notes: [String]

  /// Combines two translations.
  ///
  /// - Parameters:
  ///   - tensors: The tensors that the first one translates.
  ///   - first: A translation.
  ///   - second: A translation of what `tensors(_:after:)` gives for the first one.
  /// - Throws: `unsupported` for a stack of which the second one does not treat all matrices alike,
  ///   and for an addition whose numbers it changes.
  package init(
    _ tensors: [TensorInfo], _ first: some Translation, then second: some Translation
  ) throws(ModelError) {
    runtime = second.runtime
    newMetadata = second.newMetadata ?? first.newMetadata
    notes = first.notes + second.notes
    var rest = second.placements[...]
    for (tensor, own) in zip(tensors, first.placements) {
      guard let own else {
        placements.append(nil)
        continue
      }
      let next = rest.prefix(own.names.count)
      rest = rest.dropFirst(own.names.count)
      placements.append(try Self.combined(own, Array(next), of: tensor, for: runtime))
    }
    for (addition, next) in zip(first.additions, rest) {
      guard let next else { continue }
      guard next.names.count == 1, next.stack == nil, next.addend == 0 else {
        throw Self.refusal(of: addition.stored.name, for: runtime)
      }
      var addition = addition
      addition.stored.name = next.name
      addition.stored.shape = next.shape ?? addition.stored.shape
      additions.append(addition)
    }
  }

  /// The tensors that a translation makes of some, in order, and those that it adds.
  package static func tensors(
    _ tensors: [TensorInfo], after first: some Translation
  ) -> [TensorInfo] {
    var renamed: [TensorInfo] = []
    for (tensor, placement) in zip(tensors, first.placements) {
      guard let placement else { continue }
      var shape = placement.shape ?? tensor.shape
      if placement.names.count > 1 {
        var extents = shape.dimensions
        extents[extents.count - 2] /= placement.names.count
        shape = Shape(validating: extents) ?? shape
      }
      for name in placement.names {
        renamed.append(TensorInfo(name: name, shape: shape, encoding: tensor.encoding))
      }
    }
    return renamed
      + first.additions.map {
        TensorInfo(name: $0.stored.name, shape: $0.stored.shape, encoding: $0.stored.encoding)
      }
  }

  /// What a tensor becomes that the first translation gives some names, and the second one those of
  /// `next`; nil if the second one leaves it out.
  private static func combined(
    _ own: TensorPlacement, _ next: [TensorPlacement?], of tensor: TensorInfo, for runtime: Runtime
  ) throws(ModelError) -> TensorPlacement? {
    let found = next.compactMap { $0 }
    guard var placement = found.first else { return nil }
    guard found.count == own.names.count else { throw refusal(of: tensor.name, for: runtime) }
    placement.rowOrder = own.rowOrder
    placement.addend += own.addend
    guard found.count > 1 else {
      placement.shape = placement.shape ?? own.shape
      return placement
    }
    let areAlike = found.allSatisfy { $0.names.count == 1 && $0.isLike(found[0]) }
    guard areAlike, found[0].shape == nil else { throw refusal(of: tensor.name, for: runtime) }
    // Matrices that are divided and stacked again in the same order are the stack as it is.
    if let stack = placement.stack {
      let isWhole = stack.count == found.count && found.allSatisfy { $0.name == placement.name }
      guard isWhole, found.indices.allSatisfy({ found[$0].stack?.index == $0 }) else {
        throw refusal(of: tensor.name, for: runtime)
      }
      placement.stack = nil
      return placement
    }
    placement.otherNames = found.dropFirst().map(\.name)
    placement.shape = own.shape
    return placement
  }

  private static func refusal(of name: String, for runtime: Runtime) -> ModelError {
    ModelError(
      .unsupported, "Pleat does not make the tensor of \(runtime.rawValue) in one step",
      tensor: name,
      hint: "convert the model to a safetensors folder first, then convert that")
  }
}
