internal import Bytes
internal import Formats
internal import Kernels
public import TensorModel

/// Whether a model is well formed, and how far it is from its source.
public struct Verification: Sendable {
  /// How many checksums the file carries and were compared; 0 when it carries none.
  public var checksumCount = 0
  /// What is damaged.
  public var faults: [ModelError] = []
  /// How each tensor compares with the reference, the worst first; nil without a reference.
  public var comparisons: [Comparison]?
  /// Tensors that one side lacks, or has with another shape, or that are not decoded.
  public var mismatches: [ModelError] = []
  /// The largest relative error that is accepted; nil accepts every one.
  public var tolerance: Double?

  /// Whether every check holds.
  public var holds: Bool { faults.isEmpty && mismatches.isEmpty && isFaithful }

  /// Whether no tensor is further from the reference than the tolerance, and all errors are finite.
  public var isFaithful: Bool {
    (comparisons ?? []).allSatisfy {
      $0.relativeError.isFinite && $0.relativeError <= tolerance ?? .infinity
    }
  }

  /// Checks a model.
  ///
  /// Its structure was checked when it was opened.
  ///
  /// - Parameters:
  ///   - model: The model to check.
  ///   - reference: What it was made from.
  ///   - tolerance: The largest relative error to accept, for each tensor.
  ///   - progress: Called with bytes that were read since the last call; may throw to stop.
  /// - Throws: What reading throws; damage that checksums tell is not thrown but reported.
  public init(
    of model: Model, against reference: Model? = nil, tolerance: Double? = nil,
    progress: (Int) throws(ModelError) -> Void = { (_) throws(ModelError) in }
  ) throws(ModelError) {
    self.tolerance = tolerance
    let integrity = try model.reader.checkIntegrity(progress)
    checksumCount = integrity.checkedCount
    faults = integrity.faults
    // What is damaged would be compared for nothing, and may not even decompress.
    guard let reference, faults.isEmpty else { return }
    try compare(model, reference, progress)
  }

  private mutating func compare(
    _ model: Model, _ reference: Model, _ progress: (Int) throws(ModelError) -> Void
  ) throws(ModelError) {
    var indices: [ExactName: Int] = [:]
    for (index, tensor) in reference.catalog.tensors.enumerated() {
      indices[ExactName(tensor.name)] = index
    }
    var found: [Comparison] = []
    for (index, tensor) in model.catalog.tensors.enumerated() {
      guard let other = indices.removeValue(forKey: ExactName(tensor.name)) else {
        mismatches.append(
          ModelError(
            .mismatch, "the reference has no such tensor", file: reference.path,
            tensor: tensor.name))
        continue
      }
      let expected = reference.catalog.tensors[other]
      guard tensor.shape == expected.shape else {
        mismatches.append(
          ModelError(
            .mismatch, "the shapes differ", file: model.path, tensor: tensor.name,
            expected: "\(expected.shape)", found: "\(tensor.shape)"))
        continue
      }
      do throws(ModelError) {
        found.append(try Comparison(of: index, in: model, with: other, in: reference, progress))
      } catch  where error.kind == .mismatch {
        mismatches.append(error)
      }
    }
    for name in indices.keys.map(\.text).sorted() {
      mismatches.append(
        ModelError(.mismatch, "the model lacks a tensor", file: model.path, tensor: name))
    }
    comparisons = found.sorted { ($1.relativeError, $0.name) < ($0.relativeError, $1.name) }
  }
}

/// How far the weights of one tensor are from those of a reference.
public struct Comparison: Sendable, Hashable {
  /// The name of the tensor.
  public var name: String
  /// The encoding that was compared with the reference.
  public var encoding: Encoding
  /// ‖w − reference‖ / ‖reference‖: the relative root-mean-square error.
  public var relativeError: Double
  /// The largest |w − reference|.
  public var largestError: Double

  /// The signal-to-noise ratio in decibels: infinite without an error.
  public var decibels: Double { Platform.decibels(ofNoise: relativeError) }

  /// Compares two tensors of the same shape, run by run.
  ///
  /// Throws what reading throws.
  init(
    of index: Int, in model: Model, with other: Int, in reference: Model,
    _ progress: (Int) throws(ModelError) -> Void
  ) throws(ModelError) {
    let info = model.catalog.tensors[index]
    name = info.name
    encoding = info.encoding
    let (left, right) = (WeightReader(model: model), WeightReader(model: reference))
    let byRows = info.isGrouped || reference.catalog.tensors[other].isGrouped
    guard let source = left.tensor(index, byRows: byRows),
      let target = right.tensor(other, byRows: byRows)
    else {
      (relativeError, largestError) = (0, 0)
      guard info.encoding == reference.catalog.tensors[other].encoding,
        try Self.hasSameBytes(index, in: model, other, in: reference)
      else {
        throw ModelError(
          .mismatch, "the tensors are not numbers that Pleat reads, and their bytes differ",
          file: model.path, tensor: info.name)
      }
      return
    }
    var total = ErrorStatistics()
    for run in 0..<source.runCount {
      let values = try left.values(of: source, run: run)
      let expected = try right.values(of: target, run: run)
      total.merge(ErrorStatistics(of: values.span, from: expected.span))
      try progress(values.count)
    }
    largestError = Double(total.maximumError)
    relativeError =
      total.sumOfSquaredErrors == 0
      ? 0 : (total.sumOfSquaredErrors / total.sumOfSquares).squareRoot()
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

extension Model {
  fileprivate func bytes(
    of tensor: Int, at offset: Int, count: Int
  ) throws(ModelError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    var span = bytes.mutableSpan
    var raw = span.mutableBytes
    try reader.read(gathered[tensor].parts[0], at: offset, into: &raw)
    return bytes
  }
}
