internal import Adapters
internal import Bytes
internal import Formats
internal import Kernels
public import TensorModel
internal import Weights

/// The difference of the weights of one tensor from those of a reference.
public struct Comparison: Sendable, Hashable {
  /// The name of the tensor; with the index of the matrix if it is a stack.
  public var name: String
  /// The encoding of the tensor in the model.
  public var encoding: Encoding
  /// ‖w − reference‖ / ‖reference‖: the relative root-mean-square error.
  public var relativeError: Double
  /// The largest absolute difference of a weight.
  public var largestError: Double
  /// The check of a fold, weight by weight; nil if the tensor was compared without one.
  public var fold: FoldComparison?

  /// The signal-to-noise ratio in decibels; infinite without an error.
  public var decibels: Double { Platform.decibels(ofNoise: relativeError) }

  /// Compares two tensors of the same shape, one run of rows at a time.
  ///
  /// Compares bytes if Pleat does not decode the encoding. Throws what reading throws, and
  /// `mismatch` if these bytes differ.
  init(
    of index: Int, in model: Model, with other: Counterparts.Counterpart, in reference: Model,
    _ progress: (Int) throws(ModelError) -> Void
  ) throws(ModelError) {
    let info = model.catalog.tensors[index]
    let expected = reference.catalog.tensors[other.index]
    name = other.name(info)
    encoding = info.encoding
    let (left, right) = (WeightReader(model: model), WeightReader(model: reference))
    guard let source = left.tensor(index), let target = right.tensor(other.index) else {
      (relativeError, largestError) = (0, 0)
      guard info.encoding == expected.encoding,
        try Self.hasSameBytes(index, in: model, other.index, in: reference)
      else {
        throw ModelError(
          .mismatch, "Pleat cannot decode the tensors, and their bytes differ", file: model.path,
          tensor: info.name)
      }
      return
    }
    var total = ErrorStatistics()
    let isVector = expected.shape.rank < 2
    let headSize = isVector ? 1 : other.placement?.rowOrder?.headSize ?? 1
    for pair in RowPair.all(of: expected.shape, with: other, info.shape) {
      for rows in WeightReader.runs(of: [target, source], in: pair.own, multiple: headSize) {
        let values = try left.values(of: source, rows: pair.others(rows))
        let expected = other.translated(
          try right.values(of: target, rows: rows),
          columnCount: isVector ? 1 : expected.shape.columnCount, info.encoding)
        total.merge(ErrorStatistics(of: values.span, from: expected.span))
        try progress(values.count)
      }
    }
    largestError = Double(total.maximumError)
    relativeError = total.relativeError
  }

  /// Compares a tensor with one of the reference to which changes are applied first.
  ///
  /// Throws what reading throws, and `mismatch` if Pleat does not decode an encoding.
  init(
    of index: Int, with other: Counterparts.Counterpart, _ changes: [PairedChange],
    _ comparer: FoldComparer, _ progress: (Int) throws(ModelError) -> Void
  ) throws(ModelError) {
    let info = comparer.model.catalog.tensors[index]
    name = other.name(info)
    encoding = info.encoding
    var total = ErrorStatistics()
    fold = try comparer.compare(index, with: other, changes, &total, progress)
    largestError = Double(total.maximumError)
    relativeError = total.relativeError
  }

  private static func hasSameBytes(
    _ index: Int, in model: Model, _ other: Int, in reference: Model
  ) throws(ModelError) -> Bool {
    let byteCount = model.parts(of: index)[0].byteCount
    guard byteCount == reference.parts(of: other)[0].byteCount else { return false }
    for start in stride(from: 0, to: byteCount, by: 1 << 20) {
      let count = min(1 << 20, byteCount - start)
      let left = try model.bytes(of: index, at: start, count: count)
      guard try left == reference.bytes(of: other, at: start, count: count) else { return false }
    }
    return true
  }
}

extension ErrorStatistics {
  /// The relative root-mean-square error.
  fileprivate var relativeError: Double {
    sumOfSquaredErrors == 0 ? 0 : (sumOfSquaredErrors / sumOfSquares).squareRoot()
  }
}

extension Model {
  fileprivate func bytes(
    of tensor: Int, at offset: Int, count: Int
  ) throws(ModelError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    try bytes.change(0..<count) { (bytes) throws(ModelError) in
      try readPart(tensor, 0, at: offset, into: &bytes)
    }
    return bytes
  }
}
