import Bytes
import TensorModel
import TestSupport
import Testing

@Suite struct JSONParserTests {
  private func parse(_ text: String) throws(ModelError) -> JSONValue {
    try JSONParser.parse(Array(text.utf8), file: "text.json")
  }

  static let values: [(String, JSONValue)] = [
    ("null", .null), ("true", true), ("false", false), ("0", 0), ("-7", -7),
    ("9223372036854775807", .integer(.max)), ("-9223372036854775808", .integer(.min)),
    ("1.5", .number(1.5)), ("-1e-3", .number(-0.001)), ("1e3", .number(1000)),
    ("5e-324", .number(.leastNonzeroMagnitude)), (#""""#, ""), (#""ü漢😀""#, "ü漢😀"),
    (#""\u00e9\ud83d\ude00\n\"""#, "é😀\n\""), (#""a\u0000b""#, "a\0b"), ("[]", []),
    ("[1,[2,\"x\"],null]", [1, [2, "x"], .null]), ("{}", [:]),
    (#"{"b":1,"a":{"c":[]}}"#, ["b": 1, "a": ["c": []]]), (" {\n\"a\" : 1 }\n", ["a": 1]),
  ]

  @Test("values are parsed", arguments: values)
  func reading(text: String, value: JSONValue) throws {
    #expect(try parse(text) == value)
  }

  @Test("members keep their order") func order() throws {
    let keys = (0..<100).map { "k\(($0 * 37) % 100)" }
    let text = "{" + keys.map { "\"\($0)\":0" }.joined(separator: ",") + "}"
    #expect(try parse(text).members?.map(\.key) == keys)
  }

  @Test(
    "repeated keys, and keys with U+0000, are refused",
    arguments: [
      #"{"a":1,"b":2,"a":3}"#, #"{"a":1,"\u0061":2}"#, #"[{"x":{"a":1,"a":1}}]"#,
      #"{"a\u0000b":1}"#,
    ])
  func keys(text: String) {
    let error = Laws.error { () throws(ModelError) in try parse(text) }
    #expect(error?.kind == .malformed)
  }

  @Test("keys are compared by their bytes") func exactKeys() throws {
    let value = try parse("{\"\u{e9}\":1,\"e\u{301}\":2}")
    #expect(value.members?.map { Array($0.key.utf8) } == [[0xC3, 0xA9], [0x65, 0xCC, 0x81]])
    #expect(value["\u{e9}"] == 1 && value["e\u{301}"] == 2)
  }

  @Test(
    "an integer that does not fit 64 bits is not clamped",
    arguments: ["9223372036854775808", "18446744073709551616", "-9223372036854775809"])
  func largeIntegers(text: String) throws {
    let value = try? parse(text)
    #expect(value != .integer(.max) && value != .integer(.min))
  }

  @Test(
    "text that is not JSON is refused, and the error names the file",
    arguments: [
      "", " ", "{", "[", "[1,]", "{\"a\":1,}", "{'a':1}", "{a:1}", "01", "+1", ".5", "NaN",
      "Infinity", "-Infinity", "tru", "nulll", "TRUE", "1 2", "{}x", "\"a", "\"\\x\"", "\"\n\"",
      "/* c */ 1", "// c\n1", "[1 2]", "\u{FEFF}{}", "\"\\ud800\"", "1.", "1e", "0x10",
    ])
  func refused(text: String) {
    let error = Laws.error { () throws(ModelError) in try parse(text) }
    #expect(error?.kind == .malformed)
    #expect(error?.file == "text.json")
  }

  @Test("numbers that are not finite are read and written as Python does, on request")
  func nonFinite() throws {
    let text = #"{"a":[1,Infinity,-Infinity,2.5],"b":NaN,"c":18446744073709551616}"#
    let value = try JSONParser.parse(Array(text.utf8), file: "", allowingNonFinite: true)
    #expect(value["a"] == [1, .number(.infinity), .number(-.infinity), .number(2.5)])
    #expect(value["b"]?.double?.isNaN == true)
    #expect(value["c"] == .number(0x1p64))
    let written = JSONWriter.text(value, writingNonFinite: true)
    #expect(written.hasPrefix(#"{"a":[1,Infinity,-Infinity,2.5],"b":NaN,"#))
    #expect(JSONWriter.text(value).hasPrefix(#"{"a":[1,null,null,2.5],"b":null,"#))
    for text in ["infinity", "nan", "Inf", "-NaN", "+Infinity"] {
      let error = Laws.error { () throws(ModelError) in
        try JSONParser.parse(Array(text.utf8), file: "", allowingNonFinite: true)
      }
      #expect(error?.kind == .malformed, "\(text)")
    }
  }

  @Test("bytes that are not UTF-8 are refused") func encoding() {
    let error = Laws.error { () throws(ModelError) in
      try JSONParser.parse([0x22, 0xFF, 0x22], file: "text.json")
    }
    #expect(error?.kind == .malformed)
  }

  @Test("integers of more than 64 bits become floating-point numbers, also in large arrays")
  func wideIntegers() throws {
    let count = 200_000
    let texts = (0..<count).map { "1844674407370955\($0 + 1_000_000)" }
    let values = try #require(try parse("[\(texts.joined(separator: ","))]").array)
    #expect(values.count == count)
    #expect(values.last == texts.last.flatMap(Double.init).map { .number($0) })
  }

  @Test("deep nesting is refused, and does not overflow the stack") func nesting() {
    for open in ["[", "{\"a\":"] {
      let error = Laws.error { () throws(ModelError) in
        try parse(String(repeating: open, count: 100_000))
      }
      #expect(error?.kind == .malformed || error?.kind == .limit)
    }
  }

  @Test("accessors give nil for values of another kind") func access() throws {
    let value = try parse(#"{"s":"x","i":3,"b":true,"a":[1],"o":{}}"#)
    #expect(value["s"]?.string == "x" && value["s"]?.int == nil)
    #expect(value["i"]?.int == 3 && value["i"]?.string == nil)
    #expect(value["b"]?.bool == true && value["b"]?.int == nil)
    #expect(value["a"]?.array == [1] && value["a"]?.members == nil)
    #expect(value["o"]?.members == [] && value["o"]?.array == nil)
    #expect(value["none"] == nil && value["s"]?["x"] == nil)
  }
}
