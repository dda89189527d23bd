internal import Adapters
internal import Bytes
internal import Formats
internal import Kernels
public import TensorModel
public import Weights

/// The check of a model's checksums, and its comparison with a reference.
public struct Verification: Sendable {
  /// The number of checksums that were compared; 0 if the file carries none.
  public var checksumCount = 0
  /// The damage that was found.
  public var faults: [ModelError] = []
  /// How each tensor compares with the reference; nil without a reference.
  ///
  /// Tensors that are not accepted come first, then those with the largest error.
  public var comparisons: [Comparison]?
  /// Tensors that one side lacks, that have another shape, or that cannot be compared and differ.
  public var mismatches: [ModelError] = []
  /// The largest relative error that is accepted; for nil see `accepts`.
  public var tolerance: Double?
  /// What was compared because embeddings serve as a head.
  public private(set) var notes: [String] = []
  /// Whether adapters are added to the reference before the comparison.
  public private(set) var needsAdapters = false

  /// Whether every check holds.
  public var holds: Bool { faults.isEmpty && mismatches.isEmpty && isFaithful }

  /// Whether all tensors are accepted.
  public var isFaithful: Bool { (comparisons ?? []).allSatisfy(accepts) }

  /// Whether the error of a tensor is finite and not above the tolerance.
  ///
  /// Without a tolerance, every finite error is accepted. But with adapters, each tensor that they
  /// change must be proven weight by weight, and all others must equal those of the reference.
  public func accepts(_ comparison: Comparison) -> Bool {
    guard comparison.relativeError.isFinite else { return false }
    if let tolerance { return comparison.relativeError <= tolerance }
    guard needsAdapters else { return true }
    return comparison.fold?.isProven ?? (comparison.relativeError == 0)
  }

  /// How exactly adapters are folded in, over all tensors; nil if no adapter changes a tensor.
  public var fold: FoldMeasurement? {
    let folds = (comparisons ?? []).compactMap(\.fold)
    guard !folds.isEmpty else { return nil }
    return folds.reduce(into: FoldMeasurement()) { $0.merge($1.measurement) }
  }

  /// Checks a model.
  ///
  /// Opening a model checks its structure, so that is not checked again.
  ///
  /// - Parameters:
  ///   - model: The model to check.
  ///   - reference: The model to compare the weights with; nil for none.
  ///   - adapters: The adapters that are added to the reference before the comparison.
  ///   - tolerance: The largest accepted relative error of a tensor.
  ///   - progress: Called repeatedly with the amount that was read since the last call: bytes while
  ///     checksums are compared, then weights. It may throw to stop.
  /// - Throws: What reading throws. Checksums that do not match are not thrown but reported.
  public init(
    of model: Model, against reference: Model? = nil, adapters: [AppliedAdapter] = [],
    tolerance: Double? = nil,
    progress: (Int) throws(ModelError) -> Void = { (_) throws(ModelError) in }
  ) throws(ModelError) {
    self.tolerance = tolerance
    needsAdapters = !adapters.isEmpty
    let integrity = try model.reader.checkIntegrity(progress)
    checksumCount = integrity.checkedCount
    faults = integrity.faults
    // Comparing damaged weights is useless, and they may not even decompress.
    guard let reference, faults.isEmpty else { return }
    try compare(model, reference, adapters, progress)
  }

  private mutating func compare(
    _ model: Model, _ reference: Model, _ adapters: [AppliedAdapter],
    _ progress: (Int) throws(ModelError) -> Void
  ) throws(ModelError) {
    if needsAdapters {
      try model.requireNumbers()
      try reference.requireNumbers()
    }
    var changes = adapters.isEmpty ? [:] : try reference.changes(by: adapters)
    if let tie = try EmbeddingTie(reference) {
      let head = try reference.headChanges(tie, changes, adapters)
      changes[tie.head ?? reference.unstoredHeadIndex] = head.isEmpty ? nil : head
    }
    let comparer = FoldComparer(
      model: model, reference: reference, updates: UpdateReader(adapters.map(\.numbers)))
    var counterparts = try Counterparts(of: model, in: reference)
    notes = counterparts.notes
    guard !needsAdapters || !counterparts.areTranslated else {
      throw ModelError(
        .usage, "--adapter needs a model and a reference with the same kind of tensor names",
        expected: "Hugging Face names in both, or llama.cpp names in both",
        hint: "fold the base model in its own format, verify the result, then convert it")
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
        let grown = changes[other.changeIndex ?? other.index]?.compactMap(\.grownRowCount).max()
        let wanted = grown.map { Shape($0, expected.shape.columnCount) }
        guard tensor.shape == wanted ?? other.shape(of: expected.shape) else {
          mismatches.append(
            ModelError(
              .mismatch, "the shapes differ", file: model.path, tensor: tensor.name,
              expected: "\(other.shape(of: expected.shape))", found: "\(tensor.shape)"))
          continue
        }
        do throws(ModelError) {
          // A fold may also store unchanged tensors in another type. Their check is the same.
          let isRetyped = needsAdapters && tensor.encoding != expected.encoding
          let own = changes[other.changeIndex ?? other.index]
          // The embeddings as a head were compared already, if no adapter changes the head.
          if own == nil, other.changeIndex != nil, others.count > 1 { continue }
          if let changes = own ?? (isRetyped ? [] : nil) {
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
        ModelError(
          .mismatch, "the model lacks a tensor of the reference", file: model.path, tensor: name))
    }
    // Packed words can be equal, but how far they differ says nothing about weights.
    if let fault = model.packedFault ?? reference.packedFault,
      !mismatches.isEmpty || found.contains(where: { $0.relativeError != 0 })
    {
      throw fault
    }
    // Tensors that are not accepted come first, whatever their error.
    comparisons = found.sorted { left, right in
      let (first, second) = (accepts(left), accepts(right))
      if first != second { return second }
      return (right.relativeError, left.name) < (left.relativeError, right.name)
    }
  }
}

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
    name = other.placement?.stack.map { "\(info.name)[\($0.index)]" } ?? info.name
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
    let firstRow = other.firstRow(of: expected.shape)
    let headSize = isVector ? 1 : other.placement?.rowOrder?.headSize ?? 1
    for rows in WeightReader.runs(of: [target, source], multiple: headSize) {
      let modelRows = firstRow + rows.lowerBound..<firstRow + rows.upperBound
      let values = try left.values(of: source, rows: modelRows)
      let expected = other.translated(
        try right.values(of: target, rows: rows),
        columnCount: isVector ? 1 : expected.shape.columnCount)
      total.merge(ErrorStatistics(of: values.span, from: expected.span))
      try progress(values.count)
    }
    largestError = Double(total.maximumError)
    relativeError = total.relativeError
  }

  /// Compares a tensor with one of the reference to which changes are applied first.
  ///
  /// Throws what reading throws, and `mismatch` if Pleat does not decode an encoding.
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
