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
    /// Numbers in a whole run.
    var elementsPerRun: Int { cut.unitsPerBlock * cut.elementsPerUnit }
  }

  /// The tensor of an index; nil when its encoding is not decoded.
  ///
  /// - Parameters:
  ///   - index: The index in the catalog.
  ///   - byRows: Whether every run is whole rows, so that runs of two encodings match.
  /// - Returns: How to read it.
  func tensor(_ index: Int, byRows: Bool = false) -> Tensor? {
    let info = model.catalog.tensors[index]
    guard info.isGrouped || RowDecoder(info.encoding) != nil else { return nil }
    let target = info.with(.plain(.f32))
    var cut = Cut(
      TensorPlan(source: info, target: target, action: .decode(.f32), reason: ""),
      source: model.parts(of: index), target: PlainSpelling().parts(of: target))
    if cut.elementsPerUnit > 0, info.shape.columnCount > 0 {
      let rowUnits =
        (byRows ? max(1, info.shape.columnCount / cut.elementsPerUnit) : 1) * cut.unitsPerStep
      let wanted = Self.runElementCount / cut.elementsPerUnit
      cut.unitsPerBlock = max(1, wanted / rowUnits) * rowUnits
    }
    return Tensor(index: index, cut: cut)
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
