internal import Bytes
internal import Formats
internal import Kernels
internal import Quantization
internal import TensorModel

/// Turns blocks of tensors into their new form; each thread has one, and its buffers.
final class BlockWorker {
  private let plan: Plan
  private var source: [[UInt8]] = []
  private var values: [Float] = []
  private var rows: GroupedRows?

  init(_ plan: Plan) { self.plan = plan }

  /// Reads block `block` of a tensor and gives what is to be written.
  ///
  /// Throws what reading throws, and `malformed` or `unsupported` for values that cannot be encoded.
  func process(_ tensor: Int, block: Int) throws(ModelError) -> [PartBlock] {
    let cut = plan.blocks[tensor]
    let units = cut.units(of: block)
    source = try plan.model.read(tensor, cut, units: units)
    var target = cut.target.map { [UInt8](repeating: 0, count: units.count * $0) }
    do throws(ModelError) {
      switch plan.tensors[tensor].action {
      case .copy: swap(&target, &source)
      case .quantize(let grouping, let scheme):
        try quantize(tensor, cut, units, grouping, try Schemes.named(scheme), &target)
      case .decode(let type): try decode(tensor, cut, units, type, &target[0])
      case .respell: respell(tensor, cut, units, &target)
      }
    } catch {
      throw error.located(file: plan.model.path, tensor: plan.tensors[tensor].source.name)
    }
    let first = plan.firstParts[tensor]
    return target.enumerated().map { part, bytes in
      PartBlock(stored: first + part, offset: units.lowerBound * cut.target[part], bytes: bytes)
    }
  }

  private func quantize(
    _ tensor: Int, _ cut: Cut, _ units: Range<Int>, _ grouping: Grouping,
    _ scheme: any GroupScheme.Type, _ target: inout [[UInt8]]
  ) throws(ModelError) {
    for tile in tiles(cut, units.count) {
      plan.model.decode(tensor, cut, source, units: tile, into: &values)
      let rows = rows(grouping, columns: cut.elementsPerUnit, count: tile.count)
      do throws(GroupFault) { try scheme.encode(values, into: rows) } catch {
        throw explain(error, cut, grouping, firstRow: units.lowerBound + tile.lowerBound)
      }
      plan.format.spelling.spell(rows, into: &target, firstRow: tile.lowerBound)
    }
  }

  private func decode(
    _ tensor: Int, _ cut: Cut, _ units: Range<Int>, _ type: ScalarType, _ target: inout [UInt8]
  ) throws(ModelError) {
    for tile in tiles(cut, units.count) {
      plan.model.decode(tensor, cut, source, units: tile, into: &values)
      if type == .f16 { try checkRange(units.lowerBound + tile.lowerBound) }
      let bytes = tile.lowerBound * cut.target[0]..<tile.upperBound * cut.target[0]
      let values = values
      target.change(bytes) { FloatFormat(type).encode(values.span, into: &$0) }
    }
  }

  private func respell(
    _ tensor: Int, _ cut: Cut, _ units: Range<Int>, _ target: inout [[UInt8]]
  ) {
    guard case .grouped(let grouping) = plan.tensors[tensor].source.encoding else { return }
    for tile in tiles(cut, units.count) {
      let rows = rows(grouping, columns: cut.elementsPerUnit, count: tile.count)
      plan.model.format.spelling.read(source, firstRow: tile.lowerBound, into: rows)
      plan.format.spelling.spell(rows, into: &target, firstRow: tile.lowerBound)
    }
  }

  private func tiles(_ cut: Cut, _ count: Int) -> [Range<Int>] {
    stride(from: 0, to: count, by: cut.unitsPerTile).map {
      $0..<min(count, $0 + cut.unitsPerTile)
    }
  }

  private func rows(_ grouping: Grouping, columns: Int, count: Int) -> GroupedRows {
    if let rows, rows.grouping == grouping, rows.columnCount == columns, rows.rowCount == count {
      return rows
    }
    let rows = GroupedRows(grouping: grouping, columnCount: columns, rowCount: count)
    self.rows = rows
    return rows
  }

  // MARK: - Values that cannot be encoded

  private func explain(
    _ fault: GroupFault, _ cut: Cut, _ grouping: Grouping, firstRow: Int
  ) -> ModelError {
    let first = fault.group * grouping.groupSize
    let group = values[first..<first + grouping.groupSize]
    switch fault.kind {
    case .nonFiniteValue:
      let index = group.firstIndex { !$0.isFinite } ?? first
      let (row, column) = (firstRow + index / cut.elementsPerUnit, index % cut.elementsPerUnit)
      return ModelError(
        .malformed, "a weight is not finite", expected: "a finite number",
        found: "\(values[index]) in row \(row), column \(column)",
        hint: "the checkpoint is damaged; a rule 'name=keep' copies the tensor as it is")
    case .parameterOverflow:
      let row = firstRow + first / cut.elementsPerUnit
      return ModelError(
        .unsupported, "a group's range does not fit \(grouping.parameters.name)",
        found:
          "\(group.min() ?? 0)…\(group.max() ?? 0) in row \(row), column \(first % cut.elementsPerUnit)",
        hint: "use --parameters BF16 or F32")
    }
  }

  private func checkRange(_ firstUnit: Int) throws(ModelError) {
    let values = values
    let statistics = ValueStatistics(values.span)
    // The smallest number that rounds to infinity in F16.
    guard max(-statistics.minimum, statistics.maximum) >= 65520 else { return }
    throw ModelError(
      .unsupported, "a weight does not fit F16", expected: "a magnitude below 65520",
      found: "\(max(-statistics.minimum, statistics.maximum))", hint: "use --dtype BF16 or F32")
  }
}
