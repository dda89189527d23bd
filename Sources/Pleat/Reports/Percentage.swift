/// Formats ratios as percentages: `0.24 %`, `2.4 %`, `38 %`.
package enum Percentage {
  /// The text of a ratio, with two significant digits.
  package static func text(_ ratio: Double) -> String {
    guard ratio.isFinite else { return ratio.isNaN ? "an unknown part" : "more than all" }
    guard ratio > 0 else { return "0 %" }
    let percent = ratio * 100
    guard percent < 9.95 else { return "\(Int(percent.rounded())) %" }
    // Two digits after any number of leading zeros.
    var scale = 10.0
    while percent * scale < 9.95 && scale < 1e9 { scale *= 10 }
    let digits = String(Int((percent * scale).rounded()))
    let decimals = scale.zeroCount
    let padded = String(repeating: "0", count: max(0, decimals + 1 - digits.count)) + digits
    return "\(padded.dropLast(decimals)).\(padded.suffix(decimals)) %"
  }
}

extension Double {
  /// The number of zeros of a power of ten.
  fileprivate var zeroCount: Int {
    var (count, value) = (0, self)
    while value >= 10 { (count, value) = (count + 1, value / 10) }
    return count
  }
}
