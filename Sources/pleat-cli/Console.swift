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
    for line in lines() {
      text += line.utf8
      text.append(UInt8(ascii: "\n"))
      guard text.count >= Self.bufferByteCount else { continue }
      Terminal.write(text, to: 1)
      text.removeAll(keepingCapacity: true)
    }
    Terminal.write(text, to: 1)
  }

  /// Prints a result: the document in JSON mode, else the lines.
  func print(_ lines: @autoclosure () -> [String], json: @autoclosure () -> JSONValue) {
    if mode == .json {
      return Self.write(JSONWriter.text(json(), indentation: 2, escapingControls: true), to: 1)
    }
    print(lines())
  }

  /// Prints something that the user should know, which is no error.
  func note(_ text: String) {
    guard mode != .quiet else { return }
    Self.write("\(style.warning("note:")) \(text.escaped)", to: 2)
  }

  /// Prints an error with everything that is known about it.
  static func printError(_ error: ModelError) {
    let style = Style(isOn: Terminal.showsColor(2))
    let place = [error.file, error.tensor].compactMap { $0?.escaped }.filter { !$0.isEmpty }
      .joined(separator: ": ")
    let at = error.offset.map { " at byte \($0)" } ?? ""
    write(
      "\(style.failure("error:")) \(place.isEmpty ? "" : place + ": ")\(error.what.escaped)\(at)",
      to: 2)
    let facts = [("expected", error.expected), ("found", error.found)].compactMap { name, text in
      text.map { "\(name) \($0.escaped)" }
    }
    if !facts.isEmpty { write("  " + facts.joined(separator: ", "), to: 2) }
    if let hint = error.hint { write("  hint: \(hint.escaped)", to: 2) }
  }

  /// Prints what is wrong with a command line.
  static func printError(usage message: String, help: String) {
    let style = Style(isOn: Terminal.showsColor(2))
    let text = message.hasPrefix("Error: ") ? String(message.dropFirst(7)) : message
    write("\(style.failure("error:")) \(text)", to: 2)
    write("  hint: see '\(help)'", to: 2)
  }

  /// Writes a line to a descriptor.
  static func write(_ line: String, to descriptor: Int32, ending: String = "\n") {
    Terminal.write(Array((line + ending).utf8), to: descriptor)
  }
}

extension String {
  /// The text with control characters, as file names may hold them, written as escapes.
  var escaped: String {
    guard !utf8.allSatisfy({ 0x20..<0x7F ~= $0 }),
      unicodeScalars.contains(where: \.isTerminalControl)
    else { return self }
    return unicodeScalars.map {
      $0.isTerminalControl ? "\\u{\(String($0.value, radix: 16))}" : String($0)
    }.joined()
  }
}
