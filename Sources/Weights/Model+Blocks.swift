internal import Bytes
internal import Formats
internal import Kernels
package import TensorModel

extension Model {
  /// The bytes of some units of a tensor, part by part.
  ///
  /// Throws what reading throws.
  package func read(
    _ tensor: Int, _ partition: BlockPartition, units: Range<Int>
  ) throws(ModelError) -> [[UInt8]] {
    var parts: [[UInt8]] = []
    try read(tensor, partition, units: units, into: &parts)
    return parts
  }

  /// Fills `parts` with the bytes of some units of a tensor.
  ///
  /// Buffers of the right length are reused. Those of the parts in `skipped` are left empty.
  /// Throws what reading throws.
  package func read(
    _ tensor: Int, _ partition: BlockPartition, units: Range<Int>, into parts: inout [[UInt8]],
    skipping skipped: Set<Int> = []
  ) throws(ModelError) {
    let partCount = partition.layouts.count
    if parts.count != partCount { parts = Array(repeating: [], count: partCount) }
    for part in 0..<partCount {
      let layout = partition.layouts[part]
      let range = layout.range(of: units)
      let count = skipped.contains(part) ? 0 : range.count * layout.stripeCount
      parts[part].resize(to: count)
      guard count > 0 else { continue }
      for stripe in 0..<layout.stripeCount {
        let start = stripe * layout.stripeByteCount + range.lowerBound
        let target = stripe * range.count..<(stripe + 1) * range.count
        try parts[part].change(target) { (span) throws(ModelError) in
          try readPart(tensor, part, at: start, into: &span)
        }
      }
    }
  }

  /// Fills `bytes` from an offset of a part of a tensor.
  ///
  /// Throws what reading throws.
  package func readPart(
    _ tensor: Int, _ part: Int, at offset: Int, into bytes: inout MutableRawSpan
  ) throws(ModelError) {
    if gathered[tensor].view != nil {
      try readView(tensor, part, at: offset, into: &bytes)
    } else {
      try readStored(gathered[tensor], part, at: offset, into: &bytes)
    }
  }

  /// Fills `bytes` from an offset of a stored part of a weight, in the form that its codec reads.
  ///
  /// Throws `malformed` for codes that their width does not permit, and what reading throws.
  func readStored(
    _ weight: GatheredTensor, _ part: Int, at offset: Int, into bytes: inout MutableRawSpan
  ) throws(ModelError) {
    let index = weight.parts[part]
    guard !weight.forms.isEmpty, weight.forms[part] != .stored else {
      return try reader.read(index, at: offset, into: &bytes)
    }
    let range = offset..<offset + bytes.byteCount
    let content = try weight.forms[part].bytes(range, of: reader.stored[index]) {
      (range) throws(ModelError) in
      try reader.contents.bytes(of: index, range)
    }
    bytes.copy(content, from: 0)
  }

  /// Decodes some units of the bytes that `read` gave.
  ///
  /// - Parameters:
  ///   - tensor: The index in the catalog of a tensor that Pleat can decode.
  ///   - partition: The partition that the bytes were read with.
  ///   - parts: The bytes.
  ///   - units: The units to decode, counted from the beginning of these bytes.
  ///   - values: Receives all numbers of the units; its length is changed to fit.
  package func decode(
    _ tensor: Int, _ partition: BlockPartition, _ parts: [[UInt8]], units: Range<Int>,
    into values: inout [Float]
  ) {
    let encoding = catalog.tensors[tensor].encoding
    switch encoding {
    case .grouped(let grouping):
      let rows = GroupedRows(
        grouping: grouping, columnCount: partition.elementsPerUnit, rowCount: units.count)
      readGroups(parts, firstRow: units.lowerBound, into: rows)
      rows.decodeAll(into: &values)
    case .scaled(let codes):
      ScaledRows(
        codes, columnCount: partition.elementsPerUnit, layouts: partition.layouts)?
        .decode(parts, rows: units, into: &values)
    case .plain, .foreign:
      let count = units.count * partition.elementsPerUnit
      if values.count != count { values = Array(repeating: 0, count: count) }
      let bytes = partition.layouts[0].range(of: units)
      RowDecoder(encoding)?.decode(parts[0][bytes], into: &values)
    }
  }

  /// Fills `rows` from the bytes that `read` gave, starting at row `firstRow` of these bytes.
  package func readGroups(_ parts: [[UInt8]], firstRow: Int, into rows: GroupedRows) {
    format.codec.read(parts, firstRow: firstRow, into: rows)
  }
}
