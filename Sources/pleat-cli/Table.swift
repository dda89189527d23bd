/// Lines of cells under each other.
struct Table {
  /// Where the text of a column stands.
  enum Alignment {
    case left
    case right
  }

  private let alignments: [Alignment]
  private var rows: [[String]] = []

  /// A table without rows.
  init(_ alignments: [Alignment]) { self.alignments = alignments }

  /// Adds a row with one cell for each column.
  mutating func add(_ cells: String...) { rows.append(cells) }

  /// Adds a row with one cell for each column.
  mutating func add(_ cells: [String]) { rows.append(cells) }

  /// The rows, columns two spaces apart.
  var lines: [String] {
    let widths = alignments.indices.map { column in
      rows.map { $0[column].count }.max() ?? 0
    }
    return rows.map { cells in
      var line = ""
      for (column, cell) in cells.enumerated() {
        let space = String(repeating: " ", count: widths[column] - cell.count)
        line +=
          (column == 0 ? "" : "  ") + (alignments[column] == .left ? cell + space : space + cell)
      }
      while line.last == " " { line.removeLast() }
      return line
    }
  }
}
