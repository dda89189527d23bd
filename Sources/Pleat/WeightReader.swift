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
    /// Runs of numbers, in order.
    var runCount: Int { cut.blockCount }
    /// Rows that are read together.
    var rowsPerStep: Int { cut.unitsPerStep }
    /// Numbers in a whole run.
    var elementsPerRun: Int { cut.unitsPerBlock * cut.elementsPerUnit }
  }

  /// The tensor of an index; nil when its encoding is not decoded.
  ///
  /// - Parameters:
  ///   - index: The index in the catalog.
  ///   - byRows: Whether every run is whole rows, so that runs of two encodings match.
  ///   - rowsPerStep: Rows that the other encoding reads together.
  /// - Returns: How to read it.
  func tensor(_ index: Int, byRows: Bool = false, rowsPerStep: Int = 1) -> Tensor? {
    let info = model.catalog.tensors[index]
    guard info.isGrouped || RowDecoder(info.encoding) != nil else { return nil }
    let target = info.with(.plain(.f32))
    var cut = Cut(
      TensorPlan(source: info, target: target, action: .decode(.f32), reason: ""),
      source: model.parts(of: index), target: PlainSpelling().parts(of: target))
    if cut.elementsPerUnit > 0, info.shape.columnCount > 0 {
      let rowUnits =
        (byRows ? max(1, info.shape.columnCount / cut.elementsPerUnit) : 1)
        * Cut.commonMultiple(cut.unitsPerStep, rowsPerStep)
      let wanted = Self.runElementCount / cut.elementsPerUnit
      cut.unitsPerBlock = max(1, wanted / rowUnits) * rowUnits
    }
    return Tensor(index: index, cut: cut)
  }

  /// The same tensor of two models in runs of the same rows; nil when either is not decoded.
  static func pair(
    _ index: Int, of model: Model, _ other: Int, of reference: Model, byRows: Bool = true
  ) -> (Tensor, Tensor)? {
    let (left, right) = (WeightReader(model: model), WeightReader(model: reference))
    guard let first = left.tensor(index, byRows: byRows),
      let second = right.tensor(other, byRows: byRows, rowsPerStep: first.rowsPerStep),
      let again = left.tensor(index, byRows: byRows, rowsPerStep: second.rowsPerStep)
    else { return nil }
    return (again, second)
  }

  /// The numbers of a run, and the groups that they were decoded from, if they were.
  ///
  /// Throws what reading throws.
  func rows(of tensor: Tensor, run: Int) throws(ModelError) -> (GroupedRows?, [Float]) {
    guard case .grouped(let grouping) = model.catalog.tensors[tensor.index].encoding else {
      return (nil, try values(of: tensor, run: run))
    }
    let units = tensor.cut.units(of: run)
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
    let units = tensor.cut.units(of: run)
    let parts = try model.read(tensor.index, tensor.cut, units: units)
    var values: [Float] = []
    model.decode(tensor.index, tensor.cut, parts, units: 0..<units.count, into: &values)
    return values
  }
}
