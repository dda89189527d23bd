import Formats
import TestSupport
import Testing
import Tokens

/// The scanner finds the words that the patterns themselves match.
@Suite struct WordScannerTests {
  private static let letters = #"\p{L}+"#
  private typealias Known = KnownPreTokenizer
  private static let patterns: [String] = {
    let digits = [#"\p{N}"#, #"\p{N}{1,3}"#, #"\p{N}+"#]
    let words = digits.flatMap { Known.words(letters, $0).flatMap(\.self) }
    let cases = digits.flatMap {
      Known.cases("", $0).flatMap(\.self)
        + Known.cases(Known.contractions + "?", $0).flatMap(\.self)
    }
    return words + cases + [
      PreTokenizer.gpt2Pattern, Known.plainWords, Known.markedWords,
      Known.contractions + "|" + Known.plainWords,
    ]
  }()

  private static let scalars = Array(
    " \n\r\t'sStTreEvVmMlLdDaAbBzZ09.,!?/_-²½Ⅷ٣ǅʰª中가ー\u{301}\u{93F}\u{3000}\u{A0}\u{85}👍ßЖж"
      .unicodeScalars)

  private static func noise(_ seed: UInt64) -> String {
    var state = seed
    func next(_ count: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % count
    }
    var text = String.UnicodeScalarView()
    for _ in 0..<400 { text.append(scalars[next(scalars.count)]) }
    return String(text)
  }

  @Test("words end where the pattern says, in texts of seeds 1 to 5", arguments: patterns)
  func words(pattern: String) throws {
    let scanner = try #require(WordScanner.scanner(for: pattern))
    // Swift knows possessive quantifiers, too.
    let regex = try Regex(pattern).matchingSemantics(.unicodeScalar)
    for seed in UInt64(1)...5 {
      let text = Self.noise(seed)
      let bytes = Array(text.utf8)
      var ends: [Int] = []
      while (ends.last ?? 0) < bytes.count {
        ends.append(scanner.end(of: bytes, from: ends.last ?? 0, limit: bytes.count))
      }
      let expected = text.matches(of: regex).map {
        text.utf8.distance(from: text.startIndex, to: $0.range.upperBound)
      }
      #expect(ends == expected, "seed \(seed)")
    }
  }

  // Swift's patterns do not know it. As in Oniguruma, ſ is a form of s, without regard to case.
  @Test("an ending may be written with a long s, except in GPT-2") func longS() throws {
    let text = Array("'ſabc".utf8)
    for (pattern, end) in [
      (Known.words(Self.letters, #"\p{N}"#)[0][0], 3), (PreTokenizer.gpt2Pattern, 1),
    ] {
      let scanner = try #require(WordScanner.scanner(for: pattern))
      #expect(scanner.end(of: text, from: 0, limit: text.count) == end)
    }
  }

  @Test("other patterns have no scanner") func others() {
    #expect(WordScanner.scanner(for: #"\w+"#) == nil)
  }
}
