import TestSupport
import Testing

/// The program of `examples/swift`, which is built with the command.
@Suite struct ExampleTests {
  private let scratch: Scratch

  init() throws { scratch = try Scratch() }

  @Test("README.md shows the program of examples/swift") func readme() throws {
    let program = try Files.bytes(of: Fixtures.repository + "/examples/swift/main.swift")
    let text = try Files.bytes(of: Fixtures.repository + "/README.md")
    #expect(
      String(decoding: text, as: UTF8.self)
        .contains("```swift\n\(String(decoding: program, as: UTF8.self))```\n"))
  }

  @Test("the program prints what the command prints") func output() throws {
    func run(_ name: String, _ arguments: [String] = []) throws -> String {
      let outcome = try Subprocess.run(
        "\(CommandCase.products)/\(name)", arguments, in: scratch.folder)
      #expect(outcome.status == 0, "\(outcome.errors)")
      return outcome.output
    }
    let model = Fixtures.path("tinylm")
    _ = try run("pleat", ["quantize", model, "--scheme", "minmax", "-o", "tiny.pleat"])
    let text = try run("complete")
    #expect(text.utf8.count > 60)
    #expect(
      try text == run("pleat", ["run", "tiny.pleat", "def main():", "--raw", "--max-tokens", "32"]))
  }
}
