public import Formats
public import TensorModel

/// What will happen to a tensor.
public enum Action: Sendable, Hashable {
  /// Its bytes are copied.
  case copy
  /// It is rounded to groups with the scheme named.
  case quantize(Grouping, scheme: String)
  /// It becomes plain numbers of a type.
  case decode(ScalarType)
  /// Codes, scales and biases are carried over unchanged into the target's spelling.
  case respell
}

/// The plan for one tensor.
public struct TensorPlan: Sendable, Hashable {
  /// The tensor as it is in the source.
  public var source: TensorInfo
  /// The tensor as it will be.
  public var target: TensorInfo
  /// What happens in between.
  public var action: Action
  /// Why, in a few words.
  public var reason: String
  /// Whether it was to be quantized, and is kept since no group divides its rows.
  public internal(set) var isIndivisible = false
}

/// What a run will do: a pure value, printable, made without reading a weight.
public struct Plan: Sendable {
  /// The model that is read.
  public let model: Model
  /// The format that is written.
  public let format: Format
  /// One entry for each tensor, in the order of the source.
  public let tensors: [TensorPlan]
  /// What a user should know before it happens.
  public let notes: [String]
  /// The length of all files to be written; an upper bound unless `isExact`.
  public let byteCount: Int
  /// Whether `byteCount` is exact.
  public let isExact: Bool
  /// The files to be written, relative to the folder they will be in.
  public let fileNames: [String]

  package let layout: any OutputLayout
  package let companions: [Int]  // indices in the source
  package let firstParts: [Int]  // for each tensor the index of its first stored tensor
  package let blocks: [Cut]  // for each tensor how it is cut

  /// The number of weights in all tensors.
  public var elementCount: Int { model.catalog.elementCount }

  /// Bits for each weight of the output, all tensors together.
  public var bitsPerWeight: Double {
    let bytes = tensors.reduce(0) { sum, plan in
      sum + format.spelling.parts(of: plan.target).reduce(0) { $0 + $1.byteCount }
    }
    return elementCount == 0 ? 0 : Double(bytes) * 8 / Double(elementCount)
  }

  /// Bits for each weight of what was written: fewer than planned where it was compressed.
  public func bitsPerWeight(of size: WrittenSize) -> Double {
    elementCount == 0 ? 0 : Double(size.tensorByteCount) * 8 / Double(elementCount)
  }
}
