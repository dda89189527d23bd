/// A mode of MLX in which codes are numbers themselves, with a scale for each group of columns.
public enum ScaledMode: String, Sendable, Hashable, CaseIterable {
  /// E2M1 codes of 4 bits, and a power of two for each 32 columns.
  case mxfp4
  /// E2M1 codes of 4 bits, and an E4M3 scale for each 16 columns.
  case nvfp4
  /// E4M3 codes of 8 bits, and a power of two for each 32 columns.
  case mxfp8

  /// The mode with these codes and scales; nil if there is none.
  public init?(_ codes: ScaledCodes) {
    let known = Self.allCases.first { mode in
      var own = mode.codes
      own.decoded = codes.decoded
      return own == codes
    }
    guard let known else { return nil }
    self = known
  }

  /// The name in MLX.
  public var name: String { rawValue }

  /// The width of a code in bits.
  public var bits: Int { codes.bitWidth }

  /// The number of columns that share a scale.
  public var groupSize: Int {
    switch self {
    case .mxfp4, .mxfp8: 32
    case .nvfp4: 16
    }
  }

  /// Its codes and scales, which are decoded to BF16 unless another type is asked for.
  public var codes: ScaledCodes {
    ScaledCodes(
      codes: self == .mxfp8 ? .f8e4m3 : .f4, scales: self == .nvfp4 ? .f8e4m3 : .f8e8m0,
      tileRows: 1, tileColumns: groupSize)
  }
}
