import Kernels
import TensorModel
import TestSupport

/// The arithmetic of the modes of MLX, written value by value as the documentation describes it.
struct ScaledTwin {
  var mode: ScaledMode
  var arithmetic: FloatFormat

  struct Encoded: Equatable {
    var codes: [UInt8] = []  // Packed.
    var scales: [UInt8] = []
  }

  /// The numbers of the codes without a sign.
  private static let e2m1: [Float] = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
  private static let e4m3: [Float] = (0..<127).map { code in
    let (exponent, mantissa) = (code >> 3, Float(code & 7))
    return exponent == 0
      ? mantissa * 0x1p-9
      : Float(sign: .plus, exponent: exponent - 7, significand: 1 + mantissa / 8)
  }

  func rounded(_ value: Float) -> Float {
    GroupTwin(groupSize: 1, bits: 1, parameters: arithmetic).rounded(value)
  }

  /// The code of the number nearest to a magnitude; a tie goes to the code that `prefers` accepts.
  private static func nearest(
    _ value: Float, _ numbers: [Float], prefers: (Int) -> Bool
  ) -> UInt8 {
    var best = 0
    for code in numbers.indices {
      let (own, other) = ((numbers[code] - value).magnitude, (numbers[best] - value).magnitude)
      if own < other || own == other && prefers(code) { best = code }
    }
    return UInt8(best)
  }

  private static func e4m3Code(_ value: Float) -> UInt8 {
    nearest(min(value, 448), e4m3) { $0.isMultiple(of: 2) }
  }

  /// The smallest power of two that is not below x, at least 2^-127; 1 if x is 0.
  private static func power(above x: Float) -> Float {
    guard x > 0 else { return 1 }
    var power: Float = 0x1p-127
    while power < x { power *= 2 }
    return power
  }

  func encode(_ values: [Float]) -> Result<Encoded, GroupFault> {
    var result = Encoded()
    let twin = GroupTwin(groupSize: mode.groupSize, bits: mode.bits, parameters: arithmetic)
    for (k, group) in twin.groups(values).enumerated() {
      guard group.allSatisfy(\.isFinite) else {
        return .failure(GroupFault(kind: .nonFiniteValue, group: k))
      }
      let most = group.reduce(0) { max($0, $1.magnitude) }
      let x = rounded(most / (mode == .mxfp8 ? 448 : 6))
      let scale: Float
      if mode == .nvfp4 {
        result.scales.append(Self.e4m3Code(x))
        scale = Self.e4m3[Int(Self.e4m3Code(x))]
      } else {
        scale = Self.power(above: x)
        result.scales.append(scale < 0x1p-126 ? 0 : UInt8(scale.exponent + 127))
      }
      let codes = group.map { code($0, scale) }
      let numbers = mode == .mxfp8 ? Self.e4m3 : Self.e2m1
      let largest = numbers[Int(codes.map { $0 & (mode == .mxfp8 ? 0x7f : 7) }.max() ?? 0)]
      guard (largest * scale).isFinite, mode != .nvfp4 || x <= 464 else {
        return .failure(GroupFault(kind: .parameterOverflow, group: k))
      }
      result.codes +=
        mode == .mxfp8
        ? codes
        : stride(from: 0, to: codes.count, by: 2).map { codes[$0] | codes[$0 + 1] << 4 }
    }
    return .success(result)
  }

  private func code(_ value: Float, _ scale: Float) -> UInt8 {
    if mode == .mxfp8 {
      return Self.e4m3Code((value / scale).magnitude) | (value.sign == .minus ? 0x80 : 0)
    }
    guard scale > 0 else { return 0 }
    let quotient = rounded(value / scale).magnitude
    let code = Self.nearest(min(quotient, 6), Self.e2m1) { _ in false }
    return code > 0 && value < 0 ? code | 8 : code
  }
}

extension ScaledKernel {
  func encode(
    _ values: [Float], on set: InstructionSet
  ) -> Result<ScaledTwin.Encoded, GroupFault> {
    var codes = [UInt8](repeating: 0xaa, count: values.count * mode.bits / 8)
    var scales = [UInt8](repeating: 0xaa, count: values.count / mode.groupSize)
    var codeSpan = codes.mutableSpan
    var codeBytes = codeSpan.mutableBytes
    var scaleSpan = scales.mutableSpan
    var scaleBytes = scaleSpan.mutableBytes
    do throws(GroupFault) {
      try encode(values.span, codes: &codeBytes, scales: &scaleBytes, on: set)
    } catch {
      return .failure(error)
    }
    return .success(ScaledTwin.Encoded(codes: codes, scales: scales))
  }
}
