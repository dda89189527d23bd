internal import Synchronization

/// A request to stop, which a run looks at between blocks.
public final class Cancellation: Sendable {
  private let flag = Atomic(false)

  /// Not requested yet.
  public init() {}

  /// Asks to stop; from any thread, and from a signal handler.
  public func request() { flag.store(true, ordering: .relaxed) }

  /// Whether it was requested.
  public var isRequested: Bool { flag.load(ordering: .relaxed) }
}
