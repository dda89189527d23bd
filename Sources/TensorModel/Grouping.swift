/// How a matrix is cut into groups of codes: `w = scale · code + bias`, one scale and bias a group.
public struct Grouping: Sendable, Hashable {
  /// What is added to `scale · code`.
  public enum Offset: String, Sendable, Hashable, CaseIterable {
    /// Nothing is stored: `w = scale · (code − 2^(bits − 1))`.
    case none
    /// A stored whole number for each group: `w = scale · (code − zero point)`.
    case zeroPoint
    /// A stored real number for each group: `w = scale · code + bias`.
    case bias
  }

  /// The code widths that Pleat reads and writes.
  public static let supportedBits = [2, 3, 4, 5, 6, 8]

  /// The types that scales and biases are stored in.
  public static let supportedParameters: [ScalarType] = [.f16, .bf16, .f32]

  /// Bits of a code.
  public var bits: Int

  /// Columns that share a scale.
  public var groupSize: Int

  /// What is added to `scale · code`.
  public var offset: Offset

  /// The stored type of scales and biases: F16, BF16 or F32.
  public var parameters: ScalarType

  /// Whether the columns of a group are anywhere in the row, as an index says (`desc_act` of GPTQ);
  /// else they follow each other.
  public var isScattered: Bool

  /// A grouping; see the properties for the units.
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

  /// The code that stands for zero where no offset is stored, `2^(bits − 1)`.
  public var centralCode: Int { 1 << (bits - 1) }
}

extension Grouping: CustomStringConvertible {
  /// For people, such as `4-bit, groups of 32, F16 scale and bias`.
  public var description: String {
    let stored =
      switch offset {
      case .none: "scale"
      case .zeroPoint: "scale and zero point"
      case .bias: "scale and bias"
      }
    return "\(bits)-bit, \(isScattered ? "scattered " : "")groups of \(groupSize), "
      + "\(parameters.name) \(stored)"
  }
}
