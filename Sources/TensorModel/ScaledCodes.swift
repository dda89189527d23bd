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
    /// Products are divided by 127: scales are the largest magnitudes, which have this code.
    case largestCode
  }

  /// Scales that are quantized themselves: `scale = number · scale of the block + offset`.
  ///
  /// The numbers are those of 256 codes, in a table beside them.
  public struct Nesting: Sendable, Hashable {
    /// The number of adjacent scales that share a scale.
    public var blockSize: Int
    /// What is added to each scale.
    public var offset: Float

    /// Creates a description; see the properties.
    public init(blockSize: Int, offset: Float) {
      (self.blockSize, self.offset) = (blockSize, offset)
    }
  }

  /// The type of the codes: F4, F6_E2M3, F8_E4M3, F8_E5M2, I8, or U8 for a table.
  public var codes: ScalarType
  /// The name of a table of 16 numbers beside the codes, such as `NF4`; nil if the codes have a type.
  ///
  /// The first code of a byte is in its high half.
  public var table: String?
  /// The type of the scales: F16, BF16, F32, F8_E4M3, F8_E8M0, or U8 if they are nested.
  public var scales: ScalarType
  /// How scales are quantized; nil if they are numbers.
  public var nesting: Nesting?
  /// The number of rows of a tile, of which the last one may have fewer; nil for all rows.
  public var tileRows: Int?
  /// The number of columns of a tile, of which the last one may have fewer; nil for all columns.
  public var tileColumns: Int?
  /// The factor of all scales; one for each matrix of a stack.
  public var factor: Factor
  /// Whether codes and scales stand together, in the blocks that llama.cpp has for NVFP4.
  public var isInBlocks: Bool
  /// The type that weights are decoded to unless another one is asked for: that of the other
  /// weights of the model.
  public var decoded: ScalarType

  /// Creates a description; see the properties.
  public init(
    codes: ScalarType, table: String? = nil, scales: ScalarType, nesting: Nesting? = nil,
    tileRows: Int?, tileColumns: Int?, factor: Factor = .none, isInBlocks: Bool = false,
    decoded: ScalarType = .bf16
  ) {
    self.codes = codes
    self.table = table
    self.scales = scales
    self.nesting = nesting
    self.tileRows = tileRows
    self.tileColumns = tileColumns
    self.factor = factor
    self.isInBlocks = isInBlocks
    self.decoded = decoded
  }
}

extension ScaledCodes {
  /// MXFP4.
  package static let mxfp4 = ScaledMode.mxfp4.codes

  /// NVFP4 with a factor of all scales, or without.
  package static func nvfp4(_ factor: Factor, isInBlocks: Bool = false) -> ScaledCodes {
    ScaledCodes(
      codes: .f4, scales: .f8e4m3, tileRows: 1, tileColumns: 16, factor: factor,
      isInBlocks: isInBlocks)
  }

  /// Whether they are MXFP4: codes of four bits, and a power of two for each 32 columns.
  package var isMXFP4: Bool { hasForm(of: .mxfp4) && factor == .none }

  /// Whether they are NVFP4: codes of four bits, and a scale of eight bits for each 16 columns.
  package var isNVFP4: Bool { hasForm(of: .nvfp4(.none)) && factor != .largestCode }

  /// Whether codes, scales and tiles are the same, regardless of factors and layouts.
  private func hasForm(of other: ScaledCodes) -> Bool {
    codes == other.codes && table == nil && scales == other.scales && nesting == nil
      && tileRows == other.tileRows && tileColumns == other.tileColumns
  }
}

extension ScaledCodes: CustomStringConvertible {
  /// The name of the table, or of the type of the codes.
  public var name: String { table ?? codes.name }

  /// The width of a code in bits.
  public var bitWidth: Int { table == nil ? codes.bitWidth : 4 }

  /// A text for people, such as `F8_E4M3, F32 scales of 128 × 128`.
  public var description: String {
    let type = nesting == nil ? scales.name : "nested"
    let tile =
      switch (tileRows, tileColumns) {
      case (nil, nil): "one \(type) scale"
      case (1, nil): "\(type) scales of rows"
      case (let rows, let columns):
        "\(type) scales of \(rows.map(String.init) ?? "all rows") × "
          + (columns.map(String.init) ?? "all columns")
      }
    let hasOwn = factor == .multiplier || factor == .divisor
    return "\(name), \(tile)" + (hasOwn ? " and one of the tensor" : "")
  }
}
