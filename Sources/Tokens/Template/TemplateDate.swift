package import TensorModel

/// A day of the Gregorian calendar, which templates write as the current date.
package struct TemplateDate: Sendable, Hashable {
  private let year: Int
  private let month: Int  // 1 to 12
  private let day: Int  // 1 to 31

  private static let months = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
  ]
  private static let weekdays = [
    "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday",
  ]

  /// Reads a day of the years 1000 to 9999, such as `2026-11-30`.
  ///
  /// Throws `usage` for anything else.
  package init(_ text: String) throws(ModelError) {
    let parts = text.split(separator: "-", omittingEmptySubsequences: false)
    let isPlain = text.utf8.allSatisfy {
      UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 || $0 == UInt8(ascii: "-")
    }
    let numbers = parts.compactMap { Int($0) }
    guard isPlain, parts.map(\.count) == [4, 2, 2], numbers.count == 3, numbers[0] >= 1000,
      1...12 ~= numbers[1], 1...Self.dayCount(ofMonth: numbers[1], numbers[0]) ~= numbers[2]
    else {
      throw ModelError(
        .usage, "this is not a day", expected: "a date such as 2026-11-30", found: text)
    }
    (year, month, day) = (numbers[0], numbers[1], numbers[2])
  }

  private static func dayCount(ofMonth month: Int, _ year: Int) -> Int {
    let isLeap = year.isMultiple(of: 4) && (!year.isMultiple(of: 100) || year.isMultiple(of: 400))
    switch month {
    case 2: return isLeap ? 29 : 28
    case 4, 6, 9, 11: return 30
    default: return 31
    }
  }

  /// The day of the year, from 1.
  private var dayOfYear: Int {
    (1..<month).reduce(day) { $0 + Self.dayCount(ofMonth: $1, year) }
  }

  /// The day of the week, from 0 for Sunday.
  ///
  /// The first day of the year 1 is a Monday.
  private var weekday: Int {
    let past = year - 1
    return (365 * past + past / 4 - past / 100 + past / 400 + dayOfYear) % 7
  }

  /// The text of a format as `strftime` of C writes it in the locale C, as far as it is about days.
  ///
  /// Throws `unsupported` for other directives, such as those of the time of day.
  func formatted(_ format: String, _ line: Int) throws(ModelError) -> String {
    var text = ""
    var rest = format[...]
    while let percent = rest.firstIndex(of: "%") {
      text += rest[..<percent]
      rest = rest[rest.index(after: percent)...]
      // A hyphen leaves out zeros and spaces before a number.
      let isBare = rest.first == "-"
      if isBare { rest.removeFirst() }
      let letter = rest.popFirst()
      guard let part = letter.flatMap({ part($0, isBare: isBare) }) else {
        throw TemplateFault.unsupported(
          "Pleat does not write this part of a date", line,
          found: "%" + (isBare ? "-" : "") + (letter.map(String.init) ?? ""))
      }
      text += part
    }
    return text + rest
  }

  private func part(_ letter: Character, isBare: Bool) -> String? {
    func number(_ value: Int, _ width: Int, _ padding: Character = "0") -> String {
      let digits = "\(value)"
      let missing = isBare ? 0 : max(0, width - digits.count)
      return String(repeating: padding, count: missing) + digits
    }
    switch letter {
    case "d": return number(day, 2)
    case "e": return number(day, 2, " ")
    case "m": return number(month, 2)
    case "y": return number(year % 100, 2)
    case "Y": return number(year, 4)
    case "j": return number(dayOfYear, 3)
    case "w": return number(weekday, 1)
    case "u": return number(weekday == 0 ? 7 : weekday, 1)
    case _ where isBare: return nil
    case "a": return String(Self.weekdays[weekday].prefix(3))
    case "A": return Self.weekdays[weekday]
    case "b", "h": return String(Self.months[month - 1].prefix(3))
    case "B": return Self.months[month - 1]
    case "F": return "\(number(year, 4))-\(number(month, 2))-\(number(day, 2))"
    case "D": return "\(number(month, 2))/\(number(day, 2))/\(number(year % 100, 2))"
    case "%": return "%"
    default: return nil
    }
  }
}
