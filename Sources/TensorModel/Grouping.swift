/// How a matrix is quantized in groups: `w = scale · code + bias`, one scale and bias per group.
public struct Grouping: Sendable, Hashable {
  /// What a group stores besides its scale.
  public enum Offset: String, Sendable, Hashable, CaseIterable {
    /// Nothing is stored: `w = scale · (code − 2^(bits − 1))`.
    case none
    /// A zero point for each group: `w = scale · (code − zero point)`; usually an integer.
    case zeroPoint
    /// A floating-point number for each group: `w = scale · code + bias`.
    case bias
  }

  /// The code widths that Pleat reads and writes, in bits.
  public static let supportedBits = [2, 3, 4, 5, 6, 8]

  /// The types in which scales and biases can be stored.
  public static let supportedParameters: [ScalarType] = [.f16, .bf16, .f32]

  /// The width of a code in bits.
  public var bits: Int

  /// The number of columns that share a scale.
  public var groupSize: Int

  /// What a group stores besides its scale.
  public var offset: Offset

  /// The stored type of scales and biases: F16, BF16 or F32.
  public var parameters: ScalarType

  /// Whether an index assigns each column to a group (`desc_act` of GPTQ).
  ///
  /// Otherwise a group is a run of adjacent columns.
  public var isScattered: Bool

  /// Whether zero points may be fractions, stored in the type of the scales.
  ///
  /// HQQ computes such zero points. Pleat reads them, and no format that it writes stores them.
  public var hasFractionalZeroPoints = false

  /// Creates a grouping; see the properties for the units.
  public init(
    bits: Int, groupSize: Int, offset: Offset, parameters: ScalarType, isScattered: Bool = false
  ) {
    self.bits = bits
    self.groupSize = groupSize
    self.offset = offset
    self.parameters = parameters
    self.isScattered = isScattered
  }

  /// The largest code, `2^bits − 1`.
  public var largestCode: Int { (1 << bits) - 1 }

  /// The code that stands for zero if no offset is stored, `2^(bits − 1)`.
  public var centralCode: Int { 1 << (bits - 1) }
}

extension Grouping: CustomStringConvertible {
  /// A text for people, such as `4-bit, groups of 32, F16 scale and bias`.
  public var description: String {
    let stored =
      switch offset {
      case .none: "scale"
      case .zeroPoint where hasFractionalZeroPoints: "scale and fractional zero point"
      case .zeroPoint: "scale and zero point"
      case .bias: "scale and bias"
      }
    return "\(bits)-bit, \(isScattered ? "scattered " : "")groups of \(groupSize), "
      + "\(parameters.name) \(stored)"
  }
}
