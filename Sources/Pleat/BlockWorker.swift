internal import Adapters
internal import Bytes
internal import Formats
internal import Kernels
internal import Quantization
internal import TensorModel

/// Turns blocks of tensors into their new form; each thread has one, and its buffers.
final class BlockWorker {
  let plan: Plan
  let updates: UpdateReader
  var source: [[UInt8]] = []
  private var target: [[UInt8]] = []
  var values: [Float] = []
  var measurement: FoldMeasurement?
  private var rows: GroupedRows?

  init(_ plan: Plan) {
    self.plan = plan
    updates = UpdateReader(plan.adapters.map(\.numbers))
  }

  /// What a block became.
  struct Processed {
    /// The bytes to write.
    var parts: [PartBlock]
    /// What survived of adapters; nil where none took part.
    var measurement: FoldMeasurement?
  }

  /// Reads block `block` of a tensor and gives what is to be written.
  ///
  /// Throws what reading throws, and `malformed` or `unsupported` for values that cannot be encoded.
  func process(_ tensor: Int, block: Int) throws(ModelError) -> Processed {
    let cut = plan.blocks[tensor]
    let units = cut.units(of: block)
    measurement = plan.tensors[tensor].changes.isEmpty ? nil : FoldMeasurement()
    let carried = plan.carried[tensor]
    let parameters = parameters(of: tensor)
    let unseen = carried.indices.filter { part in
      // What a checksum is stated for is read, so that it can be compared.
      carried[part].map { $0.checksum == nil } ?? false
        && !isChecked(tensor, part, parameters)
    }
    try plan.model.read(tensor, cut, units: units, into: &source, without: Set(unseen))
    var target = takeTarget(cut, units, plan.tensors[tensor].action, carried)
    do throws(ModelError) {
      switch plan.tensors[tensor].action {
      case .copy:
        try checkCopied(tensor, cut, units, parameters)
        swap(&target, &source)
      case .quantize(let grouping, let scheme):
        try quantize(tensor, cut, units, grouping, try Schemes.named(scheme), &target)
      case .decode(let type): try decode(tensor, cut, units, type, &target[0])
      case .respell:
        try checkParameters(parameters, cut, units)
        try respell(tensor, cut, units, &target)
      case .merge(let type), .replace(let type):
        try merge(tensor, cut, units, type, &target[0])
      case .shift(let grouping):
        try checkParameters(parameters, cut, units)
        try shift(tensor, cut, units, grouping, &target)
      case .omit: preconditionFailure("there are no blocks of what is left out")
      }
    } catch {
      throw error.located(file: plan.model.path, tensor: plan.tensors[tensor].source.name)
    }
    if let order = plan.tensors[tensor].placement?.rowOrder {
      target[0] = Self.interleaved(target[0], cut.target[0].bytesPerStep, order)
    }
    let first = plan.firstParts[tensor]
    var parts: [PartBlock] = []
    for (part, bytes) in target.enumerated() {
      let layout = cut.target[part]
      // What is of no row is written with the first ones.
      if layout.rowsPerStep == nil, block > 0 { continue }
      let range = layout.range(of: units)
      let content = layout.rowsPerStep == nil ? contents(tensor, part) : nil
      var piece = PartBlock(
        stored: first + part, offset: plan.stackOffsets[tensor] + range.lowerBound,
        bytes: content ?? bytes)
      if !layout.isContiguous {
        piece.lines = .init(count: layout.lineCount, distance: layout.lineByteCount)
      } else if let place = carried[part] {
        let start = place.offset + range.lowerBound
        piece.content = .range(place.file, start..<start + range.count)
      }
      parts.append(piece)
    }
    self.target = target
    return Processed(parts: parts, measurement: measurement)
  }

  /// The bytes of a part that is the same whatever the numbers are.
  private func contents(_ tensor: Int, _ part: Int) -> [UInt8]? {
    plan.format.spelling.parts(of: plan.tensors[tensor].target)[part].content
  }

  /// The buffers of the block before, with the right lengths: what is written to them covers them.
  private func takeTarget(
    _ cut: Cut, _ units: Range<Int>, _ action: Action, _ carried: [StoredPlace?]
  ) -> [[UInt8]] {
    var buffers: [[UInt8]] = []
    swap(&buffers, &target)
    if buffers.count != carried.count { buffers = carried.map { _ in [] } }
    // Copied bytes change places with those that were read.
    guard action != .copy else { return buffers }
    for part in buffers.indices {
      buffers[part].resize(to: carried[part] == nil ? cut.target[part].byteCount(of: units) : 0)
    }
    return buffers
  }

  /// Whole heads of rows, or of numbers of a vector, in llama.cpp's order.
  private static func interleaved(
    _ bytes: [UInt8], _ unitByteCount: Int, _ order: RotaryRowOrder
  ) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(bytes.count)
    for unit in 0..<bytes.count / max(1, unitByteCount) {
      let start = order.huggingFaceRow(ofInterleaved: unit) * unitByteCount
      result += bytes[start..<start + unitByteCount]
    }
    return result
  }

  private func quantize(
    _ tensor: Int, _ cut: Cut, _ units: Range<Int>, _ grouping: Grouping,
    _ scheme: any GroupScheme.Type, _ target: inout [[UInt8]]
  ) throws(ModelError) {
    for tile in tiles(cut, units.count) {
      plan.model.decode(tensor, cut, source, units: tile, into: &values)
      let firstRow = units.lowerBound + tile.lowerBound
      let update = try updated(tensor, cut, firstRow..<firstRow + tile.count)
      let rows = rows(grouping, columns: cut.elementsPerUnit, count: tile.count)
      do throws(GroupFault) { try scheme.encode(values, into: rows) } catch {
        throw explain(error, cut, grouping, firstRow: firstRow)
      }
      if update == nil { try plan.format.spelling.check(rows, firstRow: firstRow) }
      if let update {
        try foldQuantized(tensor, update, rows, tile, &target)
      } else {
        plan.format.spelling.spell(rows, into: &target, firstRow: tile.lowerBound)
      }
    }
  }

  private func decode(
    _ tensor: Int, _ cut: Cut, _ units: Range<Int>, _ type: ScalarType, _ target: inout [UInt8]
  ) throws(ModelError) {
    for tile in tiles(cut, units.count) {
      plan.model.decode(tensor, cut, source, units: tile, into: &values)
      try checkRange(
        values, "a weight", type,
        first: (units.lowerBound + tile.lowerBound) * cut.elementsPerUnit,
        columns: plan.tensors[tensor].source.shape.columnCount,
        hint: "use --dtype \(type == .f16 ? "BF16 or F32" : "F32")")
      let bytes = cut.target[0].range(of: tile)
      if plan.tensors[tensor].placement?.addsOne == true {
        for index in values.indices { values[index] += 1 }
      }
      let values = values
      target.change(bytes) { FloatFormat(type).encode(values.span, into: &$0) }
    }
  }

  private func respell(
    _ tensor: Int, _ cut: Cut, _ units: Range<Int>, _ target: inout [[UInt8]]
  ) throws(ModelError) {
    guard case .grouped(let grouping) = plan.tensors[tensor].source.encoding else { return }
    let isRounded =
      if case .rounded = plan.format.admits(plan.tensors[tensor].target) { true } else { false }
    for tile in tiles(cut, units.count) {
      let rows = rows(grouping, columns: cut.elementsPerUnit, count: tile.count)
      let firstRow = units.lowerBound + tile.lowerBound
      plan.model.format.spelling.read(source, firstRow: tile.lowerBound, into: rows)
      try plan.format.spelling.check(rows, firstRow: firstRow)
      if isRounded {
        let first = firstRow * rows.groupCount
        for (what, values) in [("a scale", rows.scales), ("a bias", rows.biases)] {
          try checkRange(
            values, what, .f16, first: first, columns: rows.groupCount,
            hint: "choose a format that holds larger parameters, such as pleat")
        }
      }
      plan.format.spelling.spell(rows, into: &target, firstRow: tile.lowerBound)
    }
  }

  func tiles(_ cut: Cut, _ count: Int) -> [Range<Int>] {
    stride(from: 0, to: count, by: cut.unitsPerTile).map {
      $0..<min(count, $0 + cut.unitsPerTile)
    }
  }

  func rows(_ grouping: Grouping, columns: Int, count: Int) -> GroupedRows {
    if let rows, rows.grouping == grouping, rows.columnCount == columns, rows.rowCount == count {
      return rows
    }
    let rows = GroupedRows(grouping: grouping, columnCount: columns, rowCount: count)
    self.rows = rows
    return rows
  }
}
