internal import Formats
internal import TensorModel

/// Tensors whose jobs are of one kind, such as the experts of all layers.
///
/// The first one is resolved in full. The others only get names and places.
final class JobFamily {
  /// The kind of the jobs.
  let kind: Shared<TensorJob.Kind>
  /// The stored tensors of the first target.
  let parts: [StoredTensor]
  /// The length of the target in bytes.
  let byteCount: Int
  /// The index of the first tensor in the source.
  let sourceIndex: Int

  private let decision: Shared<TensorWish.Decision>
  private let placement: TensorPlacement??
  private let targetName: String

  /// Creates the family of a tensor that is resolved.
  ///
  /// `placement` is its translation: nil if names stay the same, and an inner nil if it is left out.
  init(
    of wish: TensorWish, at sourceIndex: Int, _ placement: TensorPlacement??,
    named targetName: String, _ kind: Shared<TensorJob.Kind>, _ parts: [StoredTensor]
  ) {
    decision = wish.decision
    self.placement = placement
    self.sourceIndex = sourceIndex
    self.targetName = targetName
    self.kind = kind
    self.parts = parts
    byteCount = parts.reduce(0) { $0 + $1.byteCount }
  }

  /// Whether a tensor belongs to the family, if it is stored like the first one.
  ///
  /// - Parameters:
  ///   - wish: The planner's decision.
  ///   - placement: Its translation, as in the initializer.
  ///   - ending: The ending of names that the format asks for; nil for any.
  /// - Returns: Whether nothing but names and places differs from the first tensor.
  func fits(_ wish: TensorWish, _ placement: TensorPlacement??, ending: String?) -> Bool {
    guard wish.decision.isSame(as: decision), wish.placement == nil else { return false }
    let name: String
    switch (placement, self.placement) {
    case (nil, nil): name = wish.sourceName
    case (.some(nil), .some(nil)): return true
    case (let placement??, let first??):
      guard placement.isLike(first) else { return false }
      name = placement.name
    default: return false
    }
    guard let ending else { return true }
    return name.hasSuffix(ending) == targetName.hasSuffix(ending)
  }
}
