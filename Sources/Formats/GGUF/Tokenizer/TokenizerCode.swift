internal import Bytes
internal import TensorModel

/// The Python file with the class of a tokenizer, which is read as text and never run.
struct TokenizerCode {
  /// The name of the class; nil if no file states it.
  private(set) var className: String?
  /// The name of the file; nil if there is none.
  private(set) var file: String?
  /// The text of the file; empty if there is none.
  private(set) var text = ""
  /// The pattern by which the class splits text; nil if there is none that can be read.
  private(set) var pattern: String?

  /// Finds the file that tokenizer_config.json names, or else the only one.
  ///
  /// Throws what reading throws, and `malformed` for a file that is not UTF-8.
  init(_ companions: CompanionReader, _ configuration: JSONValue) throws(ModelError) {
    let entry = configuration["auto_map"]?["AutoTokenizer"]
    let names = entry?.string.map { [$0] } ?? (entry?.array ?? []).compactMap(\.string)
    // `module.Class`, perhaps after the name of a repository and `--`.
    let parts = names.first?.split(separator: ".").map(String.init) ?? []
    className = configuration["tokenizer_class"]?.string ?? parts.last
    let files = companions.names.filter { $0.hasPrefix("tokenization") && $0.hasSuffix(".py") }
    if parts.count > 1, let module = parts[parts.count - 2].split(separator: "-").last {
      file = files.first { $0 == module + ".py" }
    } else if files.count == 1 {
      file = files[0]
    }
    guard let file, let text = try companions.text(of: file) else { return }
    self.text = text
    pattern = Self.pattern(in: text)
  }

  /// The pattern that the file of the class states, or else that of published models.
  ///
  /// `vocabulary` is the name of the file with the tokens, for messages.
  func splitting(
    _ known: TiktokenClass?, _ config: JSONValue, vocabulary: String
  ) -> Result<String, ModelError> {
    if let pattern { return .success(pattern) }
    let type = config["model_type"]?.string ?? ""
    if file == nil, let usual = known?.usual, type.hasPrefix(usual.modelType) {
      return .success(usual.pattern)
    }
    return .failure(
      ModelError(
        .unsupported, "no file states how the tokenizer splits text", file: vocabulary,
        expected: "tokenization_….py with PAT_STR or pat_str",
        found: file.map { "\($0) without a text that can be read" }
          ?? "the class \(className ?? "unknown") of a model of type \(type)",
        hint: "pass --tokenizer-pre NAME if llama.cpp's NAME splits text the same way; or "
          + GGUFTokenizer.donorHint))
  }

  /// The texts in quotation marks that look like special tokens, such as `<|pad|>`.
  var markedTexts: Set<ExactName> {
    let marks = [UInt8(ascii: "\""), UInt8(ascii: "'")]
    var found: Set<ExactName> = []
    var rest = text.utf8[...]
    while let mark = rest.popFirst() {
      guard marks.contains(mark), rest.first == UInt8(ascii: "<") else { continue }
      let literal = rest.prefix { $0 != mark && $0 > UInt8(ascii: " ") }
      if literal.last == UInt8(ascii: ">"), rest.dropFirst(literal.count).first == mark {
        found.insert(ExactName(String(Substring(literal))))
      }
    }
    return found
  }

  // MARK: - Patterns

  private static let variables = ["PAT_STR", "pat_str"]

  /// The value of `PAT_STR` or `pat_str`; nil unless all assignments have the same known value.
  static func pattern(in text: String) -> String? {
    var found: Set<ExactName> = []
    var rest = Substring(text).utf8
    while let start = rest.firstIndex(where: { $0 != UInt8(ascii: " ") }) {
      rest = rest[start...]
      for variable in variables where rest.starts(with: variable.utf8) {
        var scanner = PythonText(rest.dropFirst(variable.utf8.count))
        guard scanner.takesAssignment(), !scanner.names(variables) else { continue }
        guard let value = scanner.text(), scanner.endsLine() else { return nil }
        found.insert(ExactName(value))
      }
      guard let end = rest.firstIndex(of: UInt8(ascii: "\n")) else { break }
      rest = rest[rest.index(after: end)...]
    }
    return found.count == 1 ? found.first?.text : nil
  }
}

/// Text literals of Python, and texts that are joined with `join`.
private struct PythonText {
  private var rest: Substring.UTF8View

  init(_ rest: Substring.UTF8View) { self.rest = rest }

  /// Skips the rest of an assignment up to its value; returns whether there is one.
  mutating func takesAssignment() -> Bool {
    skipSpaces()
    if take(":") {
      // A type, such as `str`.
      rest = rest.drop { $0 != UInt8(ascii: "=") && $0 != UInt8(ascii: "\n") }
    }
    guard take("="), rest.first != UInt8(ascii: "=") else { return false }
    skipSpaces()
    return true
  }

  /// Whether the value is another variable with one of these names, as in a call.
  func names(_ variables: [String]) -> Bool {
    variables.contains { rest.starts(with: $0.utf8) || rest.starts(with: "self.\($0)".utf8) }
  }

  /// Whether nothing but a comment follows in the line.
  mutating func endsLine() -> Bool {
    skipSpaces()
    return rest.isEmpty || ["\n", "\r", "#"].contains { rest.starts(with: $0.utf8) }
  }

  /// The value of literals in a row, in parentheses or not, or of `"…".join([…])`; nil for others.
  mutating func text() -> String? {
    skipSpaces()
    if take("(") {
      guard let value = literals(acrossLines: true), take(")") else { return nil }
      return value
    }
    guard let first = literals(acrossLines: false) else { return nil }
    guard take(".join(") else { return first }
    skipLines()
    guard take("[") else { return nil }
    var values: [String] = []
    skipLines()
    while !take("]") {
      guard let value = literals(acrossLines: true) else { return nil }
      values.append(value)
      guard take(",") || rest.first == UInt8(ascii: "]") else { return nil }
      skipLines()
    }
    skipLines()
    guard take(")") else { return nil }
    return values.joined(separator: first)
  }

  /// The joined value of one literal or several in a row.
  private mutating func literals(acrossLines: Bool) -> String? {
    var value: String?
    func skip(_ scanner: inout PythonText) {
      if acrossLines { scanner.skipLines() } else { scanner.skipSpaces() }
    }
    skip(&self)
    while ["r", "R", "\"", "'"].contains(where: { rest.starts(with: $0.utf8) }) {
      guard let next = literal() else { return nil }
      value = (value ?? "") + next
      skip(&self)
    }
    return value
  }

  private mutating func literal() -> String? {
    let isRaw = take("r") || take("R")
    guard let mark = ["\"\"\"", "'''", "\"", "'"].first(where: { take($0) }) else { return nil }
    var bytes: [UInt8] = []
    while !take(mark) {
      guard let byte = rest.popFirst(), mark.utf8.count == 3 || byte != UInt8(ascii: "\n") else {
        return nil
      }
      bytes.append(byte)
      guard byte == UInt8(ascii: "\\") else { continue }
      guard let next = rest.popFirst() else { return nil }
      // A backslash of a raw literal stays, and so does what follows. In others, two stand for one.
      if isRaw {
        bytes.append(next)
      } else if next != byte {
        return nil
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  private mutating func take(_ text: String) -> Bool {
    guard rest.starts(with: text.utf8) else { return false }
    rest = rest.dropFirst(text.utf8.count)
    return true
  }

  private mutating func skipSpaces() {
    rest = rest.drop { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
  }

  /// Skips spaces, ends of lines and comments.
  private mutating func skipLines() {
    while let first = rest.first, " \t\r\n#".utf8.contains(first) {
      rest =
        first == UInt8(ascii: "#") ? rest.drop { $0 != UInt8(ascii: "\n") } : rest.dropFirst()
    }
  }
}
