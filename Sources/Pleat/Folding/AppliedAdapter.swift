public import Adapters
internal import Bytes
public import TensorModel
internal import Weights

/// An adapter together with how it is applied.
public struct AppliedAdapter: Sendable {
  /// The adapter.
  public var file: AdapterFile
  /// The factor of the adapter's own scale; −1 undoes a fold.
  public var scale: Double
  /// How inputs were pooled; needed only if the adapter does not state it.
  public var pooling: Pooling?

  /// Creates an applied adapter, by default at its own scale.
  public init(_ file: AdapterFile, scale: Double = 1, pooling: Pooling? = nil) {
    self.file = file
    self.scale = scale
    self.pooling = pooling
  }

  /// The tensors and access to their numbers, for an `UpdateReader`.
  var numbers: (tensors: [TensorInfo], numbers: any AdapterNumbers) {
    (file.adapter.tensors, file)
  }

  /// The entry of the adapter in a history.
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

/// The user's options for folds that are not exact.
public struct FoldOptions: Sendable, Hashable {
  /// Whether weights may be decoded, changed and quantized again.
  public var requantizes = false
  /// Whether all quantized weights become plain numbers of the type of their scales.
  public var dequantizes = false
  /// Whether zero points and minima may be rounded to integers, and scales and biases to a type of
  /// the format.
  public var rounds = false
  /// The code width for changed weights with zero points; nil to keep it.
  ///
  /// Wider codes make the steps of the zero points finer.
  public var widenedBits: Int?
  /// The type of scales and biases of the changed weights; nil to keep it.
  public var biasType: ScalarType?

  /// Creates options that permit only exact folds.
  public init() {}
}
