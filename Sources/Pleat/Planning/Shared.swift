/// A value that many tensors share, and that takes the room of a pointer in each of them.
///
/// Setting the value of one leaves that of the others as it is.
struct Shared<Value: Sendable>: Sendable {
  private var box: Box

  private final class Box: Sendable {
    let value: Value

    init(_ value: Value) { self.value = value }
  }

  init(_ value: Value) { box = Box(value) }

  /// The value.
  // A getter would copy all of it, for every field that is read.
  var value: Value {
    _read { yield box.value }
    set { box = Box(newValue) }
  }

  /// Whether both have the same memory, and so the same value.
  func isSame(as other: Shared) -> Bool { box === other.box }
}
