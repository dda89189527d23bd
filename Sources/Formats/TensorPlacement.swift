package import TensorModel

/// What a tensor becomes in the names and forms of a runtime.
package struct TensorPlacement: Sendable, Hashable {
  /// The runtime's name for the tensor, or for the stack that it becomes a part of.
  package var name: String
  /// The position in a stack; nil if it becomes a tensor of its own.
  package var stack: Stack?
  /// Whether the runtime needs it in F32, regardless of the type of other tensors.
  package var isFloat32 = false
  // Few tensors need it. A plan may have 100,000 placements, so the others have no room for it.
  private var box: Box?

  private indirect enum Box: Sendable, Hashable {
    case changes(Changes)
  }

  private struct Changes: Sendable, Hashable {
    var otherNames: [String] = []
    var rowOrder: RotaryRowOrder?
    var addend: Float = 0
    var shape: Shape?
    var groups = Groups.allowed
    var ignoredFactor: String?
    var refusal: String?
  }

  private var changes: Changes {
    get { if case .changes(let changes) = box { changes } else { Changes() } }
    set { box = newValue == Changes() ? nil : .changes(newValue) }
  }

  /// The names of further tensors that it is divided among; empty unless it is divided.
  ///
  /// Each of them, and the one with `name`, gets an equal run of the rows of every matrix.
  package var otherNames: [String] {
    get { changes.otherNames }
    set { changes.otherNames = newValue }
  }

  /// How the runtime orders its rows, or the numbers of a bias; nil if the order does not change.
  package var rowOrder: RotaryRowOrder? {
    get { changes.rowOrder }
    set { changes.rowOrder = newValue }
  }

  /// What is added to each number: 1, −1 or 0.
  package var addend: Float {
    get { changes.addend }
    set { changes.addend = newValue }
  }

  /// The shape with the same bytes that the runtime expects; nil if the shape does not change.
  package var shape: Shape? {
    get { changes.shape }
    set { changes.shape = newValue }
  }

  /// Whether the runtime reads it in groups.
  package var groups: Groups {
    get { changes.groups }
    set { changes.groups = newValue }
  }

  /// Why the runtime does not multiply it by the factor of its blocks; nil if it does.
  package var ignoredFactor: String? {
    get { changes.ignoredFactor }
    set { changes.ignoredFactor = newValue }
  }

  /// Why the runtime cannot read it in any form; nil if it can.
  package var refusal: String? {
    get { changes.refusal }
    set { changes.refusal = newValue }
  }

  /// A tensor under a name, otherwise as it is.
  package init(name: String, stack: Stack? = nil) {
    self.name = name
    self.stack = stack
  }

  /// Whether another tensor gets the same form, so that only the names and the matrices differ.
  package func isLike(_ other: TensorPlacement) -> Bool {
    isFloat32 == other.isFloat32 && stack?.count == other.stack?.count && box == other.box
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
