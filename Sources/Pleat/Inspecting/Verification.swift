internal import Adapters
internal import Architectures
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
    let reference = try reference.arranged(asIn: model)
    var changes = adapters.isEmpty ? [:] : try reference.changes(by: adapters)
    if let tie = try EmbeddingTie(reference) {
      let head = try reference.headChanges(tie, changes, adapters)
      changes[tie.head ?? reference.unstoredHeadIndex] = head.isEmpty ? nil : head
    }
    let comparer = FoldComparer(
      model: model, reference: reference, updates: UpdateReader(adapters.map(\.numbers)))
    var counterparts = try Counterparts(of: model, in: reference)
    notes = counterparts.notes
    mismatches = counterparts.mismatches
    let isTranslated = counterparts.runtime.map { $0 != .mlxLM } ?? false
    guard !needsAdapters || !isTranslated else {
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
        let own = changes[other.changeIndex ?? other.index]
        // The embeddings as a head were compared already, if no adapter changes either.
        if own == nil, changes[other.index] == nil, other.changeIndex != nil, others.count > 1 {
          continue
        }
        do throws(ModelError) {
          found.append(try compared(index, with: other, own, comparer, progress))
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
      found.contains(where: { $0.relativeError != 0 })
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

  /// Compares a tensor of the model with one of the reference, or a part of it.
  ///
  /// `changes` are those that adapters make; nil for none. Throws `mismatch` for other shapes and
  /// for bytes that cannot be compared and differ, and what reading throws.
  private func compared(
    _ index: Int, with other: Counterparts.Counterpart, _ changes: [PairedChange]?,
    _ comparer: FoldComparer, _ progress: (Int) throws(ModelError) -> Void
  ) throws(ModelError) -> Comparison {
    let (model, reference) = (comparer.model, comparer.reference)
    let tensor = model.catalog.tensors[index]
    let expected = reference.catalog.tensors[other.index]
    let shape = changes?.grownShape(of: expected.shape) ?? other.shape(of: expected.shape)
    guard tensor.shape == shape else {
      throw ModelError(
        .mismatch, "the shapes differ", file: model.path, tensor: tensor.name,
        expected: "\(shape)", found: "\(tensor.shape)")
    }
    // A fold may also store unchanged tensors in another type. Their check is the same.
    let isRetyped =
      needsAdapters && tensor.encoding != expected.encoding && other.placement?.addend ?? 0 == 0
    if let changes = changes ?? (isRetyped ? [] : nil) {
      return try Comparison(of: index, with: other, changes, comparer, progress)
    }
    return try Comparison(of: index, in: model, with: other, in: reference, progress)
  }
}
