internal import Pleat

/// The only type that prints: results to standard output, everything else to standard error.
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

  /// Prints lines of a result, in text mode only.
  func print(_ lines: @autoclosure () -> [String]) {
    guard mode == .text else { return }
    var text: [UInt8] = []
    for line in lines() { Self.write(line.utf8, after: &text) }
    Self.write(text)
  }

  /// Prints a table and lines below it, in text mode only.
  func print(_ table: @autoclosure () -> Table, _ lines: [String] = []) {
    guard mode == .text else { return }
    var text: [UInt8] = []
    table().forEachLine { Self.write($0, after: &text) }
    for line in lines { Self.write(line.utf8, after: &text) }
    Self.write(text)
  }

  /// Appends a line to `text`, which is written and emptied when it reaches the buffer size.
  private static func write(_ line: some Collection<UInt8>, after text: inout [UInt8]) {
    text += line
    text.append(UInt8(ascii: "\n"))
    guard text.count >= bufferByteCount else { return }
    write(text)
    text.removeAll(keepingCapacity: true)
  }

  /// Prints a result: the document in JSON mode, the lines in text mode.
  func print(_ lines: @autoclosure () -> [String], json: @autoclosure () -> JSONValue) {
    if mode == .json {
      let text = JSONWriter.text(json(), indentation: 2, escapingControls: true)
      return Self.write(Array((text + "\n").utf8))
    }
    print(lines())
  }

  /// Prints a part of a text that is being made, in text mode only.
  func stream(_ bytes: [UInt8]) {
    if mode == .text { Self.write(bytes) }
  }

  /// Prints a note, unless the mode is quiet.
  func note(_ text: String) {
    guard mode != .quiet else { return }
    Self.printToStandardError("\(style.warning("note:")) \(text.escaped)")
  }

  /// Prints an error with all of its fields.
  static func printError(_ error: ModelError) {
    let style = Style(isOn: Terminal.showsColor(2))
    let location = [error.file, error.tensor].compactMap { $0?.escaped }.filter { !$0.isEmpty }
    let clauses = (location + [error.what.escaped]).joined(separator: ": ")
    let offset = error.offset.map { " at byte \($0)" } ?? ""
    printToStandardError("\(style.failure("error:")) \(clauses)\(offset)")
    let facts = [("expected", error.expected), ("found", error.found)].compactMap { name, text in
      text.map { "\(name) \($0.escaped)" }
    }
    if !facts.isEmpty { printToStandardError("  " + facts.joined(separator: ", ")) }
    if let hint = error.hint { printToStandardError("  hint: \(hint.escaped)") }
  }

  /// Prints an error in the command line.
  static func printError(usage message: String, help: String) {
    let style = Style(isOn: Terminal.showsColor(2))
    let text = message.hasPrefix("Error: ") ? String(message.dropFirst(7)) : message
    printToStandardError("\(style.failure("error:")) \(text)")
    printToStandardError("  hint: see '\(help)'")
  }

  /// Writes a line to standard error; a failure is ignored, since it cannot be reported.
  static func printToStandardError(_ line: String, ending: String = "\n") {
    _ = Terminal.write(Array((line + ending).utf8), to: 2)
  }

  /// Writes a result.
  ///
  /// On failure it ends the process with an error, so that no caller takes part of a result for all
  /// of it.
  private static func write(_ bytes: [UInt8]) {
    guard !Terminal.write(bytes, to: 1) else { return }
    printError(ModelError(.io, "cannot write to standard output"))
    Terminal.exit(ExitStatus.inputOutput.rawValue)
  }

  /// Throws `io` if standard output is closed; called before any work is done.
  static func checkOutput() throws(ModelError) {
    guard Terminal.isClosed(1) else { return }
    throw ModelError(
      .io, "standard output is closed",
      hint: "nothing was written; redirect standard output to /dev/null")
  }
}
