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
      rows.map { $0[column].terminalWidth }.max() ?? 0
    }
    return rows.map { cells in
      var line = ""
      for (column, cell) in cells.enumerated() {
        let space = String(repeating: " ", count: widths[column] - cell.terminalWidth)
        line +=
          (column == 0 ? "" : "  ") + (alignments[column] == .left ? cell + space : space + cell)
      }
      while line.utf8.last == UInt8(ascii: " ") { line.unicodeScalars.removeLast() }
      return line
    }
  }
}

extension String {
  /// The cells of a terminal that the text takes; colours take none, East Asian letters two.
  fileprivate var terminalWidth: Int {
    if unicodeScalars.allSatisfy(\.isNarrow) { return unicodeScalars.count }
    var width = 0
    var isSequence = false
    for character in self {
      if character == "\u{1B}" {
        isSequence = true
      } else if isSequence {
        isSequence = character != "m"
      } else {
        width += character.isWide ? 2 : 1
      }
    }
    return width
  }
}

extension Unicode.Scalar {
  /// Whether it certainly takes one cell, whatever is beside it: letters of Europe, arrows.
  fileprivate var isNarrow: Bool {
    switch value {
    case 0x20..<0x7F, 0xA0..<0xAD, 0xAE..<0x300, 0x2190...0x2193: true
    default: false
    }
  }
}

extension Character {
  // The blocks that Unicode's East Asian Width calls wide, without their few exceptions.
  fileprivate var isWide: Bool {
    switch unicodeScalars.first?.value ?? 0 {
    case 0x1100...0x115F, 0x2E80...0xA4CF, 0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE30...0xFE6F,
      0xFF00...0xFF60, 0xFFE0...0xFFE6, 0x1F300...0x1FAFF, 0x20000...0x3FFFD:
      true
    default: false
    }
  }
}
