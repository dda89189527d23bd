/// How a matrix is quantized to codes that are numbers themselves: `w = code · scale`.
///
/// Unlike groups, codes may be floating-point numbers, and a scale may belong to several rows. It
/// belongs to a tile: a rectangle of rows and columns, which may be the whole matrix.
public struct ScaledCodes: Sendable, Hashable {
  /// A factor of all scales of a tensor.
  public enum Factor: String, Sendable, Hashable, CaseIterable {
    /// There is none.
    case none
    /// Scales are multiplied by an F32 number.
    case multiplier
    /// Scales are divided by an F32 number.
    case divisor
  }

  /// The types of codes that Pleat decodes.
  public static let supportedCodes: [ScalarType] = [.f4, .f6e2m3, .f8e4m3, .f8e5m2, .i8]

  /// The types of scales that Pleat decodes.
  public static let supportedScales: [ScalarType] = [.f16, .bf16, .f32, .f8e4m3, .f8e8m0]

  /// The type of the codes: F4, F6_E2M3, F8_E4M3, F8_E5M2 or I8.
  public var codes: ScalarType
  /// The type of the scales: F16, BF16, F32, F8_E4M3 or F8_E8M0.
  public var scales: ScalarType
  /// The number of rows of a tile, of which the last one may have fewer; nil for all rows.
  public var tileRows: Int?
  /// The number of columns of a tile, of which the last one may have fewer; nil for all columns.
  public var tileColumns: Int?
  /// The factor of all scales.
  public var factor: Factor
  /// The type that weights are decoded to unless another one is asked for: that of the other
  /// weights of the model.
  public var decoded: ScalarType

  /// Creates a description; see the properties.
  public init(
    codes: ScalarType, scales: ScalarType, tileRows: Int?, tileColumns: Int?,
    factor: Factor = .none, decoded: ScalarType = .bf16
  ) {
    self.codes = codes
    self.scales = scales
    self.tileRows = tileRows
    self.tileColumns = tileColumns
    self.factor = factor
    self.decoded = decoded
  }
}

extension ScaledCodes: CustomStringConvertible {
  /// A text for people, such as `F8_E4M3, F32 scales of 128 × 128`.
  public var description: String {
    let tile =
      switch (tileRows, tileColumns) {
      case (nil, nil): "one \(scales.name) scale"
      case (1, nil): "\(scales.name) scales of rows"
      case (let rows, let columns):
        "\(scales.name) scales of \(rows.map(String.init) ?? "all rows") × "
          + (columns.map(String.init) ?? "all columns")
      }
    return "\(codes.name), \(tile)" + (factor == .none ? "" : " and one of the tensor")
  }
}
