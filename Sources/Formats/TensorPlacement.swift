package import TensorModel

/// What a tensor becomes in the names and forms of a runtime.
package struct TensorPlacement: Sendable, Hashable {
  /// The runtime's name for the tensor, or for the stack that it becomes a part of.
  package var name: String
  /// The names of further tensors that it is divided among; empty unless it is divided.
  ///
  /// Each of them, and the one with `name`, gets an equal run of the rows of every matrix.
  package var otherNames: [String] = []
  /// How the runtime orders its rows, or the numbers of a bias; nil if the order does not change.
  package var rowOrder: RotaryRowOrder?
  /// What is added to each number: 1, −1 or 0.
  package var addend: Float = 0
  /// Whether the runtime needs it in F32, regardless of the type of other tensors.
  package var isFloat32 = false
  /// The position in a stack; nil if it becomes a tensor of its own.
  package var stack: Stack?
  /// The shape with the same bytes that the runtime expects; nil if the shape does not change.
  package var shape: Shape?
  /// Whether the runtime reads it in groups.
  package var groups = Groups.allowed
  /// Why the runtime does not multiply it by the factor of its blocks; nil if it does.
  package var ignoredFactor: String?
  /// Why the runtime cannot read it in any form; nil if it can.
  package var refusal: String?

  /// A tensor under a name, otherwise as it is.
  package init(name: String, stack: Stack? = nil) {
    self.name = name
    self.stack = stack
  }

  /// A position in a stack: one tensor of several matrices.
  package struct Stack: Sendable, Hashable {
    /// The number of the matrix.
    package var index: Int
    /// The number of matrices.
    package var count: Int

    package init(index: Int, count: Int) {
      self.index = index
      self.count = count
    }
  }

  /// Whether a runtime reads a tensor in groups.
  package enum Groups: Sendable, Hashable {
    /// It does.
    case allowed
    /// It does not, for the reason given, so the tensor stays or becomes plain numbers.
    case plain(String)
    /// It does not, for the reason given, and plain numbers would be most of the model.
    case refused(String)
  }

  /// The names of all tensors that it becomes.
  package var names: [String] { [name] + otherNames }
}
