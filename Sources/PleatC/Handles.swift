internal import Inference
internal import Synchronization

/// What a handle of a C program stands for.
enum HandledObject: Sendable {
  case model(LanguageModel)
  case context(SharedContext)
}

/// A context that one thread at a time uses.
final class SharedContext: Sendable {
  private let context: Mutex<LanguageContext>

  init(of model: LanguageModel, capacity: Int, threadCount: Int?) throws(ModelError) {
    context = Mutex(
      try LanguageContext(of: model, capacity: capacity, threadCount: threadCount))
  }

  /// Waits for other threads, then calls `body`.
  func use<Result: Sendable>(
    _ body: (LanguageContext) throws(ModelError) -> Result
  ) throws(ModelError) -> Result {
    try context.withLock { (context) throws(ModelError) in try body(context) }
  }
}

/// The open models and contexts of the process by their handles.
///
/// A handle is a number that is given once. It has the type of a pointer for C's sake, and nothing is
/// at that address. So a handle that is closed, or that never was one, is an error and no access to
/// freed memory.
enum Handles {
  private static let table = Mutex((last: UInt(0), objects: [UInt: HandledObject]()))
  // Handles are multiples of this, as addresses of structures are.
  private static let step: UInt = 16

  /// Gives an object a handle.
  static func add(_ object: HandledObject) -> OpaquePointer? {
    let number = table.withLock { table in
      table.last += step
      table.objects[table.last] = object
      return table.last
    }
    return unsafe OpaquePointer(bitPattern: number)
  }

  private static func object(_ handle: OpaquePointer?) -> HandledObject? {
    let number = UInt(bitPattern: handle)
    return table.withLock { $0.objects[number] }
  }

  /// The open model with a handle.
  ///
  /// Throws `usage` if there is none.
  static func model(_ handle: OpaquePointer?) throws(ModelError) -> LanguageModel {
    guard case .model(let model) = unsafe object(handle) else {
      throw unsafe refusal("model", handle)
    }
    return model
  }

  /// The open context with a handle.
  ///
  /// Throws `usage` if there is none.
  static func context(_ handle: OpaquePointer?) throws(ModelError) -> SharedContext {
    guard case .context(let context) = unsafe object(handle) else {
      throw unsafe refusal("context", handle)
    }
    return context
  }

  /// Forgets a model, which contexts and calls of other threads may still use.
  ///
  /// Throws `usage` if no model with this handle is open.
  static func removeModel(_ handle: OpaquePointer?) throws(ModelError) {
    let object = unsafe remove(handle) { if case .model = $0 { true } else { false } }
    if object == nil { throw unsafe refusal("model", handle) }
  }

  /// Forgets a context, which calls of other threads may still use.
  ///
  /// Throws `usage` if no context with this handle is open.
  static func removeContext(_ handle: OpaquePointer?) throws(ModelError) {
    let object = unsafe remove(handle) { if case .context = $0 { true } else { false } }
    if object == nil { throw unsafe refusal("context", handle) }
  }

  /// Removes an object that the condition accepts; what is returned is released after the lock.
  private static func remove(
    _ handle: OpaquePointer?, if accepts: (HandledObject) -> Bool
  ) -> HandledObject? {
    let number = UInt(bitPattern: handle)
    return table.withLock { table in
      guard let object = table.objects[number], accepts(object) else { return nil }
      return table.objects.removeValue(forKey: number)
    }
  }

  private static func refusal(_ kind: String, _ handle: OpaquePointer?) -> ModelError {
    ModelError(
      .usage, "no \(kind) with this handle is open", expected: "a handle of an open \(kind)",
      found: unsafe handle == nil ? "NULL" : "one that was closed, or of something else")
  }
}
