internal import Adapters
internal import Bytes
internal import Formats
internal import Kernels
internal import Quantization
internal import TensorModel

extension BlockWorker {
  // MARK: - Rows of floats

  /// Adds what adapters change in rows to `values`; nil when none does.
  ///
  /// Throws what reading adapters throws, and `malformed` for numbers that are not finite.
  func updated(
    _ tensor: Int, _ cut: Cut, _ rows: Range<Int>
  ) throws(ModelError) -> RowUpdate? {
    let changes = plan.tensors[tensor].changes
    guard !changes.isEmpty else { return nil }
    var update = RowUpdate(values, rows: rows, columnCount: cut.elementsPerUnit)
    for change in changes where !isShifted(change, tensor) {
      try update.apply(change, updates)
      try checkFinite(update.values, change)
    }
    values = update.values
    return update
  }

  /// Whether a change moves the offsets of groups, and leaves the rows of floats alone.
  private func isShifted(_ change: PairedChange, _ tensor: Int) -> Bool {
    guard case .quantize(let grouping, _) = plan.tensors[tensor].action,
      let size = change.groupSize
    else { return false }
    return !plan.tensors[tensor].source.isGrouped && grouping.offset == .bias
      && size % grouping.groupSize == 0
  }

  /// Adds adapters to plain numbers, and rounds once.
  func merge(
    _ tensor: Int, _ cut: Cut, _ units: Range<Int>, _ type: ScalarType, _ target: inout [UInt8]
  ) throws(ModelError) {
    let format = FloatFormat(type)
    for tile in tiles(cut, units.count) {
      plan.model.decode(tensor, cut, source, units: tile, into: &values)
      let firstRow = units.lowerBound + tile.lowerBound
      guard let update = try updated(tensor, cut, firstRow..<firstRow + tile.count) else {
        continue
      }
      let bytes = cut.target[0].range(of: tile)
      let wanted = values
      target.change(bytes) { format.encode(wanted.span, into: &$0) }
      RowDecoder(.plain(type))?.decode(target[bytes], into: &values)
      try checkStored(
        values, "a merged weight", type, first: firstRow * cut.elementsPerUnit,
        columns: cut.elementsPerUnit)
      measurement?.add(values, base: update.base, delta: update.delta)
    }
  }

  /// Spells rows that were encoded after adapters changed them, and those that move offsets now.
  func foldQuantized(
    _ tensor: Int, _ update: RowUpdate, _ rows: GroupedRows, _ tile: Range<Int>,
    _ target: inout [[UInt8]]
  ) throws(ModelError) {
    var base = update.base
    var delta = update.delta
    var encoded = rows
    if case let shifting = plan.tensors[tensor].changes.filter({ isShifted($0, tensor) }),
      !shifting.isEmpty
    {
      // A pooled adapter was trained on the rounded weights: they are its base, unless another one
      // was added before they were rounded.
      let isAlone = shifting.count == plan.tensors[tensor].changes.count
      if isAlone { rows.decodeAll(into: &base) }
      let groups = try groupDelta(shifting, update.rows, columns: rows.columnCount)
      encoded = GroupedRows(
        grouping: rows.grouping, columnCount: rows.columnCount, rowCount: rows.rowCount)
      GroupShift.apply(groups.delta, to: rows, into: encoded)
      let spread = GroupShift.spread(groups.delta, columnsPerGroup: groups.size)
      if isAlone { delta = spread } else { GroupShift.add(spread, to: &delta) }
    }
    try plan.format.spelling.check(encoded, firstRow: update.rows.lowerBound)
    plan.format.spelling.spell(encoded, into: &target, firstRow: tile.lowerBound)
    let written = read(target, tensor, tile)
    written.decodeAll(into: &values)
    try checkStored(written, update.rows)
    measurement?.add(values, base: base, delta: delta)
    if case .grouped(let grouping) = plan.tensors[tensor].source.encoding,
      grouping.bits == written.grouping.bits
    {
      let before = GroupedRows(
        grouping: grouping, columnCount: rows.columnCount, rowCount: rows.rowCount)
      plan.model.format.spelling.read(source, firstRow: tile.lowerBound, into: before)
      measurement?.add(codes: written.codes, base: before.codes)
    }
  }

  // MARK: - Offsets of groups

  /// Moves the offsets of groups.
  func shift(
    _ tensor: Int, _ cut: Cut, _ units: Range<Int>, _ grouping: Grouping,
    _ target: inout [[UInt8]]
  ) throws(ModelError) {
    guard case .grouped(let before) = plan.tensors[tensor].source.encoding else { return }
    if let place = plan.tensors[tensor].biasField(from: plan.model.format, to: plan.format) {
      return try shiftBiases(tensor, cut, units, grouping, place, &target)
    }
    let (changes, columns) = (plan.tensors[tensor].changes, cut.elementsPerUnit)
    for tile in tiles(cut, units.count) {
      let firstRow = units.lowerBound + tile.lowerBound
      let place = firstRow..<firstRow + tile.count
      let old = GroupedRows(grouping: before, columnCount: columns, rowCount: tile.count)
      plan.model.format.spelling.read(source, firstRow: tile.lowerBound, into: old)
      let new = rows(grouping, columns: columns, count: tile.count)
      let groups = try groupDelta(changes, place, columns: columns)
      GroupShift.apply(groups.delta, to: old, into: new)
      try plan.format.spelling.check(new, firstRow: firstRow)
      plan.format.spelling.spell(new, into: &target, firstRow: tile.lowerBound)
      let written = read(target, tensor, tile)
      try checkStored(written, place)
      let factor = GroupShift.factor(from: before.bits, to: grouping.bits)
      if factor == 1 { try checkScales(written, new, place) }
      var base: [Float] = []
      old.decodeAll(into: &base)
      written.decodeAll(into: &values)
      measurement?.add(
        values, base: base,
        delta: GroupShift.spread(groups.delta, columnsPerGroup: groups.size))
      measurement?.add(codes: written.codes, base: old.codes, factor: UInt8(factor))
    }
  }

  /// Changes the biases where they are, and nothing else.
  private func shiftBiases(
    _ tensor: Int, _ cut: Cut, _ units: Range<Int>, _ grouping: Grouping,
    _ place: (field: ParameterField, isAlone: Bool), _ target: inout [[UInt8]]
  ) throws(ModelError) {
    let (field, isAlone) = place
    let columns = cut.elementsPerUnit
    let groupCount = columns / grouping.groupSize
    let groups = try groupDelta(plan.tensors[tensor].changes, units, columns: columns)
    let delta = GroupShift.spread(groups.delta, columnsPerGroup: groups.size / grouping.groupSize)
    let format = FloatFormat(grouping.parameters)
    let old = field.read(source[field.part], format)
    // What is only carried changes places with the buffers to be filled next, unless it was never
    // read.
    for part in target.indices where part != field.part || isAlone {
      swap(&target[part], &source[part])
    }
    if !isAlone { Self.copy(source[field.part], to: &target[field.part]) }
    var new = old
    GroupShift.add(delta, to: &new)
    field.write(new, format, to: &target[field.part])
    let written = field.read(target[field.part], format)
    try checkStored(
      written, "a bias", grouping.parameters, first: units.lowerBound * groupCount,
      columns: groupCount)
    measurement?.add(written, base: old, delta: delta, times: grouping.groupSize)
    let isSame =
      isAlone || field.bytes(format).isSameAround(source[field.part], target[field.part])
    measurement?.add(
      codeCount: units.count * columns, changed: isSame ? 0 : units.count * columns)
  }

  private static func copy(_ bytes: [UInt8], to target: inout [UInt8]) {
    precondition(bytes.count <= target.count, "the bytes fit")
    // In bounds by the precondition.
    unsafe bytes.withUnsafeBytes { bytes in
      unsafe target.withUnsafeMutableBytes { unsafe $0.copyMemory(from: bytes) }
    }
  }

  /// What is added to every weight of a group, for the groups of the first of some pooled changes.
  ///
  /// Throws what reading adapters throws, and `malformed` for numbers that are not finite.
  private func groupDelta(
    _ changes: [PairedChange], _ rows: Range<Int>, columns: Int
  ) throws(ModelError) -> (delta: [Float], size: Int) {
    // Adapters with groups of different sizes meet in what divides them all.
    let divisor = changes.compactMap(\.groupSize).reduce(0, Self.commonDivisor)
    let size = divisor == 0 ? columns : divisor
    var total = [Float](repeating: 0, count: rows.count * (columns / size))
    for change in changes {
      guard let product = change.lowRank, let own = change.groupSize else { continue }
      var delta = [Float](repeating: 0, count: rows.count * product.right.lineCount)
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

  // MARK: - What was written

  /// The rows that a tile of the target holds now, as a reader would find them.
  private func read(_ target: [[UInt8]], _ tensor: Int, _ tile: Range<Int>) -> GroupedRows {
    let info = plan.tensors[tensor].target
    guard case .grouped(let grouping) = info.encoding else { preconditionFailure("not grouped") }
    let spelling = plan.format.spelling
    let rows = GroupedRows(
      grouping: spelling.stored(grouping), columnCount: info.shape.columnCount,
      rowCount: tile.count)
    spelling.read(target, firstRow: tile.lowerBound, into: rows)
    return rows
  }

  private func checkFinite(_ values: [Float], _ change: PairedChange) throws(ModelError) {
    guard let index = Self.nonFinite(values) else { return }
    let file = plan.adapters[change.adapter].file
    throw ModelError(
      .malformed, "a number is not finite with the adapter", file: file.adapter.path,
      tensor: change.tensors(of: file.adapter).joined(separator: ", "),
      expected: "finite numbers", found: "\(values[index])",
      hint: "the adapter or the base is damaged: pleat inspect --stats shows which")
  }

  private func checkStored(_ rows: GroupedRows, _ place: Range<Int>) throws(ModelError) {
    try checkStored(
      rows.biases, "a bias", rows.grouping.parameters,
      first: place.lowerBound * rows.groupCount, columns: rows.groupCount)
  }

  /// Throws `unsupported` for a number that became infinite in the type it is stored in; those of the
  /// base were looked at before.
  private func checkStored(
    _ written: [Float], _ what: String, _ type: ScalarType, first: Int, columns: Int
  ) throws(ModelError) {
    guard let index = Self.nonFinite(written) else { return }
    let place = place(first + index, columns)
    throw ModelError(
      .unsupported, "\(what) does not fit \(type.name) with the adapter",
      expected: "a finite number", found: "\(written[index]) in \(place)",
      hint: type == .f32 || plan.format == .gguf ? nil : "F32 holds it: --bias-type F32 for groups")
  }

  /// Half the smallest number of F16: what a scale below its normal numbers may lose.
  ///
  /// MLX gives groups of equal weights a scale of 1e-7, in which no weight notices.
  static let smallestHalfStep: Float = 0x1p-25

  /// Throws `unsupported` when another type of scales does not hold those of the base exactly.
  private func checkScales(
    _ written: GroupedRows, _ wanted: GroupedRows, _ place: Range<Int>
  ) throws(ModelError) {
    let ratio = wanted.grouping.groupSize / written.grouping.groupSize
    guard
      let index = written.scales.indices.first(where: {
        (written.scales[$0] - wanted.scales[$0 / ratio]).magnitude > Self.smallestHalfStep
      })
    else { return }
    let row = place.lowerBound + index / written.groupCount
    throw ModelError(
      .unsupported, "a scale does not fit \(written.grouping.parameters.name) exactly",
      expected: "\(wanted.scales[index / ratio])",
      found: "\(written.scales[index]) in row \(row), group \(index % written.groupCount)",
      hint: plan.adapters.isEmpty
        ? "--dtype F16 decodes the weights" : "use --bias-type F32, where the format holds it")
  }
}

extension GroupedRows {
  /// The decoded numbers, whatever the length of `values` was.
  fileprivate func decodeAll(into values: inout [Float]) {
    if values.count != codes.count { values = Array(repeating: 0, count: codes.count) }
    decode(into: &values)
  }
}
