internal import Bytes
package import Formats
internal import Kernels
package import TensorModel
internal import TestSupport

/// What holds of every weight codec: rows that are written in pieces are read in pieces, with the same
/// numbers; parts have the lengths of their layouts; a reader finds the grouping that was promised.
package enum WeightCodecLaw {
  /// Checks the law for rows of a grouping that a format admits.
  ///
  /// - Parameters:
  ///   - format: The format; a dialect is asked for the codec that reads what it describes.
  ///   - rows: The rows; scales and biases are rounded to F16 where the format rounds them.
  /// - Throws: What does not hold.
  package static func check(_ format: Format, _ rows: GroupedRows) throws(LawViolation) {
    let info = TensorInfo(
      name: "w.weight", shape: Shape(rows.rowCount, rows.columnCount),
      encoding: .grouped(rows.grouping))
    switch format.admission(of: info) {
    case .exact: break
    case .rounded:
      rows.scales = Numbers.rounded(rows.scales, to: .f16)
      rows.biases = Numbers.rounded(rows.biases, to: .f16)
    case .refused(let reason):
      throw LawViolation("\(format.name) refuses \(rows.grouping): \(reason)")
    }
    let stored = format.codec.parts(of: info)
    for part in stored {
      let byteCount = part.rows.byteCount(of: 0..<rows.rowCount)
      try require(
        byteCount == part.byteCount,
        "\(part.name) has \(part.byteCount) bytes, and its rows have \(byteCount)")
    }
    let parts = try write(rows, format, stored)
    try checkReading(rows, info, format, stored, parts)
  }

  private static func step(_ stored: [StoredTensor]) -> Int {
    stored.compactMap(\.rows.rowsPerStep).max() ?? 1
  }

  /// The parts of all rows, written in pieces of two steps.
  private static func write(
    _ rows: GroupedRows, _ format: Format, _ stored: [StoredTensor]
  ) throws(LawViolation) -> [[UInt8]] {
    var parts = stored.map { $0.content ?? [UInt8](repeating: 0xaa, count: $0.byteCount) }
    for range in Every.pieces(of: rows.rowCount, 2 * step(stored)) {
      let piece = rows.rows(range)
      try unfailing("the check of \(format.name)") {
        try format.codec.check(piece, firstRow: range.lowerBound)
      }
      format.codec.write(piece, into: &parts, firstRow: range.lowerBound)
    }
    return parts
  }

  /// Reads the parts with the codec that a reader would choose, in pieces of another length.
  private static func checkReading(
    _ rows: GroupedRows, _ info: TensorInfo, _ format: Format, _ stored: [StoredTensor],
    _ parts: [[UInt8]]
  ) throws(LawViolation) {
    let contents = StoredContents(stored) { (tensor, range) in Array(parts[tensor][range]) }
    let codec = try unfailing("describing \(format.name)") { () -> any WeightCodec in
      guard let dialect = format.dialect else { return format.codec }
      let config = try dialect.configuration(
        [:], for: [info], description: dialect.description(of: [info]), of: format.name)
      guard let found = try dialect.codec(for: config, contents) else {
        throw LawViolation("the dialect of \(format.name) does not know its own config")
      }
      return found.codec
    }
    let gathered = try unfailing("gathering \(format.name)") { try codec.gather(contents) }
    try require(
      gathered.map(\.parts) == [StoredIndices(stored.indices)]
        && gathered[0].info.shape == info.shape && gathered[0].info.name == info.name,
      "\(format.name) gathers \(gathered.map(\.info)) of \(info)")
    guard case .grouped(let found) = gathered[0].info.encoding else {
      throw LawViolation("\(format.name) makes \(gathered[0].info.encoding) of \(rows.grouping)")
    }
    // A reader may tell from the numbers that zero points are all the central code.
    let promised = format.codec.groupingAsRead(rows.grouping)
    try require(
      found.bits == promised.bits && found.groupSize == promised.groupSize
        && found.parameters == promised.parameters,
      "\(format.name) promises \(promised) and gives \(found)")
    let step = step(stored)
    var values: [Float] = []
    for range in Every.pieces(of: rows.rowCount, step > 1 ? step : 3) {
      let piece = GroupedRows(
        grouping: found, columnCount: rows.columnCount, rowCount: range.count)
      codec.read(parts, firstRow: range.lowerBound, into: piece)
      values += piece.values
    }
    try require(
      values.bits == rows.values.bits, "\(format.name) reads other numbers of \(rows.grouping)")
  }
}
