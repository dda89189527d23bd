internal import Bytes
internal import Formats
internal import Quantization
internal import TensorModel

extension Model {
  /// The bytes of some units of a tensor, part by part.
  ///
  /// Throws what reading throws.
  func read(
    _ tensor: Int, _ cut: Cut, units: Range<Int>
  ) throws(ModelError) -> [[UInt8]] {
    var parts: [[UInt8]] = []
    try read(tensor, cut, units: units, into: &parts)
    return parts
  }

  /// Fills `parts` with the bytes of some units of a tensor; buffers of the right length are used
  /// again, and those of the parts in `others` are left empty.
  ///
  /// Throws what reading throws.
  func read(
    _ tensor: Int, _ cut: Cut, units: Range<Int>, into parts: inout [[UInt8]],
    without others: Set<Int> = []
  ) throws(ModelError) {
    let stored = gathered[tensor].parts
    if parts.count != stored.count { parts = stored.map { _ in [] } }
    for part in stored.indices {
      let layout = cut.source[part]
      let range = layout.range(of: units)
      let count = others.contains(part) ? 0 : range.count * layout.lineCount
      parts[part].resize(to: count)
      guard count > 0 else { continue }
      for line in 0..<layout.lineCount {
        let start = line * layout.lineByteCount + range.lowerBound
        let place = line * range.count..<(line + 1) * range.count
        try parts[part].change(place) { (span) throws(ModelError) in
          try reader.read(stored[part], at: start, into: &span)
        }
      }
    }
  }

  /// Fills `values` with the numbers of some units of the bytes that `read` gave.
  ///
  /// - Parameters:
  ///   - tensor: The index in the catalog; its encoding is one that Pleat decodes.
  ///   - cut: The cut that the bytes were read by.
  ///   - parts: The bytes.
  ///   - units: Units of these bytes, counted from their beginning.
  ///   - values: Receives all numbers of the units; its length is changed to fit.
  func decode(
    _ tensor: Int, _ cut: Cut, _ parts: [[UInt8]], units: Range<Int>, into values: inout [Float]
  ) {
    let count = units.count * cut.elementsPerUnit
    if values.count != count { values = Array(repeating: 0, count: count) }
    let encoding = catalog.tensors[tensor].encoding
    if case .grouped(let grouping) = encoding {
      let rows = GroupedRows(
        grouping: grouping, columnCount: cut.elementsPerUnit, rowCount: units.count)
      format.spelling.read(parts, firstRow: units.lowerBound, into: rows)
      rows.decode(into: &values)
    } else {
      let bytes = cut.source[0].range(of: units)
      RowDecoder(encoding)?.decode(parts[0][bytes], into: &values)
    }
  }
}
