/// How far a run has come.
public struct Progress: Sendable {
  /// Bytes of tensors read so far.
  public var byteCount: Int
  /// Bytes of tensors to read in all.
  public var totalByteCount: Int
  /// Tensors begun so far.
  public var tensorCount: Int
  /// Tensors in all.
  public var totalTensorCount: Int
  /// The tensor that a worker has just been at.
  public var tensor: String
}
