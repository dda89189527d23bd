/// Half-precision conversions by their definition, in Double arithmetic.
enum HalfTwin {
  static func float(ofHalf half: UInt16) -> UInt32 {
    let sign = UInt32(half >> 15) << 31
    let (exponent, fraction) = (Int(half >> 10 & 31), Int(half & 1023))
    switch exponent {
    case 31 where fraction != 0: return sign | 0x7fc0_0000 | UInt32(fraction) << 13
    case 31: return sign | 0x7f80_0000
    case 0: return sign | Float(Double(fraction) * 0x1p-24).bitPattern
    default:
      let value =
        Double(1024 + fraction) * Double(sign: .plus, exponent: exponent - 25, significand: 1)
      return sign | Float(value).bitPattern
    }
  }

  static func half(of value: Float) -> UInt16 {
    let bits = value.bitPattern
    let sign = UInt16(bits >> 16 & 0x8000)
    if value.isNaN { return sign | 0x7e00 | UInt16(bits >> 13 & 0x3ff) }
    let magnitude = Double(value.magnitude)
    // 65520 is half way between the largest half and the next step, which would be even.
    if magnitude >= 65520 { return sign | 0x7c00 }
    let exponent = magnitude < 0x1p-14 ? -14 : magnitude.exponent
    let unit = Double(sign: .plus, exponent: Int(exponent) - 10, significand: 1)
    let steps = Int((magnitude / unit).rounded(.toNearestOrEven))
    // 1024 or more steps carry into the exponent.
    return sign | UInt16((Int(exponent) + 14) * 1024 + steps)
  }

  static func bfloat(of value: Float) -> UInt16 {
    let bits = value.bitPattern
    if value.isNaN { return UInt16(bits >> 16) | 0x0040 }
    let (below, rest) = (bits >> 16, bits & 0xffff)
    let up = rest > 0x8000 || (rest == 0x8000 && below & 1 == 1)
    return UInt16(below + (up ? 1 : 0))
  }
}
