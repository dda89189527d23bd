internal import Pleat

/// The one place that prints: results to standard output, everything else to standard error.
struct Console {
  /// How results are shown.
  enum Mode {
    case text
    case json
    case quiet
  }

  private static let bufferByteCount = 1 << 16

  let mode: Mode
  let isVerbose: Bool
  let style: Style

  /// Prints lines of a result for people.
  func print(_ lines: @autoclosure () -> [String]) {
    guard mode == .text else { return }
    var text: [UInt8] = []
    for line in lines() { Self.write(line.utf8, after: &text) }
    Self.write(text)
  }

  /// Prints a table, and lines below it.
  func print(_ table: @autoclosure () -> Table, _ lines: [String] = []) {
    guard mode == .text else { return }
    var text: [UInt8] = []
    table().forEachLine { Self.write($0, after: &text) }
    for line in lines { Self.write(line.utf8, after: &text) }
    Self.write(text)
  }

  /// Adds a line to text that is written once it fills a buffer.
  private static func write(_ line: some Collection<UInt8>, after text: inout [UInt8]) {
    text += line
    text.append(UInt8(ascii: "\n"))
    guard text.count >= bufferByteCount else { return }
    write(text)
    text.removeAll(keepingCapacity: true)
  }

  /// Prints a result: the document in JSON mode, else the lines.
  func print(_ lines: @autoclosure () -> [String], json: @autoclosure () -> JSONValue) {
    if mode == .json {
      let text = JSONWriter.text(json(), indentation: 2, escapingControls: true)
      return Self.write(Array((text + "\n").utf8))
    }
    print(lines())
  }

  /// Prints something that the user should know, which is no error.
  func note(_ text: String) {
    guard mode != .quiet else { return }
    Self.complain("\(style.warning("note:")) \(text.escaped)")
  }

  /// Prints an error with everything that is known about it.
  static func printError(_ error: ModelError) {
    let style = Style(isOn: Terminal.showsColor(2))
    let place = [error.file, error.tensor].compactMap { $0?.escaped }.filter { !$0.isEmpty }
      .joined(separator: ": ")
    let at = error.offset.map { " at byte \($0)" } ?? ""
    complain(
      "\(style.failure("error:")) \(place.isEmpty ? "" : place + ": ")\(error.what.escaped)\(at)")
    let facts = [("expected", error.expected), ("found", error.found)].compactMap { name, text in
      text.map { "\(name) \($0.escaped)" }
    }
    if !facts.isEmpty { complain("  " + facts.joined(separator: ", ")) }
    if let hint = error.hint { complain("  hint: \(hint.escaped)") }
  }

  /// Prints what is wrong with a command line.
  static func printError(usage message: String, help: String) {
    let style = Style(isOn: Terminal.showsColor(2))
    let text = message.hasPrefix("Error: ") ? String(message.dropFirst(7)) : message
    complain("\(style.failure("error:")) \(text)")
    complain("  hint: see '\(help)'")
  }

  /// Writes a line to standard error; where that fails there is nobody left to tell.
  static func complain(_ line: String, ending: String = "\n") {
    _ = Terminal.write(Array((line + ending).utf8), to: 2)
  }

  /// Writes a result, or ends the process: whoever asked for it must not take what is there for all.
  private static func write(_ bytes: [UInt8]) {
    guard !Terminal.write(bytes, to: 1) else { return }
    printError(ModelError(.io, "cannot write to standard output"))
    Terminal.exit(ExitStatus.inputOutput.rawValue)
  }

  /// Throws `io` when nobody can read a result, before anything is done for it.
  static func checkOutput() throws(ModelError) {
    guard Terminal.isClosed(1) else { return }
    throw ModelError(
      .io, "nobody reads standard output", hint: "nothing was written; redirect it to /dev/null")
  }
}

extension String {
  /// The text with control characters, as file names may hold them, written as escapes.
  var escaped: String {
    guard !isPrintableASCII, unicodeScalars.contains(where: \.isTerminalControl) else {
      return self
    }
    return unicodeScalars.map {
      $0.isTerminalControl ? "\\u{\(String($0.value, radix: 16))}" : String($0)
    }.joined()
  }
}
