internal import Bytes
internal import Formats
internal import Quantization
internal import TensorModel

/// Reads the weights of a model as floats, in runs that fit memory whatever the tensor's size.
struct WeightReader {
  let model: Model
  private static let runElementCount = 1 << 18

  /// A tensor that Pleat reads as numbers.
  struct Tensor {
    fileprivate let index: Int
    fileprivate let cut: Cut
    fileprivate let shape: Shape
    /// Rows that are not read apart.
    fileprivate var rowStep: Int { unitsPerRow == 1 ? cut.unitsPerStep : 1 }
    fileprivate var unitsPerRow: Int {
      cut.elementsPerUnit == 0 ? 0 : max(1, shape.columnCount / cut.elementsPerUnit)
    }
    /// Runs of numbers, in order.
    var runCount: Int { cut.blockCount }
  }

  /// The tensor of an index; nil when its encoding is not decoded.
  func tensor(_ index: Int) -> Tensor? {
    let info = model.catalog.tensors[index]
    guard info.isGrouped || RowDecoder(info.encoding) != nil else { return nil }
    let target = info.with(.plain(.f32))
    var cut = Cut(
      TensorPlan(source: info, target: target, action: .decode(.f32), reason: ""),
      source: model.parts(of: index), target: PlainSpelling().parts(of: target))
    if cut.elementsPerUnit > 0 {
      let wanted = Self.runElementCount / cut.elementsPerUnit
      cut.unitsPerBlock = max(1, wanted / cut.unitsPerStep) * cut.unitsPerStep
    }
    return Tensor(index: index, cut: cut, shape: info.shape)
  }

  /// Runs of whole rows that fit memory, and that all the tensors can be read by.
  ///
  /// - Parameters:
  ///   - tensors: Tensors of the same shape, perhaps of several models.
  ///   - multiple: Rows that belong together for another reason.
  /// - Returns: The runs, in order; none where there are no numbers.
  static func runs(of tensors: [Tensor], multiple: Int = 1) -> [Range<Int>] {
    guard let shape = tensors.first?.shape, shape.elementCount > 0 else { return [] }
    let step = tensors.map(\.rowStep).reduce(multiple, Cut.commonMultiple)
    let count = max(1, runElementCount / shape.columnCount / step) * step
    return stride(from: 0, to: shape.rowCount, by: count).map {
      $0..<min($0 + count, shape.rowCount)
    }
  }

  /// The numbers of some rows.
  ///
  /// Throws what reading throws.
  func values(of tensor: Tensor, rows: Range<Int>) throws(ModelError) -> [Float] {
    try values(
      of: tensor,
      units: rows.lowerBound * tensor.unitsPerRow..<rows.upperBound * tensor.unitsPerRow)
  }

  /// The numbers of some rows, and the groups that they were decoded from, if they were.
  ///
  /// Throws what reading throws.
  func grouped(
    _ tensor: Tensor, rows: Range<Int>
  ) throws(ModelError) -> (GroupedRows?, [Float]) {
    guard case .grouped(let grouping) = model.catalog.tensors[tensor.index].encoding else {
      return (nil, try values(of: tensor, rows: rows))
    }
    let units = rows
    let parts = try model.read(tensor.index, tensor.cut, units: units)
    let rows = GroupedRows(
      grouping: grouping, columnCount: tensor.cut.elementsPerUnit, rowCount: units.count)
    model.format.spelling.read(parts, firstRow: 0, into: rows)
    var values = [Float](repeating: 0, count: rows.codes.count)
    rows.decode(into: &values)
    return (rows, values)
  }

  /// The numbers of a run.
  ///
  /// Throws what reading throws.
  func values(of tensor: Tensor, run: Int) throws(ModelError) -> [Float] {
    try values(of: tensor, units: tensor.cut.units(of: run))
  }

  private func values(
    of tensor: Tensor, units: Range<Int>
  ) throws(ModelError) -> [Float] {
    let parts = try model.read(tensor.index, tensor.cut, units: units)
    var values: [Float] = []
    model.decode(tensor.index, tensor.cut, parts, units: 0..<units.count, into: &values)
    return values
  }
}
