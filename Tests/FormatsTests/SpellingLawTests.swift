import Bytes
import Formats
import Quantization
import TensorModel
import TestSupport
import Testing

/// What is spelled is read again: for every format and every grouping that it admits.
@Suite struct SpellingLawTests {
  static let groupings = Every.triple(
    of: Grouping.supportedBits, [16, 32, 48, 64, 96, 128, 256], Grouping.supportedParameters
  ).flatMap { bits, size, parameters in
    Grouping.Offset.allCases.map {
      Grouping(bits: bits, groupSize: size, offset: $0, parameters: parameters)
    }
  }

  private static let rowCount = 5

  private static func info(_ grouping: Grouping) -> TensorInfo {
    TensorInfo(
      name: "w.weight", shape: Shape(rowCount, 2 * grouping.groupSize),
      encoding: .grouped(grouping))
  }

  /// Rows with random codes, and parameters that are numbers of the parameter type.
  private static func rows(_ grouping: Grouping, seed: UInt64) -> GroupedRows {
    let rows = GroupedRows(
      grouping: grouping, columnCount: 2 * grouping.groupSize, rowCount: rowCount)
    var random = Seeded(seed)
    rows.codes = random.codes(rows.codes.count, bits: grouping.bits)
    rows.scales = Numbers.rounded(random.weights(rows.scales.count), to: grouping.parameters)
    rows.biases = Numbers.rounded(random.weights(rows.biases.count), to: grouping.parameters)
    rows.zeros = random.codes(rows.zeros.count, bits: grouping.bits).map { Float($0) }
    return rows
  }

  private func slice(_ rows: GroupedRows, _ range: Range<Int>) -> GroupedRows {
    let part = GroupedRows(
      grouping: rows.grouping, columnCount: rows.columnCount, rowCount: range.count)
    let (columns, groups) = (rows.columnCount, rows.groupCount)
    part.codes = Array(rows.codes[range.lowerBound * columns..<range.upperBound * columns])
    part.scales = Array(rows.scales[range.lowerBound * groups..<range.upperBound * groups])
    if rows.grouping.offset == .bias {
      part.biases = Array(rows.biases[range.lowerBound * groups..<range.upperBound * groups])
    }
    if rows.grouping.offset == .zeroPoint {
      part.zeros = Array(rows.zeros[range.lowerBound * groups..<range.upperBound * groups])
    }
    return part
  }

  private func decoded(_ rows: GroupedRows) -> [Float] {
    var values = [Float](repeating: .nan, count: rows.codes.count)
    rows.decode(into: &values)
    return values
  }

  /// The spelling that reads what a format writes: that of the config, where there is one.
  private func reading(_ format: Format, _ tensors: [TensorInfo]) throws -> any Spelling {
    let config = try format.spelling.configuration([:], for: tensors)
    return try config.flatMap {
      try format.spelling.configured(by: $0, StoredContents([]) { (_, _) in [] })
    } ?? format.spelling
  }

  @Test("what is spelled by rows is read again by rows (seed 7)", arguments: groupings)
  func roundTrip(grouping: Grouping) throws {
    let info = Self.info(grouping)
    for format in Formats.all {
      let rows = Self.rows(grouping, seed: 7)
      switch format.admits(info) {
      case .refused: continue
      case .rounded:
        rows.scales = Numbers.rounded(rows.scales, to: .f16)
        rows.biases = Numbers.rounded(rows.biases, to: .f16)
      case .exact: break
      }
      let stored = format.spelling.parts(of: info)
      var parts = stored.map { [UInt8](repeating: 0xaa, count: $0.byteCount) }
      for piece in Every.pieces(of: Self.rowCount, 2) {
        format.spelling.spell(slice(rows, piece), into: &parts, firstRow: piece.lowerBound)
      }
      let reading = try reading(format, [info])
      let gathered = try reading.gather(StoredContents(stored) { (_, _) in [] })
      #expect(gathered.map(\.parts) == [Array(stored.indices)])
      #expect(gathered[0].info.shape == info.shape)
      guard case .grouped(let found) = gathered[0].info.encoding else {
        Issue.record("\(format.name) makes \(gathered[0].info.encoding) of \(grouping)")
        continue
      }
      var values: [Float] = []
      for piece in Every.pieces(of: Self.rowCount, 3) {
        let part = GroupedRows(
          grouping: found, columnCount: info.shape.columnCount, rowCount: piece.count)
        reading.read(parts, firstRow: piece.lowerBound, into: part)
        values += decoded(part)
      }
      #expect(values.bits == decoded(rows).bits, "\(format.name)")
    }
  }

  @Test("a pleat file has the very codes and parameters (seed 8)", arguments: groupings)
  func packedIsExact(grouping: Grouping) {
    let info = Self.info(grouping)
    let rows = Self.rows(grouping, seed: 8)
    let spelling = PackedSpelling()
    #expect(spelling.admits(info) == .exact)
    let stored = spelling.parts(of: info)
    let offsets: [Grouping.Offset: [PartRole]] = [.bias: [.biases], .zeroPoint: [.zeros]]
    #expect(stored.map(\.role) == [.codes, .scales] + (offsets[grouping.offset] ?? []))
    var parts = stored.map { [UInt8](repeating: 0xaa, count: $0.byteCount) }
    spelling.spell(rows, into: &parts, firstRow: 0)
    #expect(parts[1] == Numbers.bytes(rows.scales, grouping.parameters))
    if grouping.offset == .bias {
      #expect(parts[2] == Numbers.bytes(rows.biases, grouping.parameters))
    }
    if grouping.offset == .zeroPoint { #expect(parts[2] == rows.zeros.map { UInt8($0) }) }
    let again = GroupedRows(
      grouping: grouping, columnCount: rows.columnCount, rowCount: rows.rowCount)
    spelling.read(parts, firstRow: 0, into: again)
    #expect(again.codes == rows.codes)
    #expect(again.scales.bits == rows.scales.bits)
    #expect(again.biases.bits == rows.biases.bits)
    #expect(again.zeros == rows.zeros)
  }

  @Test("gguf admits groups of whole blocks whose codes fit a type", arguments: groupings)
  func ggmlAdmission(grouping: Grouping) {
    let fits =
      grouping.groupSize % 32 == 0 && grouping.offset != .zeroPoint
      && (grouping.offset == .none || grouping.bits <= 5)
    let expected = !fits ? "refused" : grouping.parameters == .f16 ? "exact" : "rounded"
    let found =
      switch GGMLSpelling().admits(Self.info(grouping)) {
      case .exact: "exact"
      case .rounded: "rounded"
      case .refused: "refused"
      }
    #expect(found == expected)
  }

  @Test("mlx admits groups of 32, 64 and 128 with biases, exactly", arguments: groupings)
  func mlxAdmission(grouping: Grouping) {
    let fits = grouping.offset == .bias && [32, 64, 128].contains(grouping.groupSize)
    #expect((MLXSpelling().admits(Self.info(grouping)) == .exact) == fits)
    guard fits else { return }
    // Only what is called weight has a place for scales and biases beside it.
    let info = TensorInfo(
      name: "experts.up", shape: Shape(2, 128), encoding: .grouped(grouping))
    #expect(MLXSpelling().admits(info) != .exact)
  }

  @Test("safetensors admits no groups", arguments: groupings)
  func plainAdmission(grouping: Grouping) {
    guard case .refused = PlainSpelling().admits(Self.info(grouping)) else {
      Issue.record("admitted")
      return
    }
  }

  @Test("a plain tensor is its own part in every format that admits it", arguments: Formats.all)
  func plainParts(format: Format) throws {
    for type in ScalarType.allCases {
      for shape in [Shape(), Shape(8), Shape(3, 8), Shape(2, 1, 8), Shape(0, 8)] {
        let info = TensorInfo(name: "t", shape: shape, encoding: .plain(type))
        guard format.admits(info) == .exact else {
          #expect(format == .gguf || format == .mlx && type == .f64)
          continue
        }
        let parts = format.spelling.parts(of: info)
        guard let byteCount = type.byteCount(of: shape.elementCount) else {
          #expect(parts.isEmpty)
          continue
        }
        #expect(parts.map(\.byteCount) == [byteCount])
        #expect(
          try format.spelling.gather(StoredContents(parts) { (_, _) in [] }).map(\.info) == [info])
      }
    }
  }
}
