import TestSupport
import Testing

/// Tests of the command line by its output.
///
/// A case is a folder in `cases` with a shell script `cmd` and its expected results: `stdout`,
/// `stderr` and `exit`, the status. The script runs in an empty folder with a link to the fixtures.
/// With `PLEAT_RECORD=1` in the environment, results are recorded instead of compared.
@Suite struct CommandTests {
  static let cases = CommandCase.all

  @Test("there are at least 188 cases, each with a script") func presence() {
    #expect(Self.cases.count >= 188)
    for item in Self.cases { #expect(item.hasScript, "\(item.name)") }
  }

  @Test("a case prints what is expected", arguments: cases)
  func text(item: CommandCase) throws {
    let found = try item.run()
    guard !CommandCase.isRecording else { return try item.record(found) }
    #expect(found.status == (try item.expectedStatus()))
    #expect(found.output == (try item.expected("stdout")))
    #expect(found.errors == (try item.expected("stderr")))
  }

  @Test("a case prints the same when it runs again", arguments: cases.prefix(3))
  func repetition(item: CommandCase) throws {
    let (first, second) = (try item.run(), try item.run())
    #expect(first.output == second.output && first.errors == second.errors)
  }

  @Test("results go to standard output, notes and errors to standard error", arguments: cases)
  func streams(item: CommandCase) throws {
    let text = try item.expected("stdout")
    #expect(!text.contains("error:") && !text.contains("note:"))
    let hasFailed = try item.expectedStatus() > 1
    #expect(try item.expected("stderr").contains("error:") == hasFailed)
  }

  static let helpCases = cases.filter { $0.name.hasPrefix("help") }

  @Test("help is at most 80 columns wide, and each example is one line", arguments: helpCases)
  func helpPage(item: CommandCase) throws {
    let lines = try item.expected("stdout").split(
      separator: "\n", omittingEmptySubsequences: false)
    #expect(lines.allSatisfy { $0.count <= 80 })
    let start = try #require(lines.firstIndex(of: "Examples:"))
    let examples = lines[(start + 1)...].prefix { !$0.isEmpty }
    #expect(examples.allSatisfy { $0.hasPrefix("  pleat ") })
  }

  @Test("'pleat help COMMAND' and 'pleat COMMAND --help' print the same page")
  func helpPagesAgree() throws {
    for item in Self.helpCases where item.name.hasSuffix("-option") {
      let other = CommandCase(name: String(item.name.dropLast("-option".count)))
      #expect(try item.expected("stdout") == other.expected("stdout"))
    }
  }
}
