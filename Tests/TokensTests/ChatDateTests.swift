import TensorModel
import TestSupport
import Testing
import Tokens

/// Dates in chat templates.
@Suite struct ChatDateTests {
  private func render(_ template: String, _ date: String?) throws -> String {
    try ChatTemplate(template).render(
      messages: [("user", "Hi")], addGenerationPrompt: true,
      date: date.map { try TemplateDate($0) })
  }

  // What Python's strftime writes.
  private static let texts = [
    ("1000-01-07", "Tue Tuesday Jan January 07  7 01 00 1000 007 2 2 7 7 1 0 7"),
    ("1999-12-31", "Fri Friday Dec December 31 31 12 99 1999 365 5 5 31 31 12 99 365"),
    ("2000-01-01", "Sat Saturday Jan January 01  1 01 00 2000 001 6 6 1 1 1 0 1"),
    ("2009-05-03", "Sun Sunday May May 03  3 05 09 2009 123 7 0 3 3 5 9 123"),
    ("2024-02-29", "Thu Thursday Feb February 29 29 02 24 2024 060 4 4 29 29 2 24 60"),
    ("2026-11-30", "Mon Monday Nov November 30 30 11 26 2026 334 1 1 30 30 11 26 334"),
    ("2100-03-01", "Mon Monday Mar March 01  1 03 00 2100 060 1 1 1 1 3 0 60"),
    ("9999-12-31", "Fri Friday Dec December 31 31 12 99 9999 365 5 5 31 31 12 99 365"),
  ]

  @Test("every part of a date is that of Python", arguments: texts)
  func parts(date: String, text: String) throws {
    let format = "%a %A %b %B %d %e %m %y %Y %j %u %w %-d %-e %-m %-y %-j"
    #expect(try render("{{ strftime_now('\(format)') }}", date) == text)
    #expect(
      try render("{{ strftime_now('%F %h 100%%') }}", "2009-05-03") == "2009-05-03 May 100%")
    #expect(try render("{{ strftime_now('%D') }}", "2009-05-03") == "05/03/09")
  }

  @Test("text around a date stays, and a template may ask whether there are dates")
  func around() throws {
    let template =
      "{% if strftime_now is defined %}{% set d = strftime_now('é %d %b') %}[{{ d }}]{% endif %}"
    #expect(try render(template, "2026-07-26") == "[é 26 Jul]")
  }

  @Test(
    "other directives are refused by name",
    arguments: ["%H", "%M:%S", "%Z", "%-a", "%", "%-", "%Ey", "%é"])
  func unknown(format: String) throws {
    let template = "\n{{ strftime_now('\(format)') }}"
    let error = #expect(throws: ModelError.self) { try render(template, "2026-07-26") }
    #expect(error?.kind == .unsupported && error?.tensor == "chat_template, line 2")
    #expect(format.hasPrefix(error?.found ?? "x"))
  }

  @Test("a template that writes the date needs one") func missing() throws {
    let error = #expect(throws: ModelError.self) { try render("{{ strftime_now('%Y') }}", nil) }
    #expect(error?.kind == .usage && error?.tensor == "chat_template, line 1")
    #expect(error?.hint?.contains("--date") == true && error?.hint?.contains("--raw") == true)
    for call in ["strftime_now()", "strftime_now(1)"] {
      let error = #expect(throws: ModelError.self) { try render("{{ \(call) }}", "2026-07-26") }
      #expect(error?.kind == .malformed)
    }
  }

  @Test(
    "what is no day is refused",
    arguments: [
      "", "2026", "2026-1-1", "2026-02-29", "2100-02-29", "2026-04-31", "2026-00-10", "2026-13-01",
      "2026-01-00", "0999-01-01", "-026-01-01", "+026-01-01", "2026-01-01 ", "٢٠٢٦-01-01",
      "2026-01-1x", "20260-1-01",
    ])
  func invalid(text: String) {
    let error = #expect(throws: ModelError.self) { try TemplateDate(text) }
    #expect(error?.kind == .usage && error?.found == text)
  }
}
