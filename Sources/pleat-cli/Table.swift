/// A table of text cells in aligned columns.
struct Table {
  /// How the cells of a column are aligned.
  enum Alignment {
    case left
    case right
  }

  private let alignments: [Alignment]
  private var cells: [String] = []  // row by row; there may be 100,000 rows
  private var widths: [Int]

  /// Creates an empty table with room for `rowCount` rows.
  init(_ alignments: [Alignment], rowCount: Int = 0) {
    self.alignments = alignments
    widths = Array(repeating: 0, count: alignments.count)
    cells.reserveCapacity(rowCount * alignments.count)
  }

  /// Adds a row with one cell for each column.
  mutating func add(_ cells: String...) { add(cells) }

  /// Adds a row with one cell for each column.
  mutating func add(_ row: [String]) {
    precondition(row.count == alignments.count, "one cell for each column")
    for (column, cell) in row.enumerated() {
      // Cells often equal those above them. Their width is known.
      let above = cells.count - alignments.count
      if above < 0 || cells[above] != cell {
        widths[column] = max(widths[column], cell.terminalWidth)
      }
      cells.append(cell)
    }
  }

  /// The rows as text, with two spaces between columns.
  var lines: [String] {
    var lines: [String] = []
    forEachLine { lines.append(String(decoding: $0, as: UTF8.self)) }
    return lines
  }

  /// Calls `body` with each row as text, with two spaces between columns.
  func forEachLine(_ body: ([UInt8]) -> Void) {
    let space = UInt8(ascii: " ")
    var line: [UInt8] = []
    var above: [(cell: String, width: Int)] = alignments.map { _ in ("", 0) }
    for (index, cell) in cells.enumerated() {
      let column = index % alignments.count
      if above[column].cell != cell { above[column] = (cell, cell.terminalWidth) }
      let padding = repeatElement(space, count: widths[column] - above[column].width)
      if column > 0 { line.append(contentsOf: repeatElement(space, count: 2)) }
      if alignments[column] == .right { line.append(contentsOf: padding) }
      line.append(contentsOf: cell.utf8)
      if alignments[column] == .left { line.append(contentsOf: padding) }
      guard column == alignments.count - 1 else { continue }
      while line.last == space { line.removeLast() }
      body(line)
      line.removeAll(keepingCapacity: true)
    }
  }
}

extension String {
  /// Whether the text is printable ASCII only, so that each byte takes one cell of a terminal.
  var isPrintableASCII: Bool {
    // The string's own bytes, read during the call.
    unsafe utf8.withContiguousStorageIfAvailable { bytes in
      unsafe bytes.allSatisfy { 0x20..<0x7F ~= $0 }
    } ?? utf8.allSatisfy { 0x20..<0x7F ~= $0 }
  }

  /// The number of terminal cells for the text: none for colors, two for East Asian letters.
  fileprivate var terminalWidth: Int {
    if isPrintableASCII { return utf8.count }
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
  /// Whether the scalar always takes one cell, as European letters and arrows do.
  fileprivate var isNarrow: Bool {
    switch value {
    case 0x20..<0x7F, 0xA0..<0xAD, 0xAE..<0x300, 0x2190...0x2193: true
    default: false
    }
  }
}

extension Character {
  // The blocks that are wide by Unicode's East Asian Width. Their few exceptions are ignored.
  fileprivate var isWide: Bool {
    switch unicodeScalars.first?.value ?? 0 {
    case 0x1100...0x115F, 0x2E80...0xA4CF, 0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE30...0xFE6F,
      0xFF00...0xFF60, 0xFFE0...0xFFE6, 0x1F300...0x1FAFF, 0x20000...0x3FFFD:
      true
    default: false
    }
  }
}
