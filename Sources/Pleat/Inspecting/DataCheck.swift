internal import Kernels
public import TensorModel
public import Weights

/// What reading all data of a model finds: checksums that do not match, and numbers that are not
/// finite.
///
/// Headers, sizes and offsets were checked when the model was opened.
public struct DataCheck: Sendable {
  /// How many checksums the files state and were compared; 0 if they state none.
  public var checksumCount = 0
  /// What is damaged: checksums that do not match, and tensors that cannot be read.
  public var faults: [ModelError] = []
  /// How many tensors were decoded.
  public var tensorCount = 0
  /// How many numbers they hold.
  public var elementCount = 0
  /// The tensors with numbers that are not finite.
  public var nonFinite: [NonFiniteTensor] = []
  /// The names of the tensors that Pleat does not decode; only their checksums were compared.
  public var undecoded: [String] = []

  /// A tensor with numbers that are not finite.
  public struct NonFiniteTensor: Sendable, Hashable {
    /// The name.
    public var name: String
    /// How many numbers are NaN.
    public var nanCount: Int
    /// How many are infinite.
    public var infinityCount: Int
    /// The row of the first of them.
    public var row: Int
    /// The column of the first of them.
    public var column: Int
  }

  /// Whether every check passed.
  public var holds: Bool { faults.isEmpty && nonFinite.isEmpty }

  /// Reads and checks all data of a model.
  ///
  /// - Parameters:
  ///   - model: The model.
  ///   - progress: Called while data is read; may throw to stop.
  /// - Throws: `io`, and what `progress` throws; damage is reported instead.
  public init(
    of model: Model,
    progress: (Int) throws(ModelError) -> Void = { (_) throws(ModelError) in }
  ) throws(ModelError) {
    let integrity = try model.reader.checkIntegrity(progress)
    checksumCount = integrity.checkedCount
    faults = integrity.faults
    // Damaged parts may not even decompress.
    guard faults.isEmpty else { return }
    let reader = WeightReader(model: model)
    for (index, info) in model.catalog.tensors.enumerated() {
      guard let tensor = reader.tensor(index) else {
        undecoded.append(info.name)
        continue
      }
      do throws(ModelError) {
        try check(tensor, info, reader, progress)
      } catch  where error.kind == .malformed {
        faults.append(error.located(file: model.path, tensor: info.name))
      }
    }
  }

  private mutating func check(
    _ tensor: WeightReader.Tensor, _ info: TensorInfo, _ reader: WeightReader,
    _ progress: (Int) throws(ModelError) -> Void
  ) throws(ModelError) {
    var found = NonFiniteNumbers()
    for run in 0..<tensor.runCount {
      found.merge(try reader.nonFinite(of: tensor, run: run))
      try progress(info.shape.elementCount / tensor.runCount)
    }
    tensorCount += 1
    elementCount += info.shape.elementCount
    guard let first = found.firstIndex else { return }
    let columns = max(1, info.shape.columnCount)
    nonFinite.append(
      NonFiniteTensor(
        name: info.name, nanCount: found.nanCount, infinityCount: found.infinityCount,
        row: first / columns, column: first % columns))
  }
}
