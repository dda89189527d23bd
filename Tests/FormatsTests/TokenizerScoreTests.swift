import Formats
import Testing

@Suite("Scores of tokens")
struct TokenizerScoreTests {
  /// Numbers as tokenizers 0.23 reads and prints them: `Tokenizer.from_str(…).to_str()`.
  static let numbers: [(text: String, value: Double)] = [
    ("-12.992228507995605", -12.992228507995604),
    ("-7.8649187088012695", -7.864918708801269),
    ("-3.2856366634368896", -3.2856366634368896),
    ("-10", -10), ("0", 0), ("0.1", 0.1), ("-1.5E+2", -150), ("1e23", 1e23),
    ("9007199254740993", 9007199254740992),
    ("1.7976931348623157e308", .greatestFiniteMagnitude), ("1e-400", 0),
    ("-8.1234567890123456789012", -8.123456789012346),
    ("123456789012345678901234567890", 1.2345678901234568e29),
    ("18446744073709551616.75", 18446744073709551616),
    ("3.00000000000000000000001", 3),
    ("0.00000000000000000000000000000123", 1.2299999999999999e-30),
  ]

  @Test("are rounded twice", arguments: numbers)
  func values(text: String, value: Double) {
    #expect(Double(roundedTwice: text.utf8) == value)
  }

  @Test(
    "are finite numbers",
    arguments: ["1e309", "123e400", "true", "null", "\"1\"", "[1]", "{}"])
  func others(text: String) { #expect(Double(roundedTwice: text.utf8) == nil) }
}
