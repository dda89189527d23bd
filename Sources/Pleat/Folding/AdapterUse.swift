public import Adapters
internal import Bytes
public import TensorModel

/// An adapter and how it is to be used.
public struct AdapterUse: Sendable {
  /// The adapter.
  public var file: AdapterFile
  /// Multiplies the adapter's own alpha / rank; −1 takes a fold back.
  public var scale: Double
  /// How inputs were pooled, where the adapter does not tell.
  public var pooling: Pooling?

  /// An adapter at its own strength.
  public init(_ file: AdapterFile, scale: Double = 1, pooling: Pooling? = nil) {
    self.file = file
    self.scale = scale
    self.pooling = pooling
  }

  /// The tensors and their numbers, for workers.
  var numbers: (tensors: [TensorInfo], numbers: any AdapterNumbers) {
    (file.adapter.tensors, file)
  }

  /// What a history says of it.
  var record: JSONValue {
    var members: [JSONValue.Member] = [
      .init("name", .string(file.name)), .init("crc32c", .string(file.checksum)),
      .init("scale", .number(scale)),
    ]
    if let pooling = file.adapter.pooling ?? pooling {
      members.append(.init("pooling", .string(pooling.rawValue)))
    }
    return .object(members)
  }
}

/// What a user permits where a fold is not exact.
public struct FoldOptions: Sendable, Hashable {
  /// Decoding, adding and rounding again, where codes have to change.
  public var requantizes = false
  /// Rounding to whole zero points.
  public var rounds = false
  /// Codes of so many bits for weights with whole zero points, which makes their steps finer.
  public var widenedBits: Int?
  /// The type of scales and biases of the weights that are folded into.
  public var biasType: ScalarType?

  /// Exact folds only.
  public init() {}
}
