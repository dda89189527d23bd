internal import Kernels
internal import TensorModel

/// The types that replace others whose blocks the columns of a tensor do not fill.
enum MixFallback {
  /// The encoding itself if the columns fill its blocks; otherwise another type, or F16.
  static func fitting(_ encoding: Encoding, columnCount: Int) -> Encoding {
    guard case .foreign(let layout) = encoding, columnCount % layout.elementCount != 0 else {
      return encoding
    }
    guard let other = BlockType(layout).flatMap(smaller),
      columnCount % other.elementCount == 0
    else { return .plain(.f16) }
    return other.encoding
  }

  /// The type of 32-element blocks that replaces one of 256-element blocks; nil for other types.
  private static func smaller(than type: BlockType) -> BlockType? {
    switch type {
    case .q2_K, .q3_K, .tq1_0, .tq2_0: .q4_0
    case .q4_K: .q5_0
    case .q5_K: .q5_1
    case .q6_K: .q8_0
    case .iq4_XS: .iq4_NL
    default: nil
    }
  }
}
