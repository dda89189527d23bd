import Pleat
import Synchronization

/// Remembers what a run reports, from any thread.
final class ProgressLog: Sendable {
  private let state: Mutex<[Progress]> = Mutex([])

  /// Everything that was reported.
  var all: [Progress] { state.withLock { $0 } }

  /// The most bytes that were reported.
  var largest: Int { all.map(\.byteCount).max() ?? 0 }

  /// Adds a report.
  ///
  /// Returns how many there are now.
  @discardableResult
  func add(_ progress: Progress) -> Int {
    state.withLock {
      $0.append(progress)
      return $0.count
    }
  }
}
