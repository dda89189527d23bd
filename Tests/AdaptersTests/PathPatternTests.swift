import Adapters
import Bytes
import TensorModel
import TestSupport
import Testing

/// Patterns of `rank_pattern` match like Python's `re.fullmatch(rf"(.*\.)?({pattern})", path)`.
@Suite struct PathPatternTests {
  private static let path = "model.layers.2.self_attn.q_proj"

  static let matching = [
    "(?:k|q)_proj", "q_pro{1}j", "q_pro{,2}j", "l[a-z]*s.2.*", "layers.[^3-9].*", #"[\w.]+"#,
    #"\D+\.q_proj"#, "(q|k)+_proj", #"(?:[a-z_]+\.)?q_proj"#, "layers.2.(self_attn.)*?q_proj",
    "[]q]_proj", "[^]]_proj", "[q-]_proj", ".{6}", "(((a|q|_|p|r|o|j)*)*)*", "^model.*$", "q_proj|",
  ]

  static let others = [
    "q_proj{0}", #"layers\.\d{2}\..*"#, "q_proj{", "()", "|k", ".{7}", "^q_proj", "x{1000000}",
  ]

  /// Patterns that take extremely long with backtracking.
  static let endless = [
    "(((.*)*)*)*x", "(a|a|[a-z]|.)*x", "(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)x",
    "((.{1,100}){1,100}){1,100}x", "(.?){1000000}x", "((((.+)+)+)+)+x",
  ]

  private func rankIsFound(_ pattern: String, path: String = path) -> Bool {
    let tensors: [(name: String, shape: [Int])] = [
      ("base_model.model.\(path).lora_A.weight", [5, 16]),
      ("base_model.model.\(path).lora_B.weight", [12, 5]),
    ]
    let config: JSONValue = ["rank_pattern": .object([.init(pattern, 5)])]
    return ToyAdapter.peft(tensors, config).fault == nil
  }

  @Test("patterns that match in Python match", arguments: matching)
  func matches(pattern: String) { #expect(rankIsFound(pattern)) }

  @Test("patterns that do not match in Python do not match", arguments: others + endless)
  func differs(pattern: String) { #expect(!rankIsFound(pattern)) }

  @Test("long paths are matched in a short time", arguments: endless)
  func longPaths(pattern: String) {
    #expect(!rankIsFound(pattern, path: String(repeating: "a", count: 1000)))
    #expect(rankIsFound(pattern, path: String(repeating: "a", count: 999) + "x"))
  }

  @Test(
    "invalid expressions are malformed",
    arguments: ["a{2,1}", "a**", "(a", "a)", "[a", "q\\", "*", "[z-a]", "[]", "(?:"])
  func malformed(pattern: String) { #expect(fault(pattern)?.kind == .malformed) }

  @Test(
    "lookarounds, boundaries, named groups and back references are unsupported",
    arguments: ["(?=q)q_proj", "(?P<n>q)_proj", #"\bq_proj"#, #"(q)\1"#])
  func unsupported(pattern: String) { #expect(fault(pattern)?.kind == .unsupported) }

  @Test("patterns that are too long are refused", arguments: ["(", "a", "(a*)*"])
  func tooLong(piece: String) {
    #expect(fault(String(repeating: piece, count: 50_000))?.kind == .limit)
  }

  private func fault(_ pattern: String) -> ModelError? {
    ToyAdapter.peft([], ["rank_pattern": .object([.init(pattern, 5)])]).fault
  }
}
