import Kernels

/// Encodes Q3_K and Q6_K, and Q4_0 and Q5_0 with importance, value by value.
struct SymmetricRowsTwin: RowsTwin {
  var type: BlockType

  struct Fit {
    var scale: Float
    var codes: [Int]
  }

  func block(_ x: [Float], _ importance: [Float], _ square: Float) -> [UInt8]? {
    switch type {
    case .q3_K: q3(x, importance)
    case .q6_K: q6(x, importance)
    default: group(x, importance, square)
    }
  }

  private func sums(_ x: [Float], _ w: [Float], _ l: [Int]) -> (Float, Float) {
    var (p, r): (Float, Float) = (0, 0)
    for i in x.indices {
      p += w[i] * x[i] * Float(l[i])
      r += w[i] * Float(l[i]) * Float(l[i])
    }
    return (p, r)
  }

  private func rounded(_ x: [Float], _ factor: Float, _ top: Int) -> [Int] {
    x.map { min(max(nearest(factor * $0), -top), top - 1) }
  }

  /// The best of 19 scales; codes are 0 to 2 · top − 1.
  func fit(_ x: [Float], _ w: [Float], _ top: Int) -> Fit {
    let m = farthest(x)
    if m.magnitude < 1e-15 { return Fit(scale: 0, codes: x.map { _ in 0 }) }
    var l = rounded(x, Float(-top) / m, top)
    var (p, r) = sums(x, w, l)
    var scale = r != 0 ? p / r : 0
    var best = scale * p
    for k in -9...9 where k != 0 {
      let trial = rounded(x, -(Float(top) + 0.1 * Float(k)) / m, top)
      (p, r) = sums(x, w, trial)
      if r > 0 && p * p > best * r {
        l = trial
        scale = p / r
        best = scale * p
      }
    }
    return Fit(scale: scale, codes: l.map { $0 + top })
  }

  /// Changes one code at a time; values are weighted by their squares.
  func descent(_ x: [Float], _ top: Int) -> Fit {
    let m = farthest(x)
    if m.magnitude < 1e-15 { return Fit(scale: 0, codes: x.map { _ in 0 }) }
    let w = x.map { $0 * $0 }
    var l = rounded(x, Float(-top) / m, top)
    var (p, r) = sums(x, w, l)
    for _ in 0..<5 {
      var changed = false
      for i in x.indices {
        let old = Float(l[i])
        var (p2, r2) = (p - w[i] * x[i] * old, r - w[i] * old * old)
        guard p2 > 0 else { continue }
        let moved = min(max(nearest(x[i] * r2 / p2), -top), top - 1)
        guard moved != l[i] else { continue }
        p2 += w[i] * x[i] * Float(moved)
        r2 += w[i] * Float(moved) * Float(moved)
        guard r2 > 0 && p2 * p2 * r > p * p * r2 else { continue }
        (l[i], p, r, changed) = (moved, p2, r2, true)
      }
      if !changed { break }
    }
    return Fit(scale: r > 0 ? p / r : 0, codes: l.map { $0 + top })
  }

  private func group(_ x: [Float], _ importance: [Float], _ square: Float) -> [UInt8]? {
    let bits = type == .q4_0 ? 4 : 5
    let w = zip(x, importance).map { $1 * (square + $0 * $0).squareRoot() }
    let found = fit(x, w, 1 << (bits - 1))
    guard var bytes = half(found.scale) else { return nil }
    let start = bits == 5 ? 6 : 2
    bytes += [UInt8](repeating: 0, count: type.byteCount - 2)
    for (i, code) in found.codes.enumerated() {
      bytes[start + i % 16] |= UInt8(code & 15) << (i / 16 * 4)
      if bits == 5 { bytes[2 + i / 8] |= UInt8(code >> 4) << (i % 8) }
    }
    return bytes
  }

  /// Codes for stored scales; the codes of the search remain where a scale is 0.
  private func codes(
    _ x: [Float], _ fits: [Fit], _ scales: [Int], _ d: [UInt8], _ top: Int
  ) -> [Int] {
    x.indices.map { i in
      let scale = float(d) * Float(scales[i / 16])
      if scale == 0 { return fits[i / 16].codes[i % 16] }
      return min(max(nearest(x[i] / scale), -top), top - 1) + top
    }
  }

  private func q6(_ x: [Float], _ importance: [Float]) -> [UInt8]? {
    let fits = stride(from: 0, to: 256, by: 16).map { start in
      let part = Array(x[start..<(start + 16)])
      let w = importance.isEmpty ? part.map { $0 * $0 } : Array(importance[start..<(start + 16)])
      return fit(part, w, 32)
    }
    let most = farthest(fits.map(\.scale))
    if most.magnitude < 1e-15 { return [UInt8](repeating: 0, count: 210) }
    let factor = -128 / most
    let scales = fits.map { Int(Int8(truncatingIfNeeded: min(127, nearest(factor * $0.scale)))) }
    guard let d = half(1 / factor) else { return nil }
    var bytes = [UInt8](repeating: 0, count: 192)
    for (i, code) in codes(x, fits, scales, d, 32).enumerated() {
      let (part, l) = (i / 32 % 4, i % 32)
      bytes[i / 128 * 64 + part % 2 * 32 + l] |= UInt8(code & 15) << (part / 2 * 4)
      bytes[128 + i / 128 * 32 + l] |= UInt8(code >> 4) << (part * 2)
    }
    return bytes + scales.map { UInt8(truncatingIfNeeded: $0) } + d
  }

  private func q3(_ x: [Float], _ importance: [Float]) -> [UInt8]? {
    let square = 2 * squares(x) / 256
    var fits: [Fit] = []
    var totals: [Float] = []
    for start in stride(from: 0, to: 256, by: 16) {
      let part = Array(x[start..<(start + 16)])
      if importance.isEmpty {
        fits.append(descent(part, 4))
      } else {
        let w = zip(part, importance[start...])
          .map { $1 * (square + $0 * $0).squareRoot() }
        fits.append(fit(part, w, 4))
        totals.append(w.reduce(0, +))
      }
    }
    let numbers = fits.map(\.scale)
    let most = farthest(numbers)
    var (number, scales) = (Float(0), fits.map { _ in -32 })
    if !importance.isEmpty {
      let found = fit(numbers, totals, 32)
      (number, scales) = (found.scale, found.codes.map { $0 - 32 })
    } else if most != 0 {
      let factor = -32 / most
      number = 1 / factor
      scales = numbers.map { number in
        min(max(Int(Int8(truncatingIfNeeded: nearest(factor * number))), -32), 31)
      }
    }
    guard let d = half(number) else { return nil }
    var bytes = [UInt8](repeating: 0, count: 108)
    for (i, code) in codes(x, fits, scales, d, 4).enumerated() {
      bytes[i % 32] |= UInt8(code >> 2) << (i / 32)
      bytes[32 + i / 128 * 32 + i % 32] |= UInt8(code & 3) << (i / 32 % 4 * 2)
    }
    for (s, scale) in scales.enumerated() {
      let raw = UInt8(scale + 32)
      bytes[96 + s % 8] |= (raw & 15) << (s / 8 * 4)
      bytes[104 + s % 4] |= (raw >> 4) << (s / 4 * 2)
    }
    return bytes + d
  }
}
