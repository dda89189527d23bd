import Kernels

/// Encodes IQ4_NL, IQ4_XS, TQ1_0, TQ2_0 and MXFP4, value by value.
struct TableRowsTwin: RowsTwin {
  var type: BlockType

  private static let iq4: [Float] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
  ]
  private static let e2m1: [Float] = [
    0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12,
  ]

  func block(_ x: [Float], _ importance: [Float], _ square: Float) -> [UInt8]? {
    switch type {
    case .iq4_NL: iq4NL(x, importance)
    case .iq4_XS: iq4XS(x, importance)
    case .mxfp4: mxfp4(x)
    default: ternary(x)
    }
  }

  /// The index of the nearest value; the upper one of two that are equally near, or of NaN.
  private func index(_ x: Float) -> Int {
    if x <= Self.iq4[0] { return 0 }
    if x >= Self.iq4[15] { return 15 }
    let upper = (1..<15).first { x < Self.iq4[$0] } ?? 15
    return x - Self.iq4[upper - 1] < Self.iq4[upper] - x ? upper - 1 : upper
  }

  private func fit(_ x: [Float], _ w: [Float]) -> Float {
    let m = farthest(x)
    if m.magnitude < 1e-15 { return 0 }
    func sums(_ factor: Float) -> (Float, Float) {
      var (p, r): (Float, Float) = (0, 0)
      for i in x.indices {
        let q = Self.iq4[index(factor * x[i])]
        p += w[i] * q * x[i]
        r += w[i] * q * q
      }
      return (p, r)
    }
    var (p, r) = sums(1 / (m / 127))
    var scale = r > 0 ? p / r : 0
    var best = scale * p
    for k in -7...7 {
      (p, r) = sums((Float(k) - 127) / m)
      if r > 0 && p * p > best * r {
        scale = p / r
        best = scale * p
      }
    }
    return scale
  }

  private func weights(_ x: ArraySlice<Float>, _ importance: [Float], _ square: Float) -> [Float] {
    x.indices.map { i in
      importance.isEmpty ? x[i] * x[i] : importance[i] * (square + x[i] * x[i]).squareRoot()
    }
  }

  private func nibbles(_ codes: [Int]) -> [UInt8] {
    (0..<16).map { UInt8(codes[$0]) | UInt8(codes[$0 + 16]) << 4 }
  }

  private func nibbles(_ x: ArraySlice<Float>, _ scale: Float) -> [UInt8] {
    let factor = scale == 0 ? 0 : 1 / scale
    return nibbles(x.map { index(factor * $0) })
  }

  private func iq4NL(_ x: [Float], _ importance: [Float]) -> [UInt8]? {
    let scale = fit(x, weights(x[...], importance, squares(x) * (2 / 32)))
    guard let d = half(scale) else { return nil }
    return d + nibbles(x[...], scale)
  }

  private func iq4XS(_ x: [Float], _ importance: [Float]) -> [UInt8]? {
    let square = squares(x) * (2 / 256)
    let parts = stride(from: 0, to: 256, by: 32).map { x[$0..<($0 + 32)] }
    let scales = parts.map { fit(Array($0), weights($0, importance, square)) }
    let d = -farthest(scales) / 32
    let factor = d == 0 ? 0 : 1 / d
    let codes = scales.map { min(max(nearest(factor * $0), -32), 31) }
    guard var bytes = half(d) else { return nil }
    bytes += [UInt8](repeating: 0, count: 6)
    for (s, code) in codes.enumerated() {
      let raw = UInt8(code + 32)
      bytes[2 + s / 4] |= (raw >> 4) << (s % 4 * 2)
      bytes[4 + s / 2] |= (raw & 15) << (s % 2 * 4)
      bytes += nibbles(parts[s], d * Float(code))
    }
    return bytes
  }

  private func mxfp4(_ x: [Float]) -> [UInt8] {
    let most = farthest(x).magnitude
    var raw: UInt8 = 0
    if most > 0 { raw = UInt8(truncatingIfNeeded: floorOfLog2(most) + 125) }
    let d = Float(sign: .plus, exponent: Int(raw) - 128, significand: 1)
    let codes = x.map { value in
      var (best, least) = (0, (Self.e2m1[0] * d - value).magnitude)
      for code in 1..<16 {
        let error = (Self.e2m1[code] * d - value).magnitude
        if error < least { (best, least) = (code, error) }
      }
      return best
    }
    return [raw] + nibbles(codes)
  }

  /// The logarithm is rounded to float32 before it is rounded down.
  ///
  /// Just below 2^n it rounds to n if its distance, 1 − x / 2^n over ln 2, is at most half the
  /// distance between n and the float below. Both are compared in Double, where they are far apart.
  private func floorOfLog2(_ x: Float) -> Int {
    let (n, wide) = (Int(Double(x).exponent) + 1, Double(x))
    let rest = 1 - wide / Double(sign: .plus, exponent: n, significand: 1)
    let step = Float(n) - Float(n).nextDown
    let isRounded = n != 0 && rest / 0.693_147_180_559_945_3 <= Double(step) / 2
    return isRounded ? n : n - 1
  }

  private func ternary(_ x: [Float]) -> [UInt8]? {
    let most = farthest(x).magnitude
    let factor = most == 0 ? 0 : 1 / most
    let digits = x.map { value in
      let product = value * factor
      return product.isFinite ? Int(product.rounded(.toNearestOrAwayFromZero)) + 1 : 1
    }
    guard let d = half(most) else { return nil }
    if type == .tq2_0 {
      var bytes = [UInt8](repeating: 0, count: 64)
      for (i, digit) in digits.enumerated() {
        bytes[i / 128 * 32 + i % 32] |= UInt8(digit) << (i / 32 % 4 * 2)
      }
      return bytes + d
    }
    func packed(_ start: Int, _ count: Int) -> [UInt8] {
      (0..<count).map { j in
        let value = (0..<5).reduce(0) { value, n in
          let i = start + n * count + j
          return value * 3 + (i < 256 ? digits[i] : 0)
        }
        return UInt8((value * 256 + 242) / 243)
      }
    }
    return packed(0, 32) + packed(160, 16) + packed(240, 4) + d
  }
}
