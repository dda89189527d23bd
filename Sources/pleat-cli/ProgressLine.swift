internal import Pleat
internal import Synchronization

/// The progress of a run on standard error: redrawn on a terminal, else a new line every 10 s.
final class ProgressLine: Sendable {
  private struct State {
    var lastDrawn: ContinuousClock.Instant
    var isDrawn = false
  }

  private let verb: String
  private let isTerminal: Bool
  private let start = ContinuousClock.now
  private let state: Mutex<State>

  /// Creates a line that begins with `verb`; nil unless the console is in text mode.
  init?(_ verb: String, _ console: Console) {
    guard console.mode == .text else { return nil }
    self.verb = verb
    isTerminal = Terminal.isTerminal(2)
    state = Mutex(State(lastDrawn: .now))
  }

  /// Shows the progress of a run, if enough time has passed since the last update.
  func update(_ progress: Progress) {
    draw { line(progress, seconds: $0) }
  }

  /// Shows the progress of an evaluation.
  func update(_ progress: Evaluation.Progress) {
    draw { seconds in
      let left = seconds * (1 - progress.part) / max(progress.part, 1e-9)
      let perplexity = progress.perplexity.map { "perplexity \(Quantities.fixed($0, 3))" }
      return [
        verb, bar(progress.part), "\(Quantities.fixed(100 * progress.part, 0)) %", perplexity,
        "\(Quantities.seconds(left)) left",
      ].compactMap(\.self).joined(separator: "  ")
    }
  }

  /// Draws a text that is made from the seconds since the start.
  private func draw(_ text: (Double) -> String) {
    state.withLock { state in
      let now = ContinuousClock.now
      let interval: Duration = isTerminal ? .milliseconds(100) : .seconds(10)
      guard now - state.lastDrawn >= interval else { return }
      state.lastDrawn = now
      state.isDrawn = true
      let text = text((now - start) / .seconds(1))
      Console.printToStandardError(
        isTerminal ? "\r\u{1B}[2K" + text : text, ending: isTerminal ? "" : "\n")
    }
  }

  /// Removes the line from the terminal.
  func clear() {
    state.withLock { state in
      if isTerminal && state.isDrawn { Console.printToStandardError("\r\u{1B}[2K", ending: "") }
      state.isDrawn = false
    }
  }

  private func line(_ progress: Progress, seconds: Double) -> String {
    let share = Double(progress.byteCount) / Double(max(1, progress.totalByteCount))
    let rate = Double(progress.byteCount) / max(seconds, 0.001)
    let left = rate > 0 ? Double(progress.totalByteCount - progress.byteCount) / rate : 0
    return [
      verb, bar(share), "\(progress.tensorCount)/\(progress.totalTensorCount)",
      String(progress.tensor.escaped.suffix(40)), "\(Quantities.bytes(Int(rate)))/s",
      "\(Quantities.seconds(left)) left",
    ].joined(separator: "  ")
  }

  private func bar(_ part: Double) -> String {
    let width = 24
    let filled = min(width, Int(part * Double(width)))
    return String(repeating: "━", count: filled) + String(repeating: "┄", count: width - filled)
  }
}
