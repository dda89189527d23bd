/// Colors for text, if the output shows them.
struct Style {
  /// Whether escape sequences are written.
  let isOn: Bool

  func failure(_ text: String) -> String { paint(text, "31;1") }
  func warning(_ text: String) -> String { paint(text, "33") }
  func success(_ text: String) -> String { paint(text, "32") }
  func faint(_ text: String) -> String { paint(text, "2") }
  func strong(_ text: String) -> String { paint(text, "1") }

  private func paint(_ text: String, _ code: String) -> String {
    isOn ? "\u{1B}[\(code)m\(text)\u{1B}[0m" : text
  }
}
