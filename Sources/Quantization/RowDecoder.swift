internal import Kernels
package import TensorModel

/// Turns stored bytes into floats, for encodings that are not grouped.
package enum RowDecoder: Sendable {
  case scalars(ScalarType)
  case blocks(BlockLayout)

  /// A decoder; nil when Pleat does not read the encoding as numbers, or it is grouped.
  package init?(_ encoding: Encoding) {
    switch encoding {
    case .plain(let type) where type.isDecodable: self = .scalars(type)
    case .foreign(let layout) where BlockType(layout) != nil: self = .blocks(layout)
    default: return nil
    }
  }

  /// Fills `values` from the bytes of just as many numbers.
  package func decode(_ bytes: ArraySlice<UInt8>, into values: inout [Float]) {
    var target = values.mutableSpan
    switch self {
    case .scalars(let type): FloatFormat(type).decode(bytes.span, into: &target)
    case .blocks(let layout):
      BlockType(layout)?.decode(bytes.span, into: &target)
    }
  }
}
