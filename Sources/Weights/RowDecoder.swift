internal import Kernels
package import TensorModel

/// Decodes stored bytes to floats, for weights of one part.
package enum RowDecoder: Sendable {
  case scalars(ScalarType)
  case blocks(BlockLayout)

  /// Creates a decoder; nil if Pleat cannot decode the encoding, or if it has several parts.
  package init?(_ encoding: Encoding) {
    switch encoding {
    case .plain(let type) where type.isDecodable: self = .scalars(type)
    case .foreign(let layout) where BlockType(layout) != nil: self = .blocks(layout)
    default: return nil
    }
  }

  /// Decodes the bytes of as many numbers as `values` has.
  package func decode(_ bytes: ArraySlice<UInt8>, into values: inout [Float]) {
    var target = values.mutableSpan
    switch self {
    case .scalars(let type): FloatFormat(type).decode(bytes.span, into: &target)
    case .blocks(let layout):
      BlockType(layout)?.decode(bytes.span, into: &target)
    }
  }
}
