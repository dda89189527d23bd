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
  ///
  /// Throws `io`.
  public func statistics(of entry: Int) throws(ModelError) -> Statistics {
    let entry = matrix.entries[entry]
    var extremes: (least: Float, most: Float)?
    var total = 0.0
    try entry.forEachWeights { (weights) throws(ModelError) in
      for weight in weights {
        total += Double(weight)
        guard let found = extremes else {
          extremes = (weight, weight)
          continue
        }
        // As elsewhere, a comparison with NaN is false.
        extremes = (
          weight < found.least ? weight : found.least, weight > found.most ? weight : found.most
        )
      }
    }
    return Statistics(
      minimum: extremes?.least ?? 0, maximum: extremes?.most ?? 0,
      mean: total / Double(entry.valueCount))
  }
}
