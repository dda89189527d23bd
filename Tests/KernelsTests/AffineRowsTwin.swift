import Kernels

/// Encodes Q2_K, Q4_K, Q5_K, and Q4_1 and Q5_1 with importance, value by value.
struct AffineRowsTwin {
  var type: BlockType

  /// How a type searches for the scale and the minimum of a group of values.
  struct Search {
    var top: Int
    var first: Float
    var step: Float
    var steps: Int
    var countsMagnitudes = false
  }

  struct Fit {
    var scale: Float
    var minimum: Float
    var codes: [Int]
  }

  func encode(
    _ values: [Float], columnCount: Int, importance: [Float]
  ) -> Result<[UInt8], GroupFault> {
    var bytes: [UInt8] = []
    for row in stride(from: 0, to: values.count, by: columnCount) {
      let square = meanSquare(values[row..<(row + columnCount)])
      for column in stride(from: 0, to: columnCount, by: type.elementCount) {
        let index = (row + column) / type.elementCount
        let block = Array(values[(row + column)...].prefix(type.elementCount))
        let weights = Array(importance.dropFirst(column).prefix(type.elementCount))
        guard block.allSatisfy(\.isFinite) else {
          return .failure(GroupFault(kind: .nonFiniteValue, group: index))
        }
        let isGroup = type.elementCount == 32
        guard let encoded = isGroup ? group(block, weights, square) : superBlock(block, weights)
        else { return .failure(GroupFault(kind: .parameterOverflow, group: index)) }
        bytes += encoded
      }
    }
    return .success(bytes)
  }

  private var bits: Int {
    switch type {
    case .q2_K: 2
    case .q5_K, .q5_1: 5
    default: 4
    }
  }

  private func search(weighted: Bool) -> Search {
    let top = (1 << bits) - 1
    if weighted { return Search(top: top, first: -0.9, step: 0.05, steps: 37) }
    switch type {
    case .q2_K:
      return Search(top: top, first: -0.5, step: 0.1, steps: 16, countsMagnitudes: true)
    case .q5_K: return Search(top: top, first: -0.5, step: 0.1, steps: 16)
    default: return Search(top: top, first: -1, step: 0.1, steps: 21)
    }
  }

  private func meanSquare(_ values: some Collection<Float>) -> Float {
    var sum: Float = 0
    for x in values { sum += x * x }
    return sum / Float(values.count)
  }

  /// The nearest integer as the low 23 bits of a sum, which wraps from 2^22 on.
  private func nearest(_ value: Float) -> Int {
    Int((value + 12_582_912).bitPattern & 0x7f_ffff) - 0x40_0000
  }

  private func codes(_ x: [Float], _ factor: Float, _ origin: Float, _ top: Int) -> [Int] {
    x.map { min(max(nearest(factor * ($0 - origin)), 0), top) }
  }

  func fit(_ x: [Float], _ w: [Float], _ search: Search) -> Fit {
    var (low, high, total, sum) = (x[0], x[0], w[0], w[0] * x[0])
    for (x, w) in zip(x, w).dropFirst() {
      if x < low { low = x }
      if x > high { high = x }
      total += w
      sum += w * x
    }
    if low > 0 { low = 0 }
    if high == low { return Fit(scale: 0, minimum: low, codes: x.map { _ in 0 }) }
    func error(_ fit: Fit) -> Float {
      var error: Float = 0
      for i in x.indices {
        let e = fit.scale * Float(fit.codes[i]) + fit.minimum - x[i]
        error += w[i] * (search.countsMagnitudes ? e.magnitude : e * e)
      }
      return error
    }
    let factor = Float(search.top) / (high - low)
    var best = Fit(scale: 1 / factor, minimum: low, codes: codes(x, factor, low, search.top))
    var least = error(best)
    for k in 0..<search.steps {
      let span = search.first + search.step * Float(k) + Float(search.top)
      let trial = codes(x, span / (high - best.minimum), best.minimum, search.top)
      var (s1, s2, sx): (Float, Float, Float) = (0, 0, 0)
      for i in x.indices {
        let l = Float(trial[i])
        s1 += w[i] * l
        s2 += w[i] * l * l
        sx += w[i] * l * x[i]
      }
      let determinant = total * s2 - s1 * s1
      guard determinant > 0 else { continue }
      var scale = (total * sx - sum * s1) / determinant
      var minimum = (s2 * sum - s1 * sx) / determinant
      if minimum > 0 { (minimum, scale) = (0, sx / s2) }
      let found = Fit(scale: scale, minimum: minimum, codes: trial)
      let e = error(found)
      if e < least { (least, best) = (e, found) }
    }
    return best
  }

  /// A common scale of numbers, and their codes, by weighted least squares.
  func common(_ numbers: [Float], _ w: [Float], _ top: Int) -> (Float, [UInt8]) {
    var most: Float = 0
    for x in numbers { most = most > x ? most : x }
    if most < 1e-15 { return (0, numbers.map { _ in 0 }) }
    func error(_ factor: Float, _ codes: [Int]) -> Float {
      var error: Float = 0
      for i in numbers.indices {
        let e = numbers[i] - 1 / factor * Float(codes[i])
        error += w[i] * e * e
      }
      return error
    }
    func capped(_ factor: Float) -> [Int] { numbers.map { min(nearest(factor * $0), top) } }
    var factor = Float(top) / most
    var least = error(factor, numbers.map { nearest(factor * $0) & 255 })
    for k in -4...4 where k != 0 {
      let trial = (0.1 * Float(k) + Float(top)) / most
      let e = error(trial, capped(trial))
      if e < least { (least, factor) = (e, trial) }
    }
    let start = capped(factor)
    var (p, r): (Float, Float) = (0, 0)
    for i in numbers.indices {
      p += w[i] * numbers[i] * Float(start[i])
      r += w[i] * Float(start[i]) * Float(start[i])
    }
    var codes = start.map { UInt8(truncatingIfNeeded: $0) }
    for _ in 0..<5 {
      var changed = false
      for (i, x) in numbers.enumerated() {
        let l = Float(codes[i])
        var (p2, r2) = (p - w[i] * x * l, r - w[i] * l * l)
        guard p2 > 0 && r2 > 0 else { continue }
        let moved = min(nearest(x * r2 / p2), top)
        guard moved != Int(codes[i]) else { continue }
        p2 += w[i] * x * Float(moved)
        r2 += w[i] * Float(moved) * Float(moved)
        guard p2 * p2 * r > p * p * r2 else { continue }
        codes[i] = UInt8(truncatingIfNeeded: moved)
        (p, r, changed) = (p2, r2, true)
      }
      if !changed { break }
    }
    return (r > 0 ? p / r : 0, codes)
  }

  /// A common scale that gives the largest number the highest code.
  private func common(_ numbers: [Float], _ top: Int) -> (Float, [UInt8]) {
    var most: Float = 0
    for x in numbers where x > most { most = x }
    let factor = most > 0 ? Float(top) / most : 0
    return (most / Float(top), numbers.map { UInt8(truncatingIfNeeded: nearest(factor * $0)) })
  }

  private func group(_ x: [Float], _ importance: [Float], _ square: Float) -> [UInt8]? {
    let w = zip(x, importance).map { $1 * (square + $0 * $0).squareRoot() }
    let found = fit(x, w, search(weighted: true))
    let halves = [found.scale, found.minimum].map(HalfTwin.half(of:))
    guard halves.allSatisfy({ $0 & 0x7c00 != 0x7c00 }) else { return nil }
    var bytes = halves.flatMap { [UInt8(truncatingIfNeeded: $0), UInt8($0 >> 8)] }
    let start = bytes.count + (bits == 5 ? 4 : 0)
    bytes += [UInt8](repeating: 0, count: type.byteCount - bytes.count)
    for (i, code) in found.codes.enumerated() {
      bytes[start + i % 16] |= UInt8(code & 15) << (i / 16 * 4)
      if bits == 5 { bytes[4 + i / 8] |= UInt8(code >> 4) << (i % 8) }
    }
    return bytes
  }

  private func superBlock(_ x: [Float], _ importance: [Float]) -> [UInt8]? {
    let isSmall = type == .q2_K
    let (length, top) = isSmall ? (16, 15) : (32, 63)
    let isWeighted = !importance.isEmpty
    let square = (isSmall ? 1 : 2) * meanSquare(x)
    var fits: [Fit] = []
    var totals: [Float] = []
    for start in stride(from: 0, to: 256, by: length) {
      let part = Array(x[start..<(start + length)])
      let root = isSmall ? 0 : meanSquare(part).squareRoot()
      let w = part.indices.map { i in
        isWeighted
          ? importance[start + i] * (square + part[i] * part[i]).squareRoot()
          : root + part[i].magnitude
      }
      fits.append(fit(part, w, search(weighted: isWeighted)))
      totals.append(w.reduce(0, +))
    }
    let (scales, minima) = (fits.map(\.scale), fits.map { -$0.minimum })
    let (d, scaleCodes) = isWeighted ? common(scales, totals, top) : common(scales, top)
    let (dmin, minimumCodes) = isWeighted ? common(minima, totals, top) : common(minima, top)
    let halves = [d, dmin].map(HalfTwin.half(of:))
    guard halves.allSatisfy({ $0 & 0x7c00 != 0x7c00 }) else { return nil }
    let cap: UInt8 = isSmall || (type == .q4_K && isWeighted) ? 255 : 63
    return packed(
      x, fits, halves, scaleCodes.map { min($0, cap) }, minimumCodes.map { min($0, cap) })
  }

  private func packed(
    _ x: [Float], _ fits: [Fit], _ halves: [UInt16], _ scales: [UInt8], _ minima: [UInt8]
  ) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: type.byteCount)
    let (halfStart, scaleStart) = type == .q2_K ? (80, 0) : (0, 4)
    for (k, half) in halves.enumerated() {
      bytes[halfStart + 2 * k] = UInt8(truncatingIfNeeded: half)
      bytes[halfStart + 2 * k + 1] = UInt8(half >> 8)
    }
    let (d, dmin) = (float(halves[0]), float(halves[1]))
    for s in fits.indices {
      if type == .q2_K {
        bytes[s] = scales[s] | minima[s] << 4
      } else if s < 4 {
        bytes[scaleStart + s] |= scales[s]
        bytes[scaleStart + s + 4] |= minima[s]
      } else {
        bytes[scaleStart + s + 4] = scales[s] & 15 | minima[s] << 4
        bytes[scaleStart + s - 4] |= (scales[s] & 0x30) << 2
        bytes[scaleStart + s] |= (minima[s] & 0x30) << 2
      }
    }
    for s in fits.indices {
      let (scale, minimum) = stored(s, Array(bytes[scaleStart...]))
      let length = 256 / fits.count
      let step = d * Float(scale)
      for i in 0..<length {
        let e = s * length + i
        let code = nearest((x[e] + dmin * Float(minimum)) / step)
        put(step == 0 ? fits[s].codes[i] : min(max(code, 0), (1 << bits) - 1), e, &bytes)
      }
    }
    return bytes
  }

  private func stored(_ s: Int, _ packed: [UInt8]) -> (UInt8, UInt8) {
    if type == .q2_K { return (packed[s] & 15, packed[s] >> 4) }
    if s < 4 { return (packed[s] & 63, packed[s + 4] & 63) }
    let (scaleHigh, minimumHigh) = ((packed[s - 4] & 0xc0) >> 2, (packed[s] & 0xc0) >> 2)
    return (packed[s + 4] & 15 | scaleHigh, packed[s + 4] >> 4 | minimumHigh)
  }

  private func put(_ code: Int, _ e: Int, _ bytes: inout [UInt8]) {
    if type == .q2_K {
      bytes[16 + e / 128 * 32 + e % 32] |= UInt8(code) << (e / 32 % 4 * 2)
    } else {
      bytes[type.byteCount - 128 + e / 64 * 32 + e % 32] |= UInt8(code & 15) << (e / 32 % 2 * 4)
    }
    if type == .q5_K { bytes[16 + e % 32] |= UInt8(code >> 4) << (e / 32) }
  }

  private func float(_ half: UInt16) -> Float { Float(bitPattern: HalfTwin.float(ofHalf: half)) }
}
