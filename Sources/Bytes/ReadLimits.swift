/// The largest sizes and counts that a file may have before it is refused.
public struct ReadLimits: Sendable {
  /// The largest safetensors or pleat header, in bytes.
  public var headerByteCount = 100_000_000
  /// The largest number of tensors in a model.
  public var tensorCount = 2_000_000
  /// The largest number of metadata entries.
  public var metadataCount = 1_000_000
  /// The largest metadata string or array, in bytes.
  public var metadataByteCount = 1 << 30
  /// The largest number of shards of a model.
  public var shardCount = 10_000
  /// The largest total of all companion files of a pleat file, in bytes.
  public var companionByteCount = 1 << 30
  /// The largest compressed block, in bytes after decompression.
  public var blockByteCount = 1 << 28
  /// The largest number of levels of nested JSON.
  public var nesting = 64
  /// The largest number of columns of a matrix; one worker holds a whole row in memory.
  public var columnCount = 1 << 26

  /// Creates the limits that the command uses.
  public init() {}
}
