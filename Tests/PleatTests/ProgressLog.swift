import Pleat
import Synchronization

/// Collects the progress reports of a run, from any thread.
final class ProgressLog: Sendable {
  private let state: Mutex<[Progress]> = Mutex([])

  /// All reports.
  var all: [Progress] { state.withLock { $0 } }

  /// The largest byte count that was reported.
  var largest: Int { all.map(\.byteCount).max() ?? 0 }

  /// Adds a report, and returns the number of reports.
  @discardableResult
  func add(_ progress: Progress) -> Int {
    state.withLock {
      $0.append(progress)
      return $0.count
    }
  }
}
