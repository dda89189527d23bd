internal import TensorModel

extension TemplateParser {
  /// Parses an expression, or several with commas between them, which are a tuple.
  ///
  /// - Parameters:
  ///   - withConditional: Whether `if` continues an expression.
  ///   - end: A name that ends the tuple.
  ///   - mayBeEmpty: Whether there may be no expression.
  /// - Returns: The expression, or a tuple of several.
  /// - Throws: `malformed`, `unsupported` and `limit`, as for all expressions.
  mutating func tuple(
    withConditional: Bool = true, endingAt end: String? = nil, mayBeEmpty: Bool = false
  ) throws(ModelError) -> TemplateExpression {
    let line = line
    var parts: [TemplateExpression] = []
    var isTuple = false
    while !isTupleEnd(end) {
      parts.append(try expression(withConditional: withConditional))
      guard take(",") else { break }
      isTuple = true
    }
    if !isTuple, let first = parts.first { return first }
    guard isTuple || mayBeEmpty else { throw unexpected("an expression") }
    return try expression(.tuple(parts), line, of: parts)
  }

  private func isTupleEnd(_ end: String?) -> Bool {
    switch current.kind {
    case .outputEnd, .tagEnd, .symbol(")"), .end: true
    case .name(let name): name == end
    default: false
    }
  }

  /// Parses an expression.
  mutating func expression(
    withConditional: Bool = true
  ) throws(ModelError) -> TemplateExpression {
    try nested { (parser) throws(ModelError) in
      withConditional ? try parser.conditional() : try parser.disjunction()
    }
  }

  private mutating func conditional() throws(ModelError) -> TemplateExpression {
    var value = try disjunction()
    while isAt(name: "if") {
      let line = line
      advance()
      let condition = try disjunction()
      let other = take(name: "else") ? try expression() : nil
      value = try expression(
        .conditional(if: condition, then: value, else: other), line,
        of: [condition, value, other])
    }
    return value
  }

  private mutating func disjunction() throws(ModelError) -> TemplateExpression {
    var left = try conjunction()
    while isAt(name: "or") {
      let line = line
      advance()
      let right = try conjunction()
      left = try expression(.or(left, right), line, of: [left, right])
    }
    return left
  }

  private mutating func conjunction() throws(ModelError) -> TemplateExpression {
    var left = try negation()
    while isAt(name: "and") {
      let line = line
      advance()
      let right = try negation()
      left = try expression(.and(left, right), line, of: [left, right])
    }
    return left
  }

  private mutating func negation() throws(ModelError) -> TemplateExpression {
    let line = line
    guard take(name: "not") else { return try comparison() }
    let value = try nested { (parser) throws(ModelError) in try parser.negation() }
    return try expression(.not(value), line, of: [value])
  }

  private static let comparisons = ["==", "!=", "<", "<=", ">", ">="]

  private mutating func comparison() throws(ModelError) -> TemplateExpression {
    let line = line
    let first = try sum()
    var others: [(operation: String, value: TemplateExpression)] = []
    while true {
      var operation: String
      if case .symbol(let symbol) = current.kind, Self.comparisons.contains(symbol) {
        operation = symbol
      } else if isAt(name: "in") {
        operation = "in"
      } else if isAt(name: "not"), following.kind == .name("in") {
        operation = "not in"
        advance()
      } else {
        break
      }
      advance()
      others.append((operation, try sum()))
    }
    guard !others.isEmpty else { return first }
    return try expression(.comparison(first, others), line, of: [first] + others.map(\.value))
  }

  private mutating func sum() throws(ModelError) -> TemplateExpression {
    try operations(["+", "-"]) { (parser) throws(ModelError) in try parser.joined() }
  }

  private mutating func product() throws(ModelError) -> TemplateExpression {
    try operations(["*", "/", "//", "%"]) { (parser) throws(ModelError) in try parser.unary() }
  }

  /// Parses operators of the same rank, the first of which is applied first.
  private mutating func operations(
    _ symbols: [String],
    _ operand: (inout TemplateParser) throws(ModelError) -> TemplateExpression
  ) throws(ModelError) -> TemplateExpression {
    var left = try operand(&self)
    while case .symbol(let symbol) = current.kind, symbols.contains(symbol) {
      let line = line
      advance()
      let right = try operand(&self)
      left = try expression(.binary(symbol, left, right), line, of: [left, right])
    }
    if isAt("**") { throw TemplateFault.unsupported("Pleat does not know powers", line) }
    return left
  }

  private mutating func joined() throws(ModelError) -> TemplateExpression {
    let line = line
    var parts = [try product()]
    while take("~") { parts.append(try product()) }
    return parts.count == 1 ? parts[0] : try expression(.joined(parts), line, of: parts)
  }

  /// Parses a value with signs before it; filters apply to what a sign gives.
  private mutating func unary(withFilters: Bool = true) throws(ModelError) -> TemplateExpression {
    let line = line
    var value: TemplateExpression
    if isAt("-") || isAt("+") {
      let isNegative = take("-")
      if !isNegative { advance() }
      let inner = try nested { (parser) throws(ModelError) in
        try parser.unary(withFilters: false)
      }
      value = try expression(isNegative ? .negative(inner) : .positive(inner), line, of: [inner])
    } else {
      value = try primary()
    }
    value = try postfix(value)
    return withFilters ? try filtered(value) : value
  }

  // MARK: - After a value

  private mutating func postfix(
    _ value: TemplateExpression
  ) throws(ModelError) -> TemplateExpression {
    var value = value
    while true {
      let line = line
      if take(".") {
        if case .integer(let index) = current.kind {
          advance()
          let part = try expression(.literal(.integer(index)), line)
          value = try expression(.item(value, part), line, of: [value, part])
        } else {
          value = try expression(.attribute(value, try expectName()), line, of: [value])
        }
      } else if take("[") {
        value = try subscripted(value, line)
      } else if isAt("(") {
        value = try called(value)
      } else {
        return value
      }
    }
  }

  private mutating func called(
    _ value: TemplateExpression
  ) throws(ModelError) -> TemplateExpression {
    let line = line
    let arguments = try arguments()
    return try expression(
      .call(value, arguments), line,
      of: [value] + arguments.values + arguments.named.map(\.value))
  }

  private mutating func subscripted(
    _ value: TemplateExpression, _ line: Int
  ) throws(ModelError) -> TemplateExpression {
    var bounds: [TemplateExpression?] = []
    var colonCount = 0
    var part: TemplateExpression?
    while !isAt("]") {
      if take(":") {
        bounds.append(part)
        part = nil
        colonCount += 1
      } else if part == nil {
        part = try expression()
      } else {
        throw isAt(",")
          ? TemplateFault.unsupported("Pleat does not know tuples in brackets", line)
          : unexpected("]")
      }
    }
    advance()
    guard colonCount > 0 else {
      guard let part else { throw unexpected("an expression") }
      return try expression(.item(value, part), line, of: [value, part])
    }
    guard colonCount < 3 else {
      throw TemplateFault.malformed("a slice has more than two colons", line)
    }
    bounds.append(part)
    return try expression(.slice(value, bounds), line, of: [value] + bounds)
  }

  private mutating func filtered(
    _ value: TemplateExpression
  ) throws(ModelError) -> TemplateExpression {
    var value = value
    while true {
      let line = line
      if take("|") {
        let call = try call()
        value = try expression(
          .filter(value, call), line,
          of: [value] + call.arguments.values + call.arguments.named.map(\.value))
      } else if take(name: "is") {
        value = try tested(value, line)
      } else if isAt("(") {
        value = try called(value)
      } else {
        return value
      }
    }
  }

  /// Parses the name of a filter and its arguments.
  mutating func call() throws(ModelError) -> TemplateCall {
    var name = try expectName()
    while take(".") { name += "." + (try expectName()) }
    return TemplateCall(name: name, arguments: isAt("(") ? try arguments() : TemplateArguments())
  }

  private mutating func tested(
    _ value: TemplateExpression, _ line: Int
  ) throws(ModelError) -> TemplateExpression {
    let isNegated = take(name: "not")
    let name = try expectName()
    var arguments = TemplateArguments()
    if isAt("(") {
      arguments = try self.arguments()
    } else if startsArgument {
      arguments.values = [try postfix(try primary())]
    }
    let call = TemplateCall(name: name, arguments: arguments)
    let test = try expression(
      .test(value, call), line, of: [value] + arguments.values + arguments.named.map(\.value))
    return isNegated ? try expression(.not(test), line, of: [test]) : test
  }

  /// Whether the argument of a test follows, without brackets.
  private var startsArgument: Bool {
    switch current.kind {
    case .name(let name): !["else", "or", "and"].contains(name)
    case .string, .integer, .number, .symbol("["), .symbol("{"): true
    default: false
    }
  }

  private mutating func arguments() throws(ModelError) -> TemplateArguments {
    var arguments = TemplateArguments()
    try expect(.symbol("("))
    while !isAt(")") {
      if isAt("*") || isAt("**") {
        throw TemplateFault.unsupported("Pleat does not know arguments with stars", line)
      }
      if case .name(let name) = current.kind, following.kind == .symbol("=") {
        advance()
        advance()
        arguments.named.append((name, try expression()))
      } else {
        guard arguments.named.isEmpty else { throw unexpected("an argument with a name") }
        arguments.values.append(try expression())
      }
      guard take(",") else { break }
    }
    try expect(.symbol(")"))
    return arguments
  }

  // MARK: - Values

  private mutating func primary() throws(ModelError) -> TemplateExpression {
    let line = line
    switch current.kind {
    case .name(let name):
      advance()
      return try named(name, line)
    case .string(var text):
      advance()
      while case .string(let more) = current.kind {
        text += more
        advance()
      }
      return try expression(.literal(.text(text)), line)
    case .integer(let value):
      advance()
      return try expression(.literal(.integer(value)), line)
    case .number(let value):
      advance()
      return try expression(.literal(.number(value)), line)
    case .symbol("("):
      advance()
      let value = try nested { (parser) throws(ModelError) in try parser.tuple(mayBeEmpty: true) }
      try expect(.symbol(")"))
      return value
    case .symbol("["):
      advance()
      let parts = try listed(until: "]") { (parser) throws(ModelError) in
        [try parser.expression()]
      }
      return try expression(.list(parts), line, of: parts)
    case .symbol("{"):
      advance()
      let parts = try listed(until: "}") { (parser) throws(ModelError) in
        let key = try parser.expression()
        try parser.expect(.symbol(":"))
        return [key, try parser.expression()]
      }
      return try expression(.dictionary(parts), line, of: parts)
    default: throw unexpected("an expression")
    }
  }

  private func named(_ name: String, _ line: Int) throws(ModelError) -> TemplateExpression {
    switch name {
    case "true", "True": return try expression(.literal(.bool(true)), line)
    case "false", "False": return try expression(.literal(.bool(false)), line)
    case "none", "None": return try expression(.literal(.none), line)
    default:
      guard !isReserved(name) else {
        throw TemplateFault.unsupported(
          "Pleat does not know this variable of macros", line, found: name)
      }
      return try expression(.name(name), line)
    }
  }

  private mutating func listed(
    until end: String,
    _ parse: (inout TemplateParser) throws(ModelError) -> [TemplateExpression]
  ) throws(ModelError) -> [TemplateExpression] {
    var parts: [TemplateExpression] = []
    while !isAt(end) {
      parts += try parse(&self)
      guard take(",") else { break }
    }
    try expect(.symbol(end))
    return parts
  }
}
