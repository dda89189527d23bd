extension Unicode.Scalar {
  /// Whether printing the character could move the cursor, change colors or reorder the line.
  public var isTerminalControl: Bool {
    switch properties.generalCategory {
    case .control, .format, .lineSeparator, .paragraphSeparator: true
    default: false
    }
  }
}

extension String {
  /// The text with control characters, which names from files may contain, written as escapes.
  package var escaped: String {
    // Most names are ASCII; the properties of other letters take longer to look up.
    guard !utf8.allSatisfy({ (0x20...0x7e).contains($0) }),
      unicodeScalars.contains(where: \.isTerminalControl)
    else { return self }
    return unicodeScalars.map {
      $0.isTerminalControl ? "\\u{\(String($0.value, radix: 16))}" : String($0)
    }.joined()
  }
}
