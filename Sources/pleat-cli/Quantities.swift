internal import Pleat

/// Formats numbers and units for people.
enum Quantities {
  /// A length in bytes, with units in powers of 1000: `715 MB`.
  static func bytes(_ count: Int) -> String {
    count == 1 ? "1 byte" : scaled(count, ["bytes", "kB", "MB", "GB", "TB", "PB"])
  }

  /// A length with the exact number, if it is rounded: `1.12 kB (1,122 bytes)`.
  static func exactBytes(_ count: Int) -> String {
    count < 1000 ? bytes(count) : "\(bytes(count)) (\(exact(count)) bytes)"
  }

  /// A number of weights: `1.24 B`.
  static func count(_ count: Int) -> String {
    scaled(count, ["", "k", "M", "B", "T"]).trimmingTrailingSpace
  }

  /// A whole number with separators: `13,644,256`.
  static func exact(_ count: Int) -> String {
    let digits = String(count)
    var text = ""
    for (index, digit) in digits.enumerated() {
      if index > 0, (digits.count - index) % 3 == 0 { text += "," }
      text.append(digit)
    }
    return text
  }

  /// A count with a noun in the singular or plural: `1 tensor`, `4 tensors`.
  static func number(_ count: Int, of thing: String) -> String {
    "\(exact(count)) \(thing)\(count == 1 ? "" : thing.hasSuffix("y") ? "" : "s")"
  }

  /// A number with a fixed number of digits after the decimal point.
  static func fixed(_ value: Double, _ digits: Int) -> String {
    guard value.isFinite else { return value.isNaN ? "NaN" : value < 0 ? "−∞" : "∞" }
    let scale = (0..<digits).reduce(1.0) { product, _ in product * 10 }
    let rounded = (value.magnitude * scale).rounded()
    guard rounded < 1e15 else { return "\(value)" }
    let whole = Int(rounded)
    let part = String(whole % Int(scale))
    let sign = value < 0 && whole != 0 ? "-" : ""
    guard digits > 0 else { return "\(sign)\(whole)" }
    let zeros = String(repeating: "0", count: digits - part.count)
    return "\(sign)\(whole / Int(scale)).\(zeros)\(part)"
  }

  /// A number with about three significant digits.
  static func short(_ value: Double) -> String {
    guard value.isFinite, value != 0 else { return fixed(value, 0) }
    switch value.magnitude {
    case 100...999_999: return fixed(value, 0)
    case 10..<100: return fixed(value, 1)
    case 1..<10: return fixed(value, 2)
    case 0.001..<1: return fixed(value, value.magnitude < 0.01 ? 5 : value.magnitude < 0.1 ? 4 : 3)
    default: return scientific(value)
    }
  }

  /// A duration: `0.84 s`, or `4:05` from one minute on.
  static func seconds(_ seconds: Double) -> String {
    guard seconds >= 60 else { return "\(fixed(seconds, seconds < 10 ? 2 : 1)) s" }
    let whole = Int(seconds)
    return "\(whole / 60):\(whole % 60 < 10 ? "0" : "")\(whole % 60)"
  }

  private static func scientific(_ value: Double) -> String {
    var exponent = 0
    var mantissa = value
    while mantissa.magnitude >= 10 { (mantissa, exponent) = (mantissa / 10, exponent + 1) }
    while mantissa.magnitude < 1 { (mantissa, exponent) = (mantissa * 10, exponent - 1) }
    return "\(fixed(mantissa, 2))e\(exponent)"
  }

  private static func scaled(_ count: Int, _ units: [String]) -> String {
    guard count >= 1000 else { return "\(count) \(units[0])" }
    var value = Double(count)
    var unit = 0
    while value >= 999.5 && unit < units.count - 1 { (value, unit) = (value / 1000, unit + 1) }
    return "\(fixed(value, value < 9.995 ? 2 : value < 99.95 ? 1 : 0)) \(units[unit])"
  }
}

extension String {
  fileprivate var trimmingTrailingSpace: String { hasSuffix(" ") ? String(dropLast()) : self }
}
