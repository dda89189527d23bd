internal import Pleat

/// The list of changes that `metadata` prints.
struct MetadataChangesText {
  private let changes: MetadataChanges
  private let console: Console
  private static let longestValue = 60

  init(_ changes: MetadataChanges, _ console: Console) {
    self.changes = changes
    self.console = console
  }

  /// The number of changes: `2 changes`.
  var count: String { Quantities.number(changes.changes.count, of: "change") }

  /// A line for each change: key, type, old and new value.
  var lines: [String] {
    var table = Table([.left, .left, .left, .left])
    for change in changes.changes {
      table.add(
        change.key.escaped,
        console.style.faint((change.new ?? change.old).map { "\($0.type)" } ?? ""),
        change.old.map { text($0, change.key) } ?? "new",
        "→ " + (change.new.map { text($0, change.key) } ?? "removed"))
    }
    return table.lines
  }

  /// A value in one line; with `--verbose` long values are not shortened.
  private func text(_ value: MetadataValue, _ key: String) -> String {
    var text = value.summary
    let line = text.prefix { !$0.isNewline }.prefix(Self.longestValue)
    if !console.isVerbose, line.count < text.count {
      text = "\(line)… (\(Quantities.exact(text.utf8.count)) bytes)"
    }
    if let token = changes.token(value, of: key) { text += " \(token)" }
    return text.escaped
  }
}
