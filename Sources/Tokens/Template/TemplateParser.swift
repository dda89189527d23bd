internal import TensorModel

/// Makes statements of the tokens of a template, by the grammar of Jinja 3.1.
struct TemplateParser {
  private let tokens: [TemplateToken]
  private var index = 0
  private var nesting = 0
  private var isInLoop = false
  private var isInMacro = false

  /// How deep statements, brackets and signs may be inside each other.
  private static let nestingLimit = 50
  /// How many expressions may be inside each other, which also counts sums of many terms.
  private static let depthLimit = 150

  /// The statements of a template.
  ///
  /// Throws `malformed` for a text that is not Jinja, `unsupported` for what Pleat does not
  /// compute, and `limit` for expressions that are too deep.
  static func statements(of text: String) throws(ModelError) -> [TemplateStatement] {
    var parser = TemplateParser(tokens: try TemplateLexer.tokens(of: text))
    return try parser.body(until: [])
  }

  private init(tokens: [TemplateToken]) { self.tokens = tokens }

  // MARK: - Tokens

  var current: TemplateToken { tokens[index] }
  var following: TemplateToken { tokens[min(index + 1, tokens.count - 1)] }
  var line: Int { current.line }

  mutating func advance() { index = min(index + 1, tokens.count - 1) }

  func isAt(_ symbol: String) -> Bool { current.kind == .symbol(symbol) }

  func isAt(name: String) -> Bool { current.kind == .name(name) }

  mutating func take(_ symbol: String) -> Bool {
    guard isAt(symbol) else { return false }
    advance()
    return true
  }

  mutating func take(name: String) -> Bool {
    guard isAt(name: name) else { return false }
    advance()
    return true
  }

  mutating func expect(_ kind: TemplateToken.Kind) throws(ModelError) {
    guard current.kind == kind else {
      throw unexpected(TemplateToken(kind: kind, line: line).phrase)
    }
    advance()
  }

  mutating func expectName() throws(ModelError) -> String {
    guard case .name(let name) = current.kind else { throw unexpected("a name") }
    advance()
    return name
  }

  /// The error for a token that does not belong where it is.
  func unexpected(_ expected: String) -> ModelError {
    var error = TemplateFault.malformed(
      "the chat template is not Jinja", line, found: current.phrase)
    error.expected = expected
    return error
  }

  /// Parses something that may contain itself.
  mutating func nested<Result>(
    _ parse: (inout TemplateParser) throws(ModelError) -> Result
  ) throws(ModelError) -> Result {
    nesting += 1
    defer { nesting -= 1 }
    guard nesting <= Self.nestingLimit else {
      throw TemplateFault.limit(
        "the chat template is nested too deep", line,
        expected: "at most \(Self.nestingLimit) levels")
    }
    return try parse(&self)
  }

  /// An expression that contains others.
  func expression(
    _ kind: TemplateExpression.Kind, _ line: Int, of parts: [TemplateExpression?] = []
  ) throws(ModelError) -> TemplateExpression {
    let depth = 1 + (parts.compactMap { $0?.depth }.max() ?? 0)
    guard depth <= Self.depthLimit else {
      throw TemplateFault.limit(
        "an expression of the chat template is too long", line,
        expected: "at most \(Self.depthLimit) operators")
    }
    return TemplateExpression(kind: kind, line: line, depth: depth)
  }
}

// MARK: - Statements

extension TemplateParser {
  /// Parses statements until a tag with one of some names, which is not read.
  private mutating func body(until ends: [String]) throws(ModelError) -> [TemplateStatement] {
    try nested { (parser) throws(ModelError) in try parser.statements(until: ends) }
  }

  private mutating func statements(until ends: [String]) throws(ModelError) -> [TemplateStatement] {
    var statements: [TemplateStatement] = []
    while true {
      switch current.kind {
      case .text(let text):
        advance()
        statements.append(.text(text))
      case .outputBegin:
        advance()
        statements.append(.output(try tuple()))
        try expect(.outputEnd)
      case .tagBegin:
        if case .name(let name) = following.kind, ends.contains(name) {
          advance()
          return statements
        }
        advance()
        statements.append(try statement())
        try expect(.tagEnd)
      default:
        guard ends.isEmpty else { throw unexpected(ends.joined(separator: " or ")) }
        return statements
      }
    }
  }

  /// Parses the statements after a tag until the tag with a name, which is read, too.
  private mutating func enclosed(by end: String) throws(ModelError) -> [TemplateStatement] {
    try expect(.tagEnd)
    let statements = try body(until: [end])
    try expect(.name(end))
    return statements
  }

  private mutating func statement() throws(ModelError) -> TemplateStatement {
    let line = line
    let name = try expectName()
    switch name {
    case "if": return try choice()
    case "for": return try loop(line)
    case "set": return try assignment(line)
    case "macro": return try macro(line)
    case "generation":
      let outer = isInLoop
      isInLoop = false
      defer { isInLoop = outer }
      return .scope(try enclosed(by: "endgeneration"), line: line)
    case "break", "continue":
      guard isInLoop else {
        throw TemplateFault.malformed("\(name) is outside of a loop", line)
      }
      return name == "break" ? .stop : .next
    default:
      throw TemplateFault.unsupported(
        "Pleat does not know this statement of chat templates", line, found: name)
    }
  }

  private mutating func choice() throws(ModelError) -> TemplateStatement {
    var branches: [(condition: TemplateExpression, body: [TemplateStatement])] = []
    var otherwise: [TemplateStatement] = []
    while true {
      let condition = try tuple(withConditional: false)
      try expect(.tagEnd)
      branches.append((condition, try body(until: ["elif", "else", "endif"])))
      if take(name: "elif") { continue }
      if take(name: "else") {
        otherwise = try enclosed(by: "endif")
      } else {
        try expect(.name("endif"))
      }
      return .choice(branches, otherwise)
    }
  }

  private mutating func loop(_ line: Int) throws(ModelError) -> TemplateStatement {
    let target = try target(endingAt: "in")
    try expect(.name("in"))
    let sequence = try tuple(withConditional: false, endingAt: "recursive")
    let condition = take(name: "if") ? try expression() : nil
    if isAt(name: "recursive") {
      throw TemplateFault.unsupported("Pleat does not know recursive loops", self.line)
    }
    try expect(.tagEnd)
    let outer = isInLoop
    isInLoop = true
    let statements = try body(until: ["endfor", "else"])
    isInLoop = outer
    let otherwise = take(name: "else") ? try enclosed(by: "endfor") : []
    if otherwise.isEmpty, isAt(name: "endfor") { advance() }
    return .loop(
      TemplateLoop(
        target: target, sequence: sequence, condition: condition, body: statements,
        otherwise: otherwise, line: line))
  }

  private mutating func assignment(_ line: Int) throws(ModelError) -> TemplateStatement {
    let target = try target()
    if take("=") { return .set(target, try tuple()) }
    var filters: [TemplateCall] = []
    while take("|") { filters.append(try call()) }
    let outer = isInLoop
    isInLoop = false
    defer { isInLoop = outer }
    return .setText(target, filters, try enclosed(by: "endset"), line: line)
  }

  private mutating func macro(_ line: Int) throws(ModelError) -> TemplateStatement {
    let name = try expectName()
    var parameters: [(name: String, value: TemplateExpression?)] = []
    try expect(.symbol("("))
    while !isAt(")") {
      if !parameters.isEmpty { try expect(.symbol(",")) }
      let parameter = try expectName()
      let value = take("=") ? try expression() : nil
      guard value != nil || parameters.last?.value == nil else { throw unexpected("a value") }
      parameters.append((parameter, value))
    }
    advance()
    let outer = (isInLoop, isInMacro)
    (isInLoop, isInMacro) = (false, true)
    defer { (isInLoop, isInMacro) = outer }
    return .macro(
      TemplateMacro(
        name: name, parameters: parameters, body: try enclosed(by: "endmacro"), line: line))
  }

  /// Whether a name stands for something that Jinja gives to macros, and Pleat does not.
  func isReserved(_ name: String) -> Bool {
    isInMacro && ["caller", "varargs", "kwargs"].contains(name)
  }

  private mutating func target(endingAt end: String? = nil) throws(ModelError) -> TemplateTarget {
    var targets: [TemplateTarget] = []
    while true {
      if let end, !targets.isEmpty, isAt(name: end) { break }
      targets.append(try singleTarget())
      guard take(",") else {
        if targets.count == 1 { return targets[0] }
        break
      }
    }
    return .tuple(targets)
  }

  private mutating func singleTarget() throws(ModelError) -> TemplateTarget {
    if take("(") {
      let target = try nested { (parser) throws(ModelError) in try parser.target() }
      try expect(.symbol(")"))
      return target
    }
    let name = try expectName()
    guard take(".") else { return .name(name) }
    return .attribute(name, try expectName())
  }
}
