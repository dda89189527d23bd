import Bytes
import TensorModel
import TestSupport
import Testing

@Suite struct JSONWriterTests {
  static let texts: [(JSONValue, String)] = [
    (.null, "null"), (true, "true"), (false, "false"), (0, "0"), (-12, "-12"),
    (.integer(.max), "9223372036854775807"), (.number(1.5), "1.5"), (.number(1), "1.0"),
    (.number(-0.0), "-0.0"), (.number(0.1), "0.1"), (.number(.infinity), "null"),
    (.number(-.infinity), "null"), (.number(.nan), "null"), ("", #""""#), ("a/b", #""a/b""#),
    ("ü漢😀\u{7F}", "\"ü漢😀\u{7F}\""), ("\"\\\n\r\t", #""\"\\\n\r\t""#),
    ("\0\u{1}\u{1f}", #""\u0000\u0001\u001f""#), ([], "[]"), ([:], "{}"),
    ([1, "a", [2]], #"[1,"a",[2]]"#), (["b": 1, "a": [:]], #"{"b":1,"a":{}}"#),
  ]

  @Test("each value has exactly one text", arguments: texts)
  func writing(value: JSONValue, text: String) {
    #expect(JSONWriter.text(value) == text)
  }

  @Test("a writer that only counts finds the length of the text, also of what was taken")
  func counting() {
    var (text, length) = (JSONWriter(), JSONWriter(countingOnly: true))
    func write(_ body: (inout JSONWriter) -> Void) {
      body(&text)
      body(&length)
      #expect(length.byteCount == text.byteCount)
    }
    for (value, _) in Self.texts { write { $0.write(value) } }
    for power in 0..<19 {
      let count = (0..<power).reduce(1) { product, _ in product * 10 }
      write { $0.write(count: count) }
      write { $0.write(count: count - 1) }
    }
    write { $0.write(count: .max) }
    var taken = 0
    text.take { taken = $0.count }
    #expect(taken == length.byteCount && text.byteCount == taken)
  }

  @Test("indented text breaks objects and arrays, but not arrays of integers") func indentation() {
    let value: JSONValue = [
      "shape": [2, 3], "empty": [:], "none": [], "list": [["x": true], "y"], "last": .null,
    ]
    let expected = """
      {
        "shape": [2, 3],
        "empty": {},
        "none": [],
        "list": [
          {
            "x": true
          },
          "y"
        ],
        "last": null
      }
      """
    #expect(JSONWriter.text(value, indentation: 2) == expected)
  }

  /// A random value of any kind; values are smaller at deeper levels.
  private func value(_ random: inout Seeded, depth: Int = 0) -> JSONValue {
    switch random.below(depth > 3 ? 6 : 8) {
    case 0: return .null
    case 1: return .bool(random.below(2) == 1)
    case 2: return .integer(Int64(truncatingIfNeeded: random.next()))
    case 3: return .number(Double(Float(bitPattern: UInt32(random.below(0x7F80_0000)))))
    case 4:
      let number = Double(bitPattern: random.next())
      return .number(number.isFinite ? number : 0.5)
    case 5:
      let scalars: [Unicode.Scalar] = [
        "a", "\"", "\\", "\n", "\u{1}", "é", "漢", "😀", "/", "\u{7F}",
      ]
      return .string(
        (0..<random.below(6)).map { _ in String(scalars[random.below(scalars.count)]) }.joined())
    case 6: return .array((0..<random.below(4)).map { _ in value(&random, depth: depth + 1) })
    default:
      return .object(
        (0..<random.below(4)).map { .init("k\($0)", value(&random, depth: depth + 1)) })
    }
  }

  @Test("written text is read back as the same value, on one line or many (seed 11)")
  func roundTrip() throws {
    var random = Seeded(11)
    for round in 0..<1000 {
      let value = value(&random)
      for indentation in [nil, 0, 2] {
        let text = JSONWriter.text(value, indentation: indentation)
        let again = try JSONParser.parse(Array(text.utf8), file: "text.json")
        #expect(again == value, "round \(round): \(text)")
        #expect(JSONWriter.text(again, indentation: indentation) == text, "round \(round)")
        var scanner = try JSONScanner(
          Array(text.utf8), file: "", offset: 0, limits: ReadLimits())
        try scanner.skip()
        try scanner.end()
      }
    }
  }
}
