internal import Synchronization

/// A request to stop, which a run checks between blocks.
public final class Cancellation: Sendable {
  private let flag = Atomic(false)

  /// Creates a cancellation that is not requested yet.
  public init() {}

  /// Requests the stop; may be called from any thread and from a signal handler.
  public func request() { flag.store(true, ordering: .relaxed) }

  /// Whether the stop was requested.
  public var isRequested: Bool { flag.load(ordering: .relaxed) }
}
