import Architectures
import Bytes
import Formats
import TensorModel
import Testing

/// Vocabularies of tiktoken, with the Python files beside them.
@Suite struct TiktokenTests {
  private static let kimi = "TikTokenTokenizer"
  private static let pattern =
    #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"#
    + #"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
  private static let patternLine = "PAT_STR = r\"\"\"\(pattern)\"\"\"\n"

  private static func line(_ token: [UInt8], _ rank: Int) -> String {
    "\(base64(token)) \(rank)\n"
  }

  /// The text in base 64, by its definition.
  private static func base64(_ bytes: [UInt8]) -> String {
    let letters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
    var bits = bytes.flatMap { byte in (0..<8).map { byte >> (7 - UInt8($0)) & 1 } }
    while !bits.count.isMultiple(of: 6) { bits.append(0) }
    let text = stride(from: 0, to: bits.count, by: 6).map { start in
      letters[bits[start..<start + 6].reduce(0) { $0 * 2 + Int($1) }]
    }
    return String(text) + String(repeating: "=", count: (4 - text.count % 4) % 4)
  }

  /// All bytes, then `th` 256 and `the` 257.
  private static let lines =
    (0..<256).map { line([UInt8($0)], $0) }.joined() + line(Array("th".utf8), 256)
    + line(Array("the".utf8), 257)

  private static func tokenizer(
    _ file: String = "tiktoken.model", _ lines: String = lines, className: String? = kimi,
    code: String? = patternLine, configuration: JSONValue = [:], tokenCount: Int = 600
  ) -> SmallTokenizer {
    var settings = configuration.members ?? []
    if let className { settings.append(.init("tokenizer_class", .string(className))) }
    var result = SmallTokenizer().with(file, Array(lines.utf8))
      .with("tokenizer_config.json", .object(settings))
    if let code { result = result.with("tokenization_x.py", Array(code.utf8)) }
    result.tokenCount = tokenCount
    return result
  }

  private static let stated: JSONValue = [
    "added_tokens_decoder": [
      "258": ["content": "[BOS]", "special": true],
      "260": ["content": "<think>", "special": false],
    ]
  ]

  @Test("merges are the last steps that make each token, and reserved tokens get names")
  func reserved() throws {
    let result = try Self.tokenizer(configuration: Self.stated)()
    #expect(result.value("pre") == .text("qwen2") && result.notes.isEmpty)
    #expect(try result.texts("merges") == ["t h", "th e"])
    let texts = try result.texts("tokens")
    #expect(texts[32] == "Ġ" && texts[256...257] == ["th", "the"])
    #expect(
      texts[258...261] == ["[BOS]", "<|reserved_token_259|>", "<think>", "<|reserved_token_261|>"])
    #expect(texts[513] == "<|reserved_token_513|>" && texts[514] == "[PAD514]")
    let kinds = try result.words("token_type")
    #expect(kinds[257...260] == [1, 3, 3, 3] && kinds[513...514] == [3, 5])
  }

  @Test("config.json states special tokens before tokenizer_config.json, as in the converter")
  func specialTokens() throws {
    let settings: JSONValue = Self.stated.overridden(by: ["eos_token": "[BOS]"])
    var tokenizer = Self.tokenizer(configuration: settings)
    tokenizer.config = ["eos_token_id": 260]
    #expect(try tokenizer().value("eos_token_id") == .u32(260))
    tokenizer.config = [:]
    #expect(try tokenizer().value("eos_token_id") == .u32(258))
  }

  private static let extras = #"E = tuple((f"<|extra_{i}|>" for i in range(205)))"# + "\n"
  private static let qwenCode =
    patternLine + extras + #"A, B, C = "<|endoftext|>", "<|im_start|>", '<|im_end|>'"# + "\n"

  @Test("the special tokens of Qwen and HunYuan are those of their classes")
  func listed() throws {
    let qwen = try Self.tokenizer(
      "qwen.tiktoken", className: "QWenTokenizer", code: Self.qwenCode)()
    let texts = try qwen.texts("tokens")
    #expect(texts[258...261] == ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|extra_0|>"])
    #expect(texts[465...466] == ["<|extra_204|>", "[PAD466]"])
    for key in ["bos", "eos", "unknown"] { #expect(qwen.value("\(key)_token_id") == .u32(258)) }

    let code =
      Self.patternLine + Self.extras
      + #"T = ["<|endoftext|>", "<|startoftext|>", "<|bos|>", "<|eos|>", "<|pad|>"]"#
    // Ids are the numbers of lines, and a repeated token is skipped.
    let lines = Self.lines + Self.line(Array("th".utf8), 258) + Self.line(Array("er".utf8), 900)
    var tokenizer = Self.tokenizer("hy.tiktoken", lines, className: "HYTokenizer", code: code)
    tokenizer.config = ["bos_token_id": 1]
    let result = try tokenizer()
    #expect(
      try result.texts("tokens")[257...261] == [
        "the", "er", "<|endoftext|>", "<|startoftext|>", "<|bos|>",
      ])
    #expect(result.value("bos_token_id") == .u32(261))
  }

  @Test(
    "a class with other special tokens is refused, and one whose file is missing",
    arguments: [
      (qwenCode + #"IMAGE = "<img>""#, "<img>"),
      (qwenCode.replacing("205", with: "204"), "<|extra_{i}|>"),
      (qwenCode.replacing("'<|im_end|>'", with: "None"), "<|im_end|>"), (nil, nil),
    ] as [(String?, String?)])
  func otherClasses(_ code: String?, _ token: String?) {
    let error = Self.tokenizer("qwen.tiktoken", className: "QWenTokenizer", code: code).error()
    #expect(error.kind == .unsupported && error.tensor == token)
    #expect(error.hint?.contains("--tokenizer-from") == true)
  }

  @Test(
    "patterns are read from texts of Python",
    arguments: [
      "PAT_STR = r\"\"\"P\"\"\"  # noqa", "    pat_str: str = r'''P'''", "pat_str = ('' r\"P\")",
      "pat_str = \"|\".join(\n  [\n    r\"\"\"A\"\"\",\n    r\"\"\"B\"\"\",  # last\n  ]\n)",
      "PAT_STR = r\"P\"\nx = PAT_STR\npat_str = PAT_STR\n", "pat_str == 1\npat_str = r\"P\"",
      "pat_str = \"E\"",
    ])
  func patterns(_ template: String) throws {
    let parts = Self.pattern.split(separator: "|", maxSplits: 7).map(String.init)
    let (first, second) = (parts[0...6].joined(separator: "|"), parts[7])
    let code =
      template.replacing("E", with: Self.pattern.replacing(#"\"#, with: #"\\"#))
      .replacing("\"P\"", with: "\"\(Self.pattern)\"")
      .replacing("\"\"\"P\"\"\"", with: "\"\"\"\(Self.pattern)\"\"\"")
      .replacing("'''P'''", with: "'''\(Self.pattern)'''")
      .replacing("\"\"\"A\"\"\"", with: "\"\"\"\(first)\"\"\"")
      .replacing("\"\"\"B\"\"\"", with: "\"\"\"\(second)\"\"\"")
    #expect(try Self.tokenizer(code: code)().value("pre") == .text("qwen2"))
  }

  @Test(
    "a pattern that cannot be read, or that differs, needs --tokenizer-pre",
    arguments: [
      "", "PAT_STR = other", "PAT_STR = r\"a\" + x", "PAT_STR = f\"a\"", "PAT_STR = \"\\d\"",
      "PAT_STR = r\"a\"\nPAT_STR = r\"b\"", "PAT_STR = \"|\".join([x])", "PAT_STR = r\"\"\"a",
    ])
  func unreadable(_ code: String) throws {
    var tokenizer = Self.tokenizer(code: code)
    let error = tokenizer.error()
    #expect(error.kind == .unsupported && error.hint?.contains("--tokenizer-pre") == true)
    tokenizer.pre = "qwen2"
    #expect(try tokenizer().value("pre") == .text("qwen2"))
  }

  @Test("without the file of the class, the pattern of Kimi is known, but no other")
  func usualPattern() throws {
    var tokenizer = Self.tokenizer(code: nil)
    tokenizer.config = ["model_type": "kimi_k2"]
    #expect(try tokenizer().value("pre") == .text("kimi-k2"))
    tokenizer.config = ["model_type": "deepseek_v3"]
    #expect(tokenizer.error().found?.contains("deepseek_v3") == true)
  }

  @Test("an unknown class needs tokens in tokenizer_config.json, and a note says so")
  func unknownClass() throws {
    let result = try Self.tokenizer(className: "Other", configuration: Self.stated)()
    #expect(result.notes.count == 1 && result.notes[0].contains("Other"))
    #expect(try result.texts("tokens")[258...261] == ["[BOS]", "[PAD259]", "<think>", "[PAD261]"])
    let error = Self.tokenizer(className: "Other").error()
    #expect(error.kind == .unsupported && "\(error)".contains("tiktoken"))
  }

  private static let damaged: [(lines: String, place: String)] = [
    ("x\n", "line 259"), ("!!!! 258\n", "line 259"), ("dGg 258\n", "line 259"),
    ("dGg= -1\n", "line 259"), ("dGg= 99999999999\n", "line 259"), ("dGg= 258\n", "line 259"),
    (" 258\n", "line 259"), ("ZXI= 257\n", "rank 257"), ("ZXI= 900\n", "rank 258"),
  ]

  @Test("damaged files are refused with the line or the rank")
  func damage() {
    for (lines, place) in Self.damaged.map({ (Self.lines + $0.lines, $0.place) })
      + [(Self.line([65], 0), "byte 0")]
    {
      let error = Self.tokenizer(
        "tiktoken.model", lines, className: "Other",
        configuration: [
          "added_tokens_decoder": ["2000": ["content": "x"]]
        ]
      ).error()
      #expect(error.kind == .malformed && error.tensor == place)
    }
  }

  @Test("the file is also called tokenizer.model, and two files are refused")
  func names() throws {
    let tokenizer = Self.tokenizer("tokenizer.model")
    #expect(try tokenizer().value("model") == .text("gpt2"))
    let error = tokenizer.with("a.tiktoken", Array(Self.lines.utf8)).error()
    #expect(error.kind == .unsupported && error.found == "a.tiktoken, tokenizer.model")
  }

  @Test("a token that merges do not make is noted for pre-tokenizers that apply merges")
  func unmade() throws {
    let lines = Self.lines + Self.line(Array("xyz".utf8), 258)
    let result = try Self.tokenizer("tiktoken.model", lines)()
    #expect(result.notes.count == 1 && result.notes[0].contains("applies merges"))
    #expect(try result.texts("merges") == ["t h", "th e"])
  }
}
