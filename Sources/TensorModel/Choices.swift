extension Array where Element: CustomStringConvertible {
  /// The elements as choices in a sentence: `2, 3 or 4`.
  package var choices: String {
    guard let last, count > 1 else { return map(\.description).joined() }
    return dropLast().map(\.description).joined(separator: ", ") + " or \(last)"
  }
}
