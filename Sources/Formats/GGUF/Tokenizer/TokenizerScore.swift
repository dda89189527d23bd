extension Double {
  /// A number that JSON states, as Hugging Face's tokenizers read it.
  ///
  /// Nil for a number that is too large, and for another value of JSON.
  ///
  /// They use serde_json without its feature `float_roundtrip`: the digits are rounded, and then
  /// their product with a power of ten, or their quotient, is rounded again. One of four scores is
  /// not the nearest number. Sums of the same scores in another order then differ, and the ids of
  /// a text like "...." depend on which is larger.
  package init?(roundedTwice text: some Collection<UInt8>) {
    var digits = text[...]
    let isNegative = digits.first == UInt8(ascii: "-")
    if isNegative { digits.removeFirst() }
    var significand: UInt64 = 0
    var exponent = 0
    /// Reads digits as far as 64 bits hold them, and returns how many it read and how many follow.
    func readDigits() -> (read: Int, ignored: Int) {
      var (read, ignored) = (0, 0)
      while let byte = digits.first, case let digit = byte &- 48, digit < 10 {
        digits.removeFirst()
        let (tens, overflow) = significand.multipliedReportingOverflow(by: 10)
        let (sum, carry) = tens.addingReportingOverflow(UInt64(digit))
        if overflow || carry || ignored > 0 {
          ignored += 1
        } else {
          significand = sum
          read += 1
        }
      }
      return (read, ignored)
    }
    exponent += readDigits().ignored
    if digits.first == UInt8(ascii: ".") {
      digits.removeFirst()
      exponent -= readDigits().read
    }
    if let letter = digits.first {
      guard "eE".utf8.contains(letter),
        let stated = Int(String(decoding: digits.dropFirst(), as: UTF8.self))
      else { return nil }
      exponent += Swift.max(-Self.exponentLimit, Swift.min(stated, Self.exponentLimit))
    }
    var value = Double(significand)
    while exponent < -Self.largestPower, value != 0 {
      value /= Self.powersOfTen[Self.largestPower]
      exponent += Self.largestPower
    }
    if value != 0 {
      guard exponent <= Self.largestPower else { return nil }
      let power = Self.powersOfTen[abs(exponent)]
      value = exponent < 0 ? value / power : value * power
    }
    guard value.isFinite else { return nil }
    self = isNegative ? -value : value
  }

  private static let exponentLimit = 1 << 20
  private static let largestPower = 308
  /// Powers of ten, each the nearest number.
  private static let powersOfTen = (0...largestPower).compactMap { Double("1e\($0)") }
}
