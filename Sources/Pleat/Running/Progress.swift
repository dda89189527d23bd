/// The progress of a run.
public struct Progress: Sendable {
  /// The number of tensor bytes processed so far.
  public var byteCount: Int
  /// The number of tensor bytes to process in total.
  public var totalByteCount: Int
  /// The number of tensors begun so far.
  public var tensorCount: Int
  /// The number of tensors in total.
  public var totalTensorCount: Int
  /// The tensor whose block a worker has just finished.
  public var tensor: String
}
