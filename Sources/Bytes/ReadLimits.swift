/// How much a file may ask for before it is refused.
public struct ReadLimits: Sendable {
  /// Bytes of a safetensors or pleat header.
  public var headerByteCount = 100_000_000
  /// Tensors in a model.
  public var tensorCount = 2_000_000
  /// Entries of metadata.
  public var metadataCount = 1_000_000
  /// Bytes of one metadata string or array.
  public var metadataByteCount = 1 << 30
  /// Files that a model is split into.
  public var shardCount = 10_000
  /// Bytes of all companion files of a pleat file.
  public var companionByteCount = 1 << 30
  /// Bytes of a compressed block, once decompressed.
  public var blockByteCount = 1 << 28
  /// Levels of nested JSON.
  public var nesting = 64
  /// Numbers in a row of a matrix, all of which one worker holds in memory.
  public var columnCount = 1 << 26

  /// The limits that the command uses.
  public init() {}
}
