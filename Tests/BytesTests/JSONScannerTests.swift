import Bytes
import TensorModel
import TestSupport
import Testing

@Suite struct JSONScannerTests {
  private func scanner(
    _ text: [UInt8], limits: ReadLimits = ReadLimits()
  ) throws(ModelError) -> JSONScanner {
    try JSONScanner(text, file: "text.json", offset: 100, limits: limits)
  }

  /// The error from skipping a whole text; nil if there is none.
  private func error(skipping text: [UInt8], limits: ReadLimits = ReadLimits()) -> ModelError? {
    Laws.error { () throws(ModelError) in
      var scanner = try scanner(text, limits: limits)
      try scanner.skip()
      try scanner.end()
    }
  }

  @Test(
    "valid JSON is accepted",
    arguments: [
      "{}", "[]", " [ ] ", "\t\r\n{}\n", "0", "-0", "7", "-12", "1.5", "-1.25e3", "1e9", "1E-9",
      "1e+09", "0.0", "0e0", "true", "false", "null", #""""#, #""a""#, #""ü漢😀""#, #""/""#,
      #""\"\\\/\b\f\n\r\t""#, #""\u00e9""#, #""\uD83D\uDE00""#, #""\u0000""#, #""\uFFFF""#,
      #"{"":{"":[{}]}}"#, "[1,[2,[3,{}]],null]", " { \"a\" : [ 1 , 2 ] } ",
      "\"\u{7F}\"", "123456789012345678901234567890",
    ])
  func accepted(text: String) {
    #expect(error(skipping: Array(text.utf8)) == nil)
  }

  @Test(
    "text that is almost JSON is refused",
    arguments: [
      "", " ", "{", "}", "[", "]", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "{\"a\"", "{\"a\":",
      "{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "{,}", "{1:2}", "{a:1}", "{'a':1}", "{\"a\" 1}",
      "{\"a\":}", "'a'", "\"a", "\"\\\"", "\"\\", "\"\\x41\"", "\"\\u12\"", "\"\\u12G4\"",
      "\"\\u+123\"", "\"\\U0041\"", "\"\n\"", "\"\t\"", "\"\u{0}\"", "\"\u{1F}\"", "01", "-01",
      "+1", ".5", "1.", "-", "-.5", "1e", "1e+", "1.e3", "0x10", "1_000", "NaN", "nan", "Infinity",
      "-Infinity", "tru", "True", "nul", "nulll", "1 2", "{} {}", "// c\n1", "/* c */1", "#1",
      "\u{FEFF}{}", "\u{A0}1", "1\u{0}",
      #"{"a":1,"a":2}"#, #"[{"a":1,"b":{},"\u0061":2}]"#,
    ])
  func refused(text: String) {
    #expect(error(skipping: Array(text.utf8))?.kind == .malformed)
  }

  @Test(
    "a lone surrogate is refused, and the message says so",
    arguments: [
      #""\uD800""#, #""\uDC00""#, #""\uD800\uD800""#, #""\uD800\u0041""#, #""\uD800x""#,
      #""\uDBFF\n""#, #""\uDE00\uD83D""#,
    ])
  func surrogates(text: String) {
    let error = error(skipping: Array(text.utf8))
    #expect(error?.kind == .malformed)
    #expect(error?.description.contains("surrogate") == true)
  }

  @Test(
    "bytes that are not UTF-8 are refused at once",
    arguments: [
      [0x22, 0xFF, 0x22], [0x22, 0xC0, 0x80, 0x22], [0x22, 0xED, 0xA0, 0x80, 0x22],
      [0x22, 0xF4, 0x90, 0x80, 0x80, 0x22], [0x22, 0xC3, 0x22], [0x80],
    ] as [[UInt8]])
  func encoding(bytes: [UInt8]) {
    let error = Laws.error { () throws(ModelError) in try scanner(bytes) }
    #expect(error?.kind == .malformed)
    #expect(error?.description.contains("UTF-8") == true)
  }

  @Test(
    "the escapes of a string are resolved",
    arguments: [
      (#""""#, ""), (#""abc""#, "abc"), (#""\"\\\/""#, "\"\\/"),
      (#""\b\f\n\r\t""#, "\u{8}\u{C}\n\r\t"),
      (#""\u0041""#, "A"), (#""\u00e9\u00E9""#, "éé"), (#""e\u0301""#, "e\u{301}"),
      (#""\uD83D\uDE00""#, "😀"), (#""😀\n""#, "😀\n"), (#""\u0000""#, "\0"), (#""漢\u5b57""#, "漢字"),
    ])
  func strings(text: String, expected: String) throws {
    var scanner = try scanner(Array(text.utf8))
    #expect(try Array(scanner.string().utf8) == Array(expected.utf8))
    try scanner.end()
  }

  @Test(
    "non-negative integers are counts",
    arguments: [("0", 0), ("7", 7), (" 42 ", 42), ("9223372036854775807", .max)])
  func counts(text: String, expected: Int) throws {
    var scanner = try scanner(Array(text.utf8))
    #expect(try scanner.count() == expected)
    try scanner.end()
  }

  @Test(
    "text that is not a count is refused",
    arguments: [
      "", "-1", "-0", "+1", "1.0", "1.", "1e3", "1E3", "01", "00", "9223372036854775808",
      "18446744073709551616", "\"1\"", "true", "null", "[1]", "{}", "１",
    ])
  func notCounts(text: String) {
    let error = Laws.error { () throws(ModelError) in
      var scanner = try scanner(Array(text.utf8))
      _ = try scanner.count()
    }
    #expect(error?.kind == .malformed)
  }

  @Test("repeated keys and byte order marks get a next step") func hints() {
    let marked = error(skipping: [0xEF, 0xBB, 0xBF] + Array("{}".utf8))
    #expect(marked?.hint == "save it without a byte order mark")
    #expect(error(skipping: Array(#"{"a":1,"a":2}"#.utf8))?.hint == "remove one of the two")
    #expect(error(skipping: Array("{".utf8))?.hint == nil)
  }

  @Test("the caller sees every key in order, including repeated ones")
  func duplicates() throws {
    var scanner = try scanner(Array(#"{"b":1,"a":2,"b":3,"\u0062":4}"#.utf8))
    var keys: [String] = []
    var values: [Int] = []
    try scanner.object { (scanner, key) throws(ModelError) in
      keys.append(key)
      values.append(try scanner.count())
    }
    #expect(keys == ["b", "a", "b", "b"])
    #expect(values == [1, 2, 3, 4])
  }

  @Test("null() skips null and no other text")
  func null() throws {
    for text in ["", "nul", "0", "\"null\""] {
      var scanner = try scanner(Array(text.utf8))
      let isNull = scanner.null()
      #expect(!isNull, "\(text)")
    }
    var scanner = try scanner(Array(" null ".utf8))
    let isNull = scanner.null()
    #expect(isNull)
    try scanner.end()
  }

  @Test("the raw text of a value is unchanged")
  func rawValue() throws {
    var scanner = try scanner(Array(#" [1, {"a" : "\u0041"} ] , 2"#.utf8))
    #expect(String(decoding: try scanner.rawValue(), as: UTF8.self) == #"[1, {"a" : "\u0041"} ]"#)
  }

  @Test("nesting is limited", arguments: [("[", "]"), ("{\"a\":", "}")])
  func nesting(open: String, close: String) {
    var limits = ReadLimits()
    limits.nesting = 8
    func text(_ depth: Int) -> [UInt8] {
      Array(
        (String(repeating: open, count: depth) + "1" + String(repeating: close, count: depth)).utf8)
    }
    for depth in 0..<8 { #expect(error(skipping: text(depth), limits: limits) == nil) }
    for depth in 9...12 { #expect(error(skipping: text(depth), limits: limits)?.kind == .limit) }
    let endless = Array(String(repeating: open, count: 1_000_000).utf8)
    #expect(error(skipping: endless)?.kind == .limit)
  }

  @Test(
    "an error has the offset in the file",
    arguments: [("[1,x]", 103), ("{\"a\" 1}", 105), ("[", 101)])
  func location(text: String, offset: Int) {
    let error = error(skipping: Array(text.utf8))
    #expect(error?.file == "text.json")
    #expect(error?.offset == offset)
  }

  @Test("a text cut at any byte is refused, and no changed byte traps (seed 5)")
  func mutation() {
    let text = Array(#"{"a":[1,-2.5e3,true,null,"x\u00e9\ud83d\ude00\n"],"b":{"c":{}}}"#.utf8)
    for length in text.indices {
      #expect(error(skipping: Array(text[..<length]))?.kind == .malformed)
    }
    var random = Seeded(5)
    for _ in 0..<2000 {
      var changed = text
      changed[random.below(changed.count)] = UInt8(truncatingIfNeeded: random.next())
      let error = error(skipping: changed)
      #expect(error == nil || error?.kind == .malformed)
    }
  }
}
