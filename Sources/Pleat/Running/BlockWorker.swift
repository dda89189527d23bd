internal import Adapters
internal import Bytes
internal import Formats
internal import Kernels
internal import Quantization
internal import TensorModel
internal import Weights

/// Transforms blocks of tensors; each thread has its own worker with its own buffers.
final class BlockWorker {
  let model: Model
  let codec: any WeightCodec
  let adapters: [AppliedAdapter]
  let updates: UpdateReader
  var source: [[UInt8]] = []
  var values: [Float] = []
  var measurement: FoldMeasurement?
  var editedPart: [UInt8] = []
  /// The units of the block.
  private var units = 0..<0
  /// The number of units of the block before those in the source buffers.
  ///
  /// It is 0 unless a part of the target has stripes: other blocks are read at once.
  private(set) var readStart = 0
  /// The units that the source buffers have; fewer than were asked for if a table grows.
  private var sourceUnitCount = 0
  private var target: [[UInt8]] = []
  private var importance = ImportanceReader()
  private var rows: GroupedRows?

  init(_ plan: Plan) {
    model = plan.model
    codec = plan.format.codec
    adapters = plan.adapters
    updates = UpdateReader(plan.adapters.map(\.numbers))
  }

  /// The result of processing a block.
  struct Processed {
    /// The bytes to write.
    var parts: [PartBlock]
    /// How exactly adapters were added; nil if none changes the tensor.
    var measurement: FoldMeasurement?
  }

  /// Reads a block of a job's source, in pieces, and returns the bytes to write.
  ///
  /// Throws what reading throws, and `malformed` or `unsupported` for values that cannot be
  /// encoded.
  func process(_ job: TensorJob, block: Int) throws(ModelError) -> Processed {
    units = job.partition.units(of: block)
    measurement = job.foldsAdapters ? FoldMeasurement() : nil
    let parameters = parameters(of: job)
    var output: [[UInt8]] = []
    for read in job.reads(of: block) {
      readStart = read.lowerBound - units.lowerBound
      try fillSource(job, read, parameters)
      // The buffers of the target have one owner again, so that they are filled without a copy.
      output = []
      do throws(ModelError) {
        output = try transform(job, read, parameters)
      } catch {
        throw error.located(file: model.path, tensor: job.source.name)
      }
    }
    if let order = job.rowOrder, !order.isInverse {
      output[0] = order.reordered(output[0], rowLength: job.targetLayouts[0].bytesPerStep)
    }
    return Processed(parts: parts(of: job, block, output), measurement: measurement)
  }

  /// Fills the source buffers with some units of the block.
  ///
  /// Throws what reading throws.
  private func fillSource(
    _ job: TensorJob, _ units: Range<Int>, _ parameters: [Parameters]
  ) throws(ModelError) {
    let present = job.isGrown ? units.clamped(to: 0..<job.source.shape.rowCount) : units
    sourceUnitCount = present.count
    try model.read(
      job.sourceIndex, job.partition, units: present, into: &source,
      skipping: unreadParts(of: job, parameters))
    // llama.cpp has all parts of a row side by side; other formats store them apart.
    if let order = job.rowOrder, order.isInverse {
      source[0] = order.reordered(source[0], rowLength: job.partition.layouts[0].bytesPerStep)
    }
  }

  /// The bytes of each part of the target: buffers of the source where nothing changes in them.
  ///
  /// `units` are in the source buffers. The bytes of units that are read later are not filled yet.
  private func transform(
    _ job: TensorJob, _ units: Range<Int>, _ parameters: [Parameters]
  ) throws(ModelError) -> [[UInt8]] {
    switch job.transform {
    case .copy:
      try checkCopied(job, units, parameters)
      return source
    case .encode(_, .rows(let encoder)):
      return try filledTarget(job) { (target) throws(ModelError) in
        if job.foldsAdapters {
          try merge(job, units, encoder, &target[0])
        } else {
          try decode(job, units, encoder, &target[0])
        }
      }
    case .encode(_, .groups(let quantizer, _)):
      let encoder = blockEncoder(of: job, quantizer)
      return try filledTarget(job) { (target) throws(ModelError) in
        if let encoder { return try decode(job, units, encoder, &target[0]) }
        try quantize(job, units, quantizer, &target)
      }
    case .encode(_, .scaled(let encoder)):
      return try filledTarget(job) { (target) throws(ModelError) in
        try encode(job, units, encoder, &target)
      }
    case .regroup(let grouping, let moves):
      try checkParameters(parameters, job, units)
      if let biases = job.editedBiases { return try moveBiases(job, units, grouping, biases) }
      return try filledTarget(job) { (target) throws(ModelError) in
        if moves.isEmpty, job.source.encoding == job.target.encoding {
          try repack(job, units, grouping, &target)
        } else {
          try regroup(job, units, grouping, &target)
        }
      }
    case .rearrange: return try rearranged(job, units)
    case .moveMinima(let moves):
      return try filledTarget(job) { (target) throws(ModelError) in
        try moveMinima(job, units, moves, &target[0])
      }
    case .omit: preconditionFailure("a tensor that is left out has no blocks")
    }
  }

  // MARK: - Buffers

  /// The parts that are copied from file to file and whose numbers need no check.
  private func unreadParts(of job: TensorJob, _ parameters: [Parameters]) -> Set<Int> {
    // A part with a stated checksum is read, so that the checksum is compared.
    Set(
      job.copySources.indices.filter { part in
        job.copySources[part].map { $0.checksum == nil } ?? false
          && !isChecked(job, part, parameters)
      })
  }

  /// The buffers of the previous block, resized for this block and filled by `fill`.
  ///
  /// Their old contents are overwritten completely.
  func filledTarget(
    _ job: TensorJob, _ fill: (inout [[UInt8]]) throws(ModelError) -> Void
  ) throws(ModelError) -> [[UInt8]] {
    // While the property is empty, the buffers have one owner and are filled without a copy.
    var buffers: [[UInt8]] = []
    swap(&buffers, &target)
    if buffers.count != job.targetLayouts.count {
      buffers = job.targetLayouts.map { _ in [] }
    }
    for (part, layout) in job.targetLayouts.enumerated() {
      buffers[part].resize(to: layout.byteCount(of: units))
    }
    defer { target = buffers }
    try fill(&buffers)
    return buffers
  }

  /// The blocks of the stored tensors.
  private func parts(of job: TensorJob, _ block: Int, _ output: [[UInt8]]) -> [PartBlock] {
    var parts: [PartBlock] = []
    for run in job.runs(of: units) {
      for part in output.indices {
        // Row-independent parts are written with block 0.
        if job.targetLayouts[part].rowsPerStep == nil, block > 0 { continue }
        parts.append(piece(of: job, part, run, output[part]))
      }
    }
    return parts
  }

  /// The bytes of a run of units in one part, from the bytes of all units of the block.
  private func piece(
    of job: TensorJob, _ part: Int, _ run: TensorJob.Run, _ bytes: [UInt8]
  ) -> PartBlock {
    let layout = job.targetLayouts[part]
    let range = layout.range(of: run.units)
    let start = layout.range(of: run.first..<run.first + run.units.count).lowerBound
    let stored = job.place.storedIndices[run.piece * job.targetLayouts.count + part]
    let offset = job.place.stackIndex * layout.byteCount + start
    if layout.rowsPerStep == nil, let content = codec.parts(of: job.target)[part].content {
      return PartBlock(stored: stored, offset: offset, bytes: content)
    }
    if layout.isContiguous, let location = job.copySources[part] {
      let start = location.offset + range.lowerBound
      return PartBlock(
        stored: stored, offset: offset, .range(location.file, start..<start + range.count))
    }
    guard run.units == units else {
      let first = range.lowerBound - layout.range(of: units).lowerBound
      return PartBlock(
        stored: stored, offset: offset, bytes: Array(bytes[first..<first + range.count]))
    }
    var piece = PartBlock(stored: stored, offset: offset, bytes: bytes)
    // Stripes that are complete follow one another.
    if !layout.isContiguous, range.count < layout.stripeByteCount {
      piece.stripes = .init(count: layout.stripeCount, distance: layout.stripeByteCount)
    }
    return piece
  }

  // MARK: - Transforms without adapters

  /// What makes the blocks of the target in one step; nil if the groups are needed apart.
  private func blockEncoder(
    of job: TensorJob, _ quantizer: any Quantizer
  ) -> (any RowEncoder)? {
    guard !job.foldsAdapters,
      let encoder = quantizer.blockEncoder(columnCount: job.source.shape.columnCount),
      codec.parts(of: job.target).map(\.encoding) == [encoder.encoding]
    else { return nil }
    return encoder
  }

  private func quantize(
    _ job: TensorJob, _ units: Range<Int>, _ quantizer: any Quantizer, _ target: inout [[UInt8]]
  ) throws(ModelError) {
    let columns = job.partition.elementsPerUnit
    for tile in job.partition.tiles(units.count) {
      decodeSource(job, tile)
      let firstRow = units.lowerBound + tile.lowerBound
      let update = try updated(job, firstRow..<firstRow + tile.count)
      let rows = rows(quantizer.grouping, columns: columns, count: tile.count)
      let importance = try importance.rows(firstRow..<firstRow + tile.count, of: job.importance)
      do throws(GroupFault) {
        try quantizer.encode(values, weighing: importance, into: rows)
      } catch {
        throw explain(error, job, .grouped(quantizer.grouping), firstRow: firstRow)
      }
      if let update {
        try foldQuantized(job, update, rows, tile, &target)
      } else {
        try codec.check(rows, firstRow: firstRow)
        codec.write(rows, into: &target, firstRow: readStart + tile.lowerBound)
      }
    }
  }

  private func decode(
    _ job: TensorJob, _ units: Range<Int>, _ encoder: any RowEncoder, _ target: inout [UInt8]
  ) throws(ModelError) {
    for tile in job.partition.tiles(units.count) {
      decodeSource(job, tile)
      let firstUnit = units.lowerBound + tile.lowerBound
      if let type = encoder.plainType {
        try checkRange(
          values, "a weight", type, first: firstUnit * job.partition.elementsPerUnit,
          columns: job.source.shape.columnCount,
          hint: "use --dtype \(type == .f16 ? "BF16 or F32" : "F32")")
      }
      let addend = job.transform.addend
      if addend != 0 { for index in values.indices { values[index] += addend } }
      try encode(job, encoder, tile, firstUnit: firstUnit, &target)
    }
  }

  /// Writes `values` as some units of the block, of which the first has the number `firstUnit`.
  ///
  /// Throws `malformed` for a number that is not finite, and `unsupported` for scales that are too
  /// large, both for blocks only; `io` if the importance of their columns cannot be read.
  func encode(
    _ job: TensorJob, _ encoder: any RowEncoder, _ tile: Range<Int>, firstUnit: Int,
    _ target: inout [UInt8]
  ) throws(ModelError) {
    let (bytes, values) = (job.targetLayouts[0].range(of: tile), values)
    let importance = try importance.rows(firstUnit..<firstUnit + tile.count, of: job.importance)
    do throws(GroupFault) {
      try target.change(bytes) { (bytes) throws(GroupFault) in
        try encoder.encode(values, weighing: importance, into: &bytes)
      }
    } catch {
      throw explain(error, job, encoder.encoding, firstRow: firstUnit)
    }
  }

  private func repack(
    _ job: TensorJob, _ units: Range<Int>, _ grouping: Grouping, _ target: inout [[UInt8]]
  ) throws(ModelError) {
    let isRounded = if case .rounded = job.admission { true } else { false }
    for tile in job.partition.tiles(units.count) {
      let rows = rows(grouping, columns: job.partition.elementsPerUnit, count: tile.count)
      let firstRow = units.lowerBound + tile.lowerBound
      model.readGroups(source, firstRow: tile.lowerBound, into: rows)
      try codec.check(rows, firstRow: firstRow)
      if isRounded {
        let first = firstRow * rows.groupCount
        for (what, values) in [("a scale", rows.scales), ("a bias", rows.biases)] {
          try checkRange(
            values, what, codec.groupingAsRead(grouping).parameters, first: first,
            columns: rows.groupCount,
            hint: "use a format that stores larger scales and biases, such as pleat")
        }
      }
      codec.write(rows, into: &target, firstRow: readStart + tile.lowerBound)
    }
  }

  /// Fills `values` with the numbers of some units of the block that was read.
  ///
  /// Units that the source does not have are zeros.
  func decodeSource(_ job: TensorJob, _ units: Range<Int>) {
    let present = units.clamped(to: 0..<sourceUnitCount)
    model.decode(job.sourceIndex, job.partition, source, units: present, into: &values)
    let missing = (units.count - present.count) * job.partition.elementsPerUnit
    if missing > 0 { values.append(contentsOf: repeatElement(0, count: missing)) }
  }

  /// A buffer for rows of groups; that of the previous tile if its form and size are the same.
  func rows(_ grouping: Grouping, columns: Int, count: Int) -> GroupedRows {
    if let rows, rows.grouping == grouping, rows.columnCount == columns, rows.rowCount == count {
      return rows
    }
    let rows = GroupedRows(grouping: grouping, columnCount: columns, rowCount: count)
    self.rows = rows
    return rows
  }
}
