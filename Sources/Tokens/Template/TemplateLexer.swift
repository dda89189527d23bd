internal import TensorModel

/// Divides a template into tokens, as Jinja does with `trim_blocks` and `lstrip_blocks`.
///
/// So a newline after a tag of a statement or a comment is dropped, and so are spaces between the
/// start of a line and such a tag. A sign `-` drops all white space, `+` keeps it.
struct TemplateLexer {
  private let scalars: [Unicode.Scalar]
  private var position = 0
  private var line = 1
  private var tokens: [TemplateToken] = []

  /// The tokens of a template; the last one is `end`.
  ///
  /// Throws `malformed` for a text that is not Jinja, and `unsupported` for numbers, names and
  /// escapes that Pleat does not read.
  static func tokens(of text: String) throws(ModelError) -> [TemplateToken] {
    var lexer = TemplateLexer(text)
    while lexer.position < lexer.scalars.count { try lexer.readText() }
    lexer.append(.end)
    return lexer.tokens
  }

  /// Jinja reads every kind of newline as `\n`, and drops one at the end of a template.
  private init(_ text: String) {
    var scalars: [Unicode.Scalar] = []
    for scalar in text.unicodeScalars {
      if scalar == "\n", scalars.last == "\r" { scalars.removeLast() }
      scalars.append(scalar)
    }
    for index in scalars.indices where scalars[index] == "\r" { scalars[index] = "\n" }
    if scalars.last == "\n" { scalars.removeLast() }
    self.scalars = scalars
  }

  private mutating func append(_ kind: TemplateToken.Kind) {
    tokens.append(TemplateToken(kind: kind, line: line))
  }

  // MARK: - Moving

  private func scalar(_ offset: Int = 0) -> Unicode.Scalar? {
    position + offset < scalars.count ? scalars[position + offset] : nil
  }

  private func isAt(_ text: String) -> Bool {
    scalars[position...].starts(with: text.unicodeScalars)
  }

  private mutating func advance(_ count: Int) {
    line += scalars[position..<position + count].count { $0 == "\n" }
    position += count
  }

  private mutating func skipSpace() {
    while let next = scalar(), next.isPythonSpace { advance(1) }
  }

  private mutating func take(_ text: String) -> Bool {
    guard isAt(text) else { return false }
    advance(text.unicodeScalars.count)
    return true
  }

  // MARK: - Text

  /// Reads the text before the next tag, and the tag.
  private mutating func readText() throws(ModelError) {
    let tag = (position..<scalars.count - 1).first { index in
      scalars[index] == "{" && ["{", "%", "#"].contains(scalars[index + 1])
    }
    guard let tag else { return appendText(scalars[position...], to: scalars.count) }
    let kind = scalars[tag + 1]
    let sign = tag + 2 < scalars.count ? scalars[tag + 2] : " "
    var text = scalars[position..<tag]
    if sign == "-" {
      while let last = text.last, last.isPythonSpace { text.removeLast() }
    } else if sign != "+", kind != "{" {
      removeIndentation(&text)
    }
    appendText(text, to: tag)
    advance(sign == "-" || sign == "+" ? 3 : 2)
    switch kind {
    case "{":
      append(.outputBegin)
      try readTag(isOutput: true)
    case "#": try skipComment()
    default:
      if try readRaw() { return }
      append(.tagBegin)
      try readTag(isOutput: false)
    }
  }

  private mutating func appendText(_ text: ArraySlice<Unicode.Scalar>, to end: Int) {
    if !text.isEmpty { append(.text(String(text))) }
    advance(end - position)
  }

  /// Removes spaces between the start of the line and a tag.
  private func removeIndentation(_ text: inout ArraySlice<Unicode.Scalar>) {
    let newline = text.lastIndex(of: "\n")
    let startsLine = position == 0 || scalars[position - 1] == "\n"
    guard newline != nil || startsLine else { return }
    let start = newline.map { $0 + 1 } ?? text.startIndex
    if text[start...].allSatisfy(\.isPythonSpace) { text = text[..<start] }
  }

  private mutating func skipComment() throws(ModelError) {
    let (start, first) = (line, position)
    while !isAt("#}") {
      guard position < scalars.count else {
        throw TemplateFault.malformed("a comment has no end", start)
      }
      advance(1)
    }
    let sign = position > first ? scalars[position - 1] : " "
    advance(2)
    endTag(sign)
  }

  /// What follows a tag that ends with a sign.
  private mutating func endTag(_ sign: Unicode.Scalar) {
    if sign == "-" {
      skipSpace()
    } else if sign != "+", scalar() == "\n" {
      advance(1)
    }
  }

  /// Reads text between `raw` and `endraw`; false if the tag is another one.
  private mutating func readRaw() throws(ModelError) -> Bool {
    var ahead = self
    ahead.skipSpace()
    guard ahead.take("raw") else { return false }
    ahead.skipSpace()
    if ahead.take("-%}") {
      ahead.skipSpace()
    } else if !ahead.take("%}") {
      return false
    }
    let start = line
    self = ahead
    let first = position
    while position < scalars.count {
      var end = self
      if end.take("{%") {
        let sign = end.scalar()
        if sign == "-" || sign == "+" { end.advance(1) }
        end.skipSpace()
        if end.take("endraw") {
          end.skipSpace()
          let closing: Unicode.Scalar = end.scalar() ?? " "
          if closing == "-" || closing == "+" { end.advance(1) }
          if end.take("%}") {
            var text = scalars[first..<position]
            if sign == "-" {
              while let last = text.last, last.isPythonSpace { text.removeLast() }
            } else if sign != "+", let newline = text.lastIndex(of: "\n"),
              text[newline...].allSatisfy(\.isPythonSpace)
            {
              text = text[...newline]
            }
            if !text.isEmpty { append(.text(String(text))) }
            end.tokens = tokens
            end.endTag(closing)
            self = end
            return true
          }
        }
      }
      advance(1)
    }
    throw TemplateFault.malformed("raw has no endraw", start)
  }
}

// MARK: - Tags

extension TemplateLexer {
  private static let symbols = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}",
    ">", "<", "=", ".", ":", "|", ",",
  ]
  private static let closing = ["(": ")", "[": "]", "{": "}"]

  private mutating func readTag(isOutput: Bool) throws(ModelError) {
    var open: [String] = []
    let start = line
    while true {
      skipSpace()
      if open.isEmpty, takeEnd(isOutput) { return }
      guard let next = scalar() else {
        throw TemplateFault.malformed("a tag has no end", start)
      }
      if ("0"..."9").contains(next) {
        try readNumber()
      } else if next.isNamePart {
        let first = position
        while let part = scalar(), part.isNamePart { advance(1) }
        append(.name(String(scalars[first..<position])))
      } else if next == "'" || next == "\"" {
        try readString(next)
      } else {
        try readSymbol(&open)
      }
    }
  }

  private mutating func takeEnd(_ isOutput: Bool) -> Bool {
    let end = isOutput ? "}}" : "%}"
    let kind: TemplateToken.Kind = isOutput ? .outputEnd : .tagEnd
    for sign: Unicode.Scalar in ["-", "+", " "] where !(isOutput && sign == "+") {
      guard take((sign == " " ? "" : String(sign)) + end) else { continue }
      append(kind)
      if !isOutput || sign == "-" { endTag(sign) }
      return true
    }
    return false
  }

  private mutating func readSymbol(_ open: inout [String]) throws(ModelError) {
    guard let symbol = Self.symbols.first(where: { isAt($0) }) else {
      let found = scalar().map { String($0) }
      guard let scalar = scalar(), scalar.isASCII else {
        throw TemplateFault.unsupported(
          "Pleat reads only names of ASCII letters in a chat template", line, found: found)
      }
      throw TemplateFault.malformed(
        "a tag has a character that Jinja does not know", line, found: found)
    }
    if let closing = Self.closing[symbol] {
      open.append(closing)
    } else if Self.closing.values.contains(symbol), open.popLast() != symbol {
      throw TemplateFault.malformed("a bracket closes none", line, found: symbol)
    }
    append(.symbol(symbol))
    advance(symbol.unicodeScalars.count)
  }

  private mutating func readNumber() throws(ModelError) {
    let first = position
    let followsDot = first > 0 && scalars[first - 1] == "."
    func isDigit(_ scalar: Unicode.Scalar?) -> Bool { scalar.map { ("0"..."9") ~= $0 } ?? false }
    while isDigit(scalar()) { advance(1) }
    var isInteger = true
    if !followsDot, scalar() == ".", isDigit(scalar(1)) {
      isInteger = false
      advance(1)
      while isDigit(scalar()) { advance(1) }
    }
    if !followsDot, scalar() == "e" || scalar() == "E" {
      let signs = scalar(1) == "+" || scalar(1) == "-" ? 2 : 1
      if isDigit(scalar(signs)) {
        isInteger = false
        advance(signs)
        while isDigit(scalar()) { advance(1) }
      }
    }
    let text = String(scalars[first..<position])
    guard !(scalar()?.isNamePart ?? false) else {
      throw TemplateFault.unsupported(
        "Pleat reads only decimal numbers in a chat template", line, found: text)
    }
    if isInteger, let value = Int(text), text == "0" || text.first != "0" {
      append(.integer(value))
    } else if !isInteger, let value = Double(text) {
      append(.number(value))
    } else {
      throw TemplateFault.unsupported("Pleat does not read this number", line, found: text)
    }
  }

  private mutating func readString(_ quote: Unicode.Scalar) throws(ModelError) {
    let start = line
    advance(1)
    var text = String.UnicodeScalarView()
    while let next = scalar(), next != quote {
      advance(1)
      guard next == "\\" else {
        text.append(next)
        continue
      }
      try readEscape(&text)
    }
    guard scalar() == quote else {
      throw TemplateFault.malformed("a string has no end", start)
    }
    advance(1)
    tokens.append(TemplateToken(kind: .string(String(text)), line: start))
  }

  private static let escapes: [Unicode.Scalar: Unicode.Scalar] = [
    "n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", "\"": "\"", "a": "\u{7}", "b": "\u{8}",
    "f": "\u{C}", "v": "\u{B}",
  ]
  private static let digitCounts: [Unicode.Scalar: Int] = ["x": 2, "u": 4, "U": 8]

  /// Reads what follows a backslash, as Python's codec unicode-escape does.
  private mutating func readEscape(_ text: inout String.UnicodeScalarView) throws(ModelError) {
    guard let kind = scalar() else { return }
    advance(1)
    if let plain = Self.escapes[kind] { return text.append(plain) }
    if kind == "\n" { return }
    if let count = Self.digitCounts[kind] {
      let digits = scalars[position..<min(position + count, scalars.count)]
      guard digits.count == count,
        digits.allSatisfy({ $0.isASCII && $0.properties.isASCIIHexDigit }),
        let code = UInt32(String(digits), radix: 16), let scalar = Unicode.Scalar(code)
      else {
        throw TemplateFault.unsupported("Pleat does not read this escape", line, found: "\\\(kind)")
      }
      advance(count)
      return text.append(scalar)
    }
    guard kind != "N", !("0"..."7").contains(kind) else {
      throw TemplateFault.unsupported("Pleat does not read this escape", line, found: "\\\(kind)")
    }
    text.append("\\")
    text.append(kind)
  }
}

extension String {
  /// The text of scalars.
  init(_ scalars: ArraySlice<Unicode.Scalar>) {
    self = String(String.UnicodeScalarView(scalars))
  }
}

extension Unicode.Scalar {
  /// Whether `str.isspace` of Python is true.
  var isPythonSpace: Bool {
    switch value {
    case 9...13, 28...32, 0x85, 0xA0, 0x1680, 0x2000...0x200A, 0x2028, 0x2029, 0x202F, 0x205F,
      0x3000:
      true
    default: false
    }
  }

  fileprivate var isNamePart: Bool {
    ("a"..."z") ~= self || ("A"..."Z") ~= self || ("0"..."9") ~= self || self == "_"
  }
}
