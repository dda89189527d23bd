import Bytes
import TensorModel
import TestSupport
import Testing
import Tokens

/// Chat templates, compared with what transformers rendered: `fixtures/golden/templates`.
@Suite struct ChatTemplateTests {
  private typealias Messages = [(role: String, content: String)]

  private static func golden() throws -> JSONValue {
    let path = "golden/templates/cases.json"
    return try JSONParser.parse(Fixtures.bytes(path), file: path)
  }

  private static func messages(_ value: JSONValue?) throws -> Messages {
    try #require(value?.array).map {
      (try #require($0["role"]?.string), try #require($0["content"]?.string))
    }
  }

  private func render(
    _ template: String, _ messages: Messages = [("user", "Hi")], adding: Bool = false,
    _ variables: [String: TemplateValue] = [:]
  ) throws(ModelError) -> String {
    try ChatTemplate(template).render(
      messages: messages, addGenerationPrompt: adding, variables: variables)
  }

  /// Renders and compares with the text, or the error, that a golden case has.
  private func check(
    _ expected: JSONValue, _ template: String, _ messages: Messages, adding: Bool,
    _ variables: [String: TemplateValue]
  ) {
    do {
      let text = try render(template, messages, adding: adding, variables)
      #expect(text.utf8.elementsEqual(expected["text"]?.string?.utf8 ?? "".utf8), "\(expected)")
      #expect(expected["text"] != nil, "\(expected)")
    } catch {
      #expect(expected["text"] == nil, "\(expected): \(error)")
      #expect(error.tensor?.hasPrefix("chat_template, line ") == true)
      let raised = expected["raised"]?.string
      #expect((error.kind == .usage) == (raised != nil), "\(expected): \(error)")
      if let raised { #expect(error.found == raised) }
    }
  }

  @Test("templates in the ways of known families give the texts of transformers")
  func families() throws {
    let golden = try Self.golden()
    let variables = try #require(golden["tokens"]?.members).reduce(
      into: [String: TemplateValue]()
    ) { $0[$1.key] = .text($1.value.string ?? "") }
    let cases = try #require(golden["cases"]?.array)
    #expect(cases.count == 72)
    for expected in cases {
      let template = try #require(
        golden["templates"]?[expected["template"]?.string ?? ""]?.string)
      let messages = try Self.messages(
        golden["conversations"]?[expected["conversation"]?.string ?? ""])
      check(
        expected, template, messages, adding: expected["adding"]?.bool ?? false, variables)
    }
  }

  @Test("every part of Jinja gives the text of transformers, or is refused as there")
  func snippets() throws {
    let golden = try Self.golden()
    let messages = try Self.messages(golden["conversations"]?["turns"])
    let snippets = try #require(golden["snippets"]?.array)
    #expect(snippets.count > 40)
    for expected in snippets {
      check(
        expected, try #require(expected["template"]?.string), messages, adding: false,
        ["bos_token": .text("<s>"), "eos_token": .text("</s>")])
    }
  }

  @Test(
    "what Pleat does not compute is refused by name, with the line",
    arguments: [
      ("\n{{ 'a' | md5 }}", "md5", 2),
      ("{{ 'a' is lowly }}", "lowly", 1), ("\n\n{% include 'x' %}", "include", 3),
      ("{{ 'a'.zfill(3) }}", "zfill", 1), ("{{ [] | tojson(cls=1) }}", "cls", 1),
      ("{% for m in messages %}{{ loop.changed(1) }}{% endfor %}", "loop.changed", 1),
      ("{% macro f() %}{{ caller() }}{% endmacro %}", "caller", 1),
      ("{{ 'a' + ('<' | safe) }}", "safe", 1), ("{{ [] .__class__ }}", "__class__", 1),
      ("{{ '\\N{DASH}' }}", "\\N", 1), ("{{ lipsum() }}", "lipsum", 1),
    ])
  func unknown(template: String, name: String, line: Int) {
    let error = #expect(throws: ModelError.self) { try render(template) }
    #expect(error?.kind == .unsupported)
    #expect(error?.found == name)
    #expect(error?.tensor == "chat_template, line \(line)")
    #expect(error?.hint?.contains("--raw") == true)
  }

  @Test("a part that is not reached may need what Pleat does not know") func unreached() throws {
    let template = "{% if tools %}{{ tools | md5 }}{{ strftime_now('%Y') }}{% endif %}ok"
    #expect(try render(template) == "ok")
  }

  @Test("a template that asks for too much is refused") func limits() {
    let (open, close) = (
      String(repeating: "(", count: 20_000), String(repeating: ")", count: 20_000)
    )
    let templates = [
      String(repeating: "{% if true %}", count: 20_000), "{{ \(open)1\(close) }}",
      "{{ " + String(repeating: "not ", count: 20_000) + "1 }}",
      "{{ 1" + String(repeating: " + 1", count: 20_000) + " }}",
      "{{ x" + String(repeating: ".y", count: 20_000) + " }}", "{{ 'abcdefgh' * 1000000000000 }}",
      "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
      "{% set n = namespace(x=[]) %}{% for i in range(999) %}{% set n.x = [n.x] %}{% endfor %}",
      "{% set n = namespace(x='a') %}{% for i in range(99) %}{% set n.x = n.x * 2 %}{% endfor %}",
      "{% for i in range(9999) %}{% for j in range(9999) %}{{ 1 }}{% endfor %}{% endfor %}",
    ]
    for template in templates {
      let error = #expect(throws: ModelError.self) { try render(template) }
      #expect(error?.kind == .limit, "\(template.prefix(60)): \(error?.description ?? "")")
    }
  }

  @Test("a part of a template never traps") func parts() throws {
    let golden = try Self.golden()
    let templates = try #require(golden["templates"]?.members)
    for template in templates {
      let bytes = Array(try #require(template.value.string).utf8)
      for count in stride(from: 0, to: bytes.count, by: 5) {
        let part = String(decoding: bytes[..<count], as: UTF8.self)
        do { _ = try render(part, [("user", "a"), ("assistant", "b")]) } catch {
          #expect([.malformed, .usage, .unsupported].contains(error.kind), "\(error)")
        }
      }
    }
  }

  @Test("a composed and a decomposed letter differ, and a scalar is a character")
  func scalars() throws {
    #expect(try render("{{ 'é' == 'e\u{301}' }}{{ 'e\u{301}' | length }}") == "False2")
  }
}
