internal import Adapters
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
  /// The largest relative error that is accepted; nil accepts every one, but see `accepts`.
  public var tolerance: Double?
  /// Whether the reference needed adapters.
  public private(set) var needsAdapters = false

  /// Whether every check holds.
  public var holds: Bool { faults.isEmpty && mismatches.isEmpty && isFaithful }

  /// Whether all tensors are accepted.
  public var isFaithful: Bool { (comparisons ?? []).allSatisfy(accepts) }

  /// Whether a tensor is no further from the reference than the tolerance, and its error finite.
  ///
  /// Without a tolerance, a tensor that adapters change has to be proven weight by weight, and the
  /// others beside it have to be those of the reference.
  public func accepts(_ comparison: Comparison) -> Bool {
    guard comparison.relativeError.isFinite else { return false }
    if let tolerance { return comparison.relativeError <= tolerance }
    guard needsAdapters else { return true }
    return comparison.fold?.isProven ?? (comparison.relativeError == 0)
  }

  /// What survived of the adapters that the reference needs; nil when it needs none.
  public var fold: FoldMeasurement? {
    let folds = (comparisons ?? []).compactMap(\.fold)
    guard !folds.isEmpty else { return nil }
    return folds.reduce(into: FoldMeasurement()) { $0.merge($1.measurement) }
  }

  /// Checks a model.
  ///
  /// Its structure was checked when it was opened.
  ///
  /// - Parameters:
  ///   - model: The model to check.
  ///   - reference: What it was made from.
  ///   - adapters: What was folded into the reference to make it.
  ///   - tolerance: The largest relative error to accept, for each tensor.
  ///   - progress: Called with bytes that were read since the last call; may throw to stop.
  /// - Throws: What reading throws; damage that checksums tell is not thrown but reported.
  public init(
    of model: Model, against reference: Model? = nil, adapters: [AdapterUse] = [],
    tolerance: Double? = nil,
    progress: (Int) throws(ModelError) -> Void = { (_) throws(ModelError) in }
  ) throws(ModelError) {
    self.tolerance = tolerance
    needsAdapters = !adapters.isEmpty
    let integrity = try model.reader.checkIntegrity(progress)
    checksumCount = integrity.checkedCount
    faults = integrity.faults
    // What is damaged would be compared for nothing, and may not even decompress.
    guard let reference, faults.isEmpty else { return }
    try compare(model, reference, adapters, progress)
  }

  private mutating func compare(
    _ model: Model, _ reference: Model, _ adapters: [AdapterUse],
    _ progress: (Int) throws(ModelError) -> Void
  ) throws(ModelError) {
    let changes = adapters.isEmpty ? [:] : try reference.changes(by: adapters)
    let comparer = FoldComparer(
      model: model, reference: reference, updates: UpdateReader(adapters.map(\.numbers)))
    var counterparts = try Counterparts(of: model, in: reference)
    guard !needsAdapters || !counterparts.areTranslated else {
      throw ModelError(
        .usage, "what adapters add is compared under equal names only",
        expected: "a model and a reference that both have names of Hugging Face, or of llama.cpp",
        hint: "fold the base in its own format, verify that, and convert it")
    }
    var found: [Comparison] = []
    for (index, tensor) in model.catalog.tensors.enumerated() {
      guard let others = counterparts.take(tensor.name) else {
        mismatches.append(
          ModelError(
            .mismatch, "the reference has no such tensor", file: reference.path,
            tensor: tensor.name))
        continue
      }
      for other in others {
        let expected = reference.catalog.tensors[other.index]
        guard tensor.shape == other.shape(of: expected.shape) else {
          mismatches.append(
            ModelError(
              .mismatch, "the shapes differ", file: model.path, tensor: tensor.name,
              expected: "\(other.shape(of: expected.shape))", found: "\(tensor.shape)"))
          continue
        }
        do throws(ModelError) {
          // Beside what adapters change, a fold may have given numbers another type.
          let isOther = needsAdapters && tensor.encoding != expected.encoding
          if let changes = changes[other.index] ?? (isOther ? [] : nil) {
            found.append(try Comparison(of: index, with: other.index, changes, comparer, progress))
          } else {
            found.append(try Comparison(of: index, in: model, with: other, in: reference, progress))
          }
        } catch  where error.kind == .mismatch {
          mismatches.append(error)
        }
      }
    }
    for name in counterparts.names {
      mismatches.append(
        ModelError(.mismatch, "the model lacks a tensor", file: model.path, tensor: name))
    }
    // What is not accepted comes first, whatever its error.
    comparisons = found.sorted { left, right in
      let (first, second) = (accepts(left), accepts(right))
      if first != second { return second }
      return (right.relativeError, left.name) < (left.relativeError, right.name)
    }
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
  /// How the tensor holds what adapters add; nil where they add nothing.
  public var fold: FoldComparison?

  /// The signal-to-noise ratio in decibels: infinite without an error.
  public var decibels: Double { Platform.decibels(ofNoise: relativeError) }

  /// Compares two tensors of the same shape, run by run.
  ///
  /// Throws what reading throws.
  init(
    of index: Int, in model: Model, with other: Counterparts.Counterpart, in reference: Model,
    _ progress: (Int) throws(ModelError) -> Void
  ) throws(ModelError) {
    let info = model.catalog.tensors[index]
    let expected = reference.catalog.tensors[other.index]
    name = other.placement?.stack.map { "\(info.name)[\($0.index)]" } ?? info.name
    encoding = info.encoding
    let (left, right) = (WeightReader(model: model), WeightReader(model: reference))
    guard let source = left.tensor(index), let target = right.tensor(other.index) else {
      (relativeError, largestError) = (0, 0)
      guard info.encoding == expected.encoding,
        try Self.hasSameBytes(index, in: model, other.index, in: reference)
      else {
        throw ModelError(
          .mismatch, "the tensors are not numbers that Pleat reads, and their bytes differ",
          file: model.path, tensor: info.name)
      }
      return
    }
    var total = ErrorStatistics()
    let isVector = expected.shape.rank < 2
    let firstRow = other.firstRow(of: expected.shape)
    let headSize = isVector ? 1 : other.placement?.rowOrder?.headSize ?? 1
    for rows in WeightReader.runs(of: [target, source], multiple: headSize) {
      let place = firstRow + rows.lowerBound..<firstRow + rows.upperBound
      let values = try left.values(of: source, rows: place)
      let expected = other.moved(
        try right.values(of: target, rows: rows),
        columnCount: isVector ? 1 : expected.shape.columnCount)
      total.merge(ErrorStatistics(of: values.span, from: expected.span))
      try progress(values.count)
    }
    largestError = Double(total.maximumError)
    relativeError = total.relativeError
  }

  /// Compares a tensor with one of the reference that adapters change.
  ///
  /// Throws what reading throws.
  init(
    of index: Int, with other: Int, _ changes: [PairedChange], _ comparer: FoldComparer,
    _ progress: (Int) throws(ModelError) -> Void
  ) throws(ModelError) {
    let info = comparer.model.catalog.tensors[index]
    name = info.name
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
      try reader.read(gathered[tensor].parts[0], at: offset, into: &bytes)
    }
    return bytes
  }
}
