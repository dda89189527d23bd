package import Adapters
internal import Synchronization
package import TensorModel

/// Adapters that a model is run with, without merging them into its weights.
///
/// Products are added to what a matrix computes: y = W x + b + scale · L (R x). All other changes,
/// and those of DoRA, are made to the rows of a weight, in float32, whenever they are read.
package struct UnmergedAdapters: Sendable {
  let numbers: [(tensors: [TensorInfo], numbers: any AdapterNumbers)]
  /// The names of those that the model itself carries.
  let attachedNames: Set<String>
  private let changes: [Int: [PairedChange]]
  private let used = UsedTensors()

  /// No adapters.
  package static var none: UnmergedAdapters {
    UnmergedAdapters([:], of: [], attachedNames: [])
  }

  /// Creates a set of adapters.
  ///
  /// - Parameters:
  ///   - changes: What they change, by the index of the tensor in the model. A head that is not
  ///     stored has the number of tensors as its index.
  ///   - adapters: The tensors of each, and access to their numbers.
  ///   - attachedNames: The names of those that the model itself carries.
  package init(
    _ changes: [Int: [PairedChange]],
    of adapters: [(tensors: [TensorInfo], numbers: any AdapterNumbers)],
    attachedNames: Set<String>
  ) {
    self.changes = changes
    numbers = adapters
    self.attachedNames = attachedNames
  }

  /// The changes of a tensor, which from now on counts as used.
  func changes(of tensor: Int) -> [PairedChange] {
    used.add(tensor)
    return changes[tensor] ?? []
  }

  /// Whether a tensor counts as used.
  func uses(_ tensor: Int) -> Bool { used.contains(tensor) }

  /// Throws `unsupported` for a change that the model as it was found cannot have: of more rows than
  /// a tensor has, or of a tensor that takes no part in what is computed.
  func checkAreApplied(to tensors: [TensorInfo]) throws(ModelError) {
    for (tensor, changes) in changes.sorted(by: { $0.key < $1.key }) where !changes.isEmpty {
      let name = tensor < tensors.count ? tensors[tensor].name : "the head"
      guard used.contains(tensor) else {
        throw ModelError(
          .unsupported,
          "an adapter changes a tensor that Pleat does not use when it runs the model",
          tensor: name, expected: "weights of the text model",
          hint: "remove the tensor from the adapter, or fold it and run the result elsewhere")
      }
      guard let count = changes.compactMap(\.grownRowCount).max() else { continue }
      throw ModelError(
        .unsupported, "an adapter that adds tokens is not applied while a model runs",
        tensor: name, expected: "as many rows as the model has", found: "\(count) rows",
        hint: "fold it first: pleat fold --adapter")
    }
  }
}

/// The tensors whose changes were asked for.
private final class UsedTensors: Sendable {
  private let indices: Mutex<Set<Int>> = Mutex([])

  func add(_ index: Int) { indices.withLock { _ = $0.insert(index) } }

  func contains(_ index: Int) -> Bool { indices.withLock { $0.contains(index) } }
}
