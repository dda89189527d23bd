internal import Adapters
internal import Bytes
internal import Formats
internal import Kernels
internal import Quantization
internal import TensorModel
internal import Weights

extension BlockWorker {
  // MARK: - Rows of floats

  /// Applies the adapters that change rows of floats to `values`.
  ///
  /// Returns the rows before and after; nil if no adapter changes the tensor. Throws what reading
  /// adapters throws, and `malformed` for numbers that are not finite.
  func updated(_ job: TensorJob, _ rows: Range<Int>) throws(ModelError) -> RowUpdate? {
    guard job.foldsAdapters, case .encode(let edits, _) = job.transform else { return nil }
    var update = RowUpdate(values, rows: rows, columnCount: job.partition.elementsPerUnit)
    for case .adapter(let change) in edits {
      try update.apply(change, updates)
      try checkFinite(update.values, change)
    }
    values = update.values
    return update
  }

  /// Adds adapters to rows, and encodes the result once.
  func merge(
    _ job: TensorJob, _ units: Range<Int>, _ encoder: any RowEncoder, _ target: inout [UInt8]
  ) throws(ModelError) {
    let columns = job.partition.elementsPerUnit
    for tile in job.partition.tiles(units.count) {
      decodeSource(job, tile)
      let firstRow = units.lowerBound + tile.lowerBound
      guard let update = try updated(job, firstRow..<firstRow + tile.count) else { continue }
      try encode(job, encoder, tile, firstUnit: firstRow, &target)
      let bytes = target[job.targetLayouts[0].range(of: tile)]
      RowDecoder(encoder.encoding)?.decode(bytes, into: &values)
      try checkStored(
        values, "a merged weight", encoder.plainType ?? .f16, first: firstRow * columns,
        columns: columns)
      measurement?.add(values, base: update.base, delta: update.delta)
    }
  }

  /// Writes rows that were quantized after adapters changed them.
  ///
  /// Pooled adapters change the offsets first. Measures the rows as a reader finds them.
  func foldQuantized(
    _ job: TensorJob, _ update: RowUpdate, _ rows: GroupedRows, _ tile: Range<Int>,
    _ target: inout [[UInt8]]
  ) throws(ModelError) {
    var base = update.base
    var delta = update.delta
    var encoded = rows
    let moves = job.transform.offsetMoves
    if !moves.isEmpty {
      // A pooled adapter was trained on the rounded weights, so they are its base. But if another
      // adapter was added before rounding, the base of both is the weights before rounding.
      let isAlone = job.transform.adapterEdits.isEmpty
      if isAlone { rows.decodeAll(into: &base) }
      let groups = try groupDelta(moves, update.rows, columns: rows.columnCount)
      encoded = GroupedRows(
        grouping: rows.grouping, columnCount: rows.columnCount, rowCount: rows.rowCount)
      GroupShift.apply(groups.delta, to: rows, into: encoded)
      let spread = GroupShift.spread(groups.delta, columnsPerGroup: groups.size)
      if isAlone { delta = spread } else { GroupShift.add(spread, to: &delta) }
    }
    try codec.check(encoded, firstRow: update.rows.lowerBound)
    codec.write(encoded, into: &target, firstRow: readStart + tile.lowerBound)
    let written = read(target, job, tile)
    written.decodeAll(into: &values)
    try checkStored(written, update.rows)
    measurement?.add(values, base: base, delta: delta)
    if case .grouped(let grouping) = job.source.encoding,
      grouping.bits == written.grouping.bits
    {
      let before = GroupedRows(
        grouping: grouping, columnCount: rows.columnCount, rowCount: rows.rowCount)
      model.readGroups(source, firstRow: tile.lowerBound, into: before)
      measurement?.add(codes: written.codes, base: before.codes)
    }
  }

  // MARK: - Offsets of groups

  /// Writes the codes with another offset, parameter type or code width.
  ///
  /// Adapters change the offsets.
  func regroup(
    _ job: TensorJob, _ units: Range<Int>, _ grouping: Grouping, _ target: inout [[UInt8]]
  ) throws(ModelError) {
    guard case .grouped(let before) = job.source.encoding else { return }
    let (moves, columns) = (job.transform.offsetMoves, job.partition.elementsPerUnit)
    let factor = GroupShift.factor(from: before.bits, to: grouping.bits)
    for tile in job.partition.tiles(units.count) {
      let firstRow = units.lowerBound + tile.lowerBound
      let tileRows = firstRow..<firstRow + tile.count
      let old = GroupedRows(grouping: before, columnCount: columns, rowCount: tile.count)
      model.readGroups(source, firstRow: tile.lowerBound, into: old)
      let new = rows(grouping, columns: columns, count: tile.count)
      let groups = try groupDelta(moves, tileRows, columns: columns)
      GroupShift.apply(groups.delta, to: old, into: new)
      try codec.check(new, firstRow: firstRow)
      codec.write(new, into: &target, firstRow: readStart + tile.lowerBound)
      let written = read(target, job, tile)
      try checkStored(written, tileRows)
      if factor == 1 { try checkScales(written, new, tileRows) }
      var base: [Float] = []
      old.decodeAll(into: &base)
      written.decodeAll(into: &values)
      measurement?.add(
        values, base: base,
        delta: GroupShift.spread(groups.delta, columnsPerGroup: groups.size))
      measurement?.add(codes: written.codes, base: old.codes, factor: UInt8(factor))
    }
  }

  /// The parts of the source, with other biases in one of them.
  func moveBiases(
    _ job: TensorJob, _ units: Range<Int>, _ grouping: Grouping, _ biases: TensorJob.EditedBiases
  ) throws(ModelError) -> [[UInt8]] {
    let field = biases.field
    let columns = job.partition.elementsPerUnit
    let groupCount = columns / grouping.groupSize
    let groups = try groupDelta(job.transform.offsetMoves, units, columns: columns)
    let delta = GroupShift.spread(groups.delta, columnsPerGroup: groups.size / grouping.groupSize)
    let format = FloatFormat(grouping.parameters)
    let old = field.read(source[field.part], format)
    var new = old
    GroupShift.add(delta, to: &new)
    // A buffer of its own, kept for the next block: a buffer of the source would be copied.
    var edited: [UInt8] = []
    swap(&edited, &editedPart)
    edited.resize(to: source[field.part].count)
    if !biases.isWholePart { Self.copy(source[field.part], to: &edited) }
    field.write(new, format, to: &edited)
    let written = field.read(edited, format)
    try checkStored(
      written, "a bias", grouping.parameters, first: units.lowerBound * groupCount,
      columns: groupCount)
    measurement?.add(written, base: old, delta: delta, times: grouping.groupSize)
    let isSame =
      biases.isWholePart
      || field.bytes(format).isSameAround(source[field.part], edited)
    measurement?.add(
      codeCount: units.count * columns, changed: isSame ? 0 : units.count * columns)
    editedPart = edited
    var output = source
    output[field.part] = edited
    return output
  }

  /// Copies blocks, and chooses the minima of their sub-blocks anew.
  func moveMinima(
    _ job: TensorJob, _ units: Range<Int>, _ moves: [PairedChange], _ target: inout [UInt8]
  ) throws(ModelError) {
    guard case .foreign(let layout) = job.source.encoding, let type = BlockType(layout),
      let size = type.minimumSize
    else { preconditionFailure("the planner moves only minima that blocks have") }
    let columns = job.partition.elementsPerUnit
    Self.copy(source[0], to: &target)
    for tile in job.partition.tiles(units.count) {
      let firstRow = units.lowerBound + tile.lowerBound
      decodeSource(job, tile)
      try checkFiniteSource(job, firstRow: firstRow)
      let base = values
      let groups = try groupDelta(moves, firstRow..<firstRow + tile.count, columns: columns)
      let delta = GroupShift.spread(groups.delta, columnsPerGroup: groups.size / size)
      let bytes = job.targetLayouts[0].range(of: tile)
      target.change(bytes) { type.moveMinima(by: delta.span, in: &$0) }
      RowDecoder(job.source.encoding)?.decode(target[bytes], into: &values)
      measurement?.add(
        values, base: base, delta: GroupShift.spread(delta, columnsPerGroup: size))
      let changed = type.differingCodeBytes(source[0][bytes], target[bytes])
      measurement?.add(codeCount: values.count, changed: changed)
    }
  }

  private static func copy(_ bytes: [UInt8], to target: inout [UInt8]) {
    precondition(bytes.count <= target.count, "the bytes fit")
    // In bounds by the precondition.
    unsafe bytes.withUnsafeBytes { bytes in
      unsafe target.withUnsafeMutableBytes { unsafe $0.copyMemory(from: bytes) }
    }
  }

  /// The sum of what pooled changes add to the weights of each group, as rows × groups.
  ///
  /// `size` is the number of columns in a group: the greatest common divisor of the group sizes of
  /// all changes. Throws what reading adapters throws, and `malformed` for numbers that are not
  /// finite.
  private func groupDelta(
    _ changes: [PairedChange], _ rows: Range<Int>, columns: Int
  ) throws(ModelError) -> (delta: [Float], size: Int) {
    // If the group sizes differ, the sum is constant within groups of their common divisor.
    let divisor = changes.compactMap(\.groupSize).reduce(0, Self.commonDivisor)
    let size = divisor == 0 ? columns : divisor
    var total = [Float](repeating: 0, count: rows.count * (columns / size))
    for change in changes {
      guard let product = change.lowRank, let own = change.groupSize else { continue }
      var delta = [Float](repeating: 0, count: rows.count * product.right.vectorCount)
      try updates.add(change, product, rows: rows, to: &delta)
      try checkFinite(delta, change)
      let spread = own == size ? delta : GroupShift.spread(delta, columnsPerGroup: own / size)
      GroupShift.add(spread, to: &total)
    }
    return (total, size)
  }

  private static func commonDivisor(_ left: Int, _ right: Int) -> Int {
    right == 0 ? left : commonDivisor(right, left % right)
  }

  // MARK: - Checks of written numbers

  /// The rows of a tile of the target, as a reader finds them.
  private func read(_ target: [[UInt8]], _ job: TensorJob, _ tile: Range<Int>) -> GroupedRows {
    let info = job.target
    guard case .grouped(let grouping) = info.encoding else { preconditionFailure("not grouped") }
    let rows = GroupedRows(
      grouping: codec.groupingAsRead(grouping), columnCount: info.shape.columnCount,
      rowCount: tile.count)
    codec.read(target, firstRow: readStart + tile.lowerBound, into: rows)
    return rows
  }

  private func checkFinite(_ values: [Float], _ change: PairedChange) throws(ModelError) {
    guard let index = Self.nonFinite(values) else { return }
    let file = adapters[change.adapter].file
    throw ModelError(
      .malformed, "a number is not finite after the adapter is added", file: file.adapter.path,
      tensor: change.tensors(of: file.adapter).joined(separator: ", "),
      expected: "finite numbers", found: "\(values[index])",
      hint: "the adapter or the base model is damaged: pleat inspect --stats shows which")
  }

  private func checkStored(_ rows: GroupedRows, _ range: Range<Int>) throws(ModelError) {
    try checkStored(
      rows.biases, "a bias", rows.grouping.parameters,
      first: range.lowerBound * rows.groupCount, columns: rows.groupCount)
  }

  /// Throws `unsupported` for a number that became infinite in its stored type.
  ///
  /// The numbers of the base model were checked before, so the adapter is the cause.
  private func checkStored(
    _ written: [Float], _ what: String, _ type: ScalarType, first: Int, columns: Int
  ) throws(ModelError) {
    guard let index = Self.nonFinite(written) else { return }
    let position = position(first + index, columns)
    throw ModelError(
      .unsupported, "\(what) does not fit \(type.name) after the adapter is added",
      expected: "a finite number", found: "\(written[index]) in \(position)",
      hint: type == .f32 || !codec.parameterTypes.contains(.f32)
        ? nil : "F32 can store it; for quantized weights use --bias-type F32")
  }

  /// Half the smallest positive F16 number: the largest rounding error of a subnormal scale.
  ///
  /// It is accepted because MLX gives groups of equal weights a scale of 1e-7. There the error does
  /// not affect the weights.
  static let smallestHalfStep: Float = 0x1p-25

  /// Throws `unsupported` if the type of the scales does not store those of the base model exactly.
  private func checkScales(
    _ written: GroupedRows, _ wanted: GroupedRows, _ range: Range<Int>
  ) throws(ModelError) {
    let ratio = wanted.grouping.groupSize / written.grouping.groupSize
    guard
      let index = written.scales.indices.first(where: {
        (written.scales[$0] - wanted.scales[$0 / ratio]).magnitude > Self.smallestHalfStep
      })
    else { return }
    let row = range.lowerBound + index / written.groupCount
    throw ModelError(
      .unsupported, "\(written.grouping.parameters.name) cannot store a scale exactly",
      expected: "\(wanted.scales[index / ratio])",
      found: "\(written.scales[index]) in row \(row), group \(index % written.groupCount)",
      hint: adapters.isEmpty
        ? "--dtype F16 decodes the weights" : "use --bias-type F32 if the format can store it")
  }
}
