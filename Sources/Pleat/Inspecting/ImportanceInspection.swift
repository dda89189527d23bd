internal import Bytes
public import Formats
internal import SystemPackage
public import TensorModel

/// A summary of an importance matrix.
public struct ImportanceInspection: Sendable {
  /// The matrix.
  public let matrix: ImportanceMatrix
  /// The length of the file in bytes.
  public let byteCount: Int

  /// The distribution of the importance of the columns of a weight.
  public struct Statistics: Sendable, Hashable {
    /// The smallest importance of a column.
    public var minimum: Float
    /// The largest importance of a column.
    public var maximum: Float
    /// The mean importance.
    public var mean: Double
  }

  /// Inspects a matrix.
  ///
  /// Throws `io` if its file cannot be examined.
  public init(_ matrix: ImportanceMatrix) throws(ModelError) {
    self.matrix = matrix
    byteCount = try InputFile(FilePath(matrix.path)).byteCount
  }

  /// Whether every number is possible.
  public var isValid: Bool { matrix.faults.isEmpty }

  /// The number of entries with matrices that saw no token.
  public var partialCount: Int { matrix.entries.count { !$0.unseen.isEmpty } }

  /// The distribution of the importance in an entry.
  public func statistics(of entry: Int) -> Statistics {
    let weights = matrix.entries[entry].weights
    return Statistics(
      minimum: weights.min() ?? 0, maximum: weights.max() ?? 0,
      mean: weights.reduce(0.0) { $0 + Double($1) } / Double(weights.count))
  }
}
