internal import TensorModel

/// Runs the statements of a template.
///
/// A template is text from a file: what it may do is bounded by a number of steps, and by how deep
/// values and calls may be inside each other.
final class TemplateEvaluator {
  /// How statements end.
  enum Flow {
    case usual
    case stop
    case next
  }

  /// Bytes of texts, items of lists, and expressions, which count as 16, that may be computed.
  private static let workLimit = 1 << 27
  /// How many expressions, statements and macros may be inside each other.
  private static let depthLimit = 250
  /// How many lists and dictionaries may be inside each other.
  private static let valueDepthLimit = 50

  private var output = ""
  private var work = 0
  private var depth = 0
  /// The scopes that macros refer to.
  private var scopes: [TemplateScope] = []
  private var namespaces: [TemplateNamespace] = []

  /// The text that a template writes with some variables.
  ///
  /// Throws `usage` if the template refuses its messages, `malformed` for what Jinja refuses, too,
  /// `unsupported` for what Pleat does not compute, and `limit` for too much work.
  static func text(
    of statements: [TemplateStatement], _ variables: [(String, TemplateValue)],
    date: TemplateDate?
  ) throws(ModelError) -> String {
    let evaluator = TemplateEvaluator()
    // Macros and namespaces can refer to each other.
    defer {
      for scope in evaluator.scopes { scope.clear() }
      for namespace in evaluator.namespaces { namespace.members = TemplateDictionary() }
    }
    let global = TemplateScope(in: nil)
    for name in ["cycler", "joiner", "lipsum"] {
      global[name] = .function(.unknown(name))
    }
    global["raise_exception"] = .function(.raiseException)
    global["namespace"] = .function(.namespace)
    global["range"] = .function(.range)
    global["dict"] = .function(.dictionary)
    global["strftime_now"] = .function(.date(date))
    for (name, value) in variables { global[name] = value }
    _ = try evaluator.run(statements, TemplateScope(in: global))
    return evaluator.output
  }

  func namespace(_ members: TemplateDictionary) -> TemplateNamespace {
    let namespace = TemplateNamespace()
    namespace.members = members
    namespaces.append(namespace)
    return namespace
  }

  // MARK: - Bounds

  /// Counts work, before it is done.
  func charge(_ amount: Int, _ line: Int) throws(ModelError) {
    let (sum, overflow) = work.addingReportingOverflow(max(amount, 0))
    guard !overflow, sum <= Self.workLimit else {
      throw TemplateFault.limit(
        "the chat template computes too much", line,
        expected: "at most \(Self.workLimit) bytes and items")
    }
    work = sum
  }

  /// Does something that may do the same inside.
  func deeper<Result>(
    _ line: Int, _ body: () throws(ModelError) -> Result
  ) throws(ModelError) -> Result {
    depth += 1
    defer { depth -= 1 }
    guard depth <= Self.depthLimit else {
      throw TemplateFault.limit(
        "the chat template is nested too deep", line, expected: "at most \(Self.depthLimit) levels")
    }
    return try body()
  }

  /// The value, if it is not too deep.
  func checked(_ value: TemplateValue, _ line: Int) throws(ModelError) -> TemplateValue {
    guard value.depth <= Self.valueDepthLimit else {
      throw TemplateFault.limit(
        "a list of the chat template is too deep", line,
        expected: "at most \(Self.valueDepthLimit) levels")
    }
    return value
  }

  // MARK: - Statements

  /// The text that statements write in a scope of their own.
  func text(
    of statements: [TemplateStatement], _ scope: TemplateScope, _ line: Int
  ) throws(ModelError) -> String {
    let before = output
    output = ""
    defer { output = before }
    _ = try deeper(line) { () throws(ModelError) in try run(statements, scope) }
    return output
  }

  private func write(_ text: String, _ line: Int) throws(ModelError) {
    try charge(text.utf8.count, line)
    output += text
  }

  func run(
    _ statements: [TemplateStatement], _ scope: TemplateScope
  ) throws(ModelError) -> Flow {
    for statement in statements {
      let flow = try run(statement, scope)
      guard case .usual = flow else { return flow }
    }
    return .usual
  }

  private func run(
    _ statement: TemplateStatement, _ scope: TemplateScope
  ) throws(ModelError) -> Flow {
    switch statement {
    case .text(let text): try write(text, 1)
    case .output(let expression): try runOutput(expression, scope)
    case .choice(let branches, let otherwise): return try choose(branches, otherwise, scope)
    case .loop(let loop):
      try deeper(loop.line) { () throws(ModelError) in try run(loop, scope) }
    case .set(let target, let expression):
      try assign(try evaluate(expression, scope), to: target, scope, expression.line)
    case .setText(let target, let filters, let body, let line):
      var value = TemplateValue.text(try text(of: body, TemplateScope(in: scope), line))
      for filter in filters { value = try apply(filter, to: value, scope, line) }
      try assign(value, to: target, scope, line)
    case .macro(let macro):
      scopes.append(scope)
      scope[macro.name] = .function(.macro(TemplateClosure(macro, scope)))
    case .scope(let body, let line):
      let inner = TemplateScope(in: scope)
      _ = try deeper(line) { () throws(ModelError) in try run(body, inner) }
    case .stop: return .stop
    case .next: return .next
    }
    return .usual
  }

  private func runOutput(
    _ expression: TemplateExpression, _ scope: TemplateScope
  ) throws(ModelError) {
    var expression = expression
    // Nothing is escaped, so a text that is written is safe as it is.
    while case .filter(let inner, let call) = expression.kind, call.name == "safe",
      call.arguments.values.isEmpty, call.arguments.named.isEmpty
    {
      expression = inner
    }
    let value = try evaluate(expression, scope)
    try write(try string(value, expression.line), expression.line)
  }

  /// The text of a value.
  func string(_ value: TemplateValue, _ line: Int) throws(ModelError) -> String {
    guard let text = value.string else {
      throw TemplateFault.unsupported(
        "Pleat does not write this value as text", line, found: value.kind)
    }
    return text
  }

  private func choose(
    _ branches: [(condition: TemplateExpression, body: [TemplateStatement])],
    _ otherwise: [TemplateStatement], _ scope: TemplateScope
  ) throws(ModelError) -> Flow {
    for branch in branches where try evaluate(branch.condition, scope).isTrue {
      return try deeper(branch.condition.line) { () throws(ModelError) in
        try run(branch.body, scope)
      }
    }
    return try run(otherwise, scope)
  }

  private func run(_ loop: TemplateLoop, _ scope: TemplateScope) throws(ModelError) {
    let values = try values(of: try evaluate(loop.sequence, scope), loop.line)
    let state = TemplateLoopState(values, loop, scope)
    while let value = try next(state) {
      let inner = TemplateScope(in: scope)
      inner["loop"] = .loop(state)
      try assign(value, to: loop.target, inner, loop.line)
      try charge(64, loop.line)
      if case .stop = try run(loop.body, inner) { return }
    }
    if state.index < 0 { _ = try run(loop.otherwise, TemplateScope(in: scope)) }
  }

  func assign(
    _ value: TemplateValue, to target: TemplateTarget, _ scope: TemplateScope, _ line: Int
  ) throws(ModelError) {
    switch target {
    case .name(let name): scope[name] = value
    case .attribute(let name, let attribute):
      guard case .namespace(let namespace) = scope[name], !attribute.hasPrefix("_") else {
        throw TemplateFault.malformed(
          "only a namespace has attributes that can be set", line, found: "\(name).\(attribute)")
      }
      namespace.members[attribute] = value
    case .tuple(let targets):
      let parts = try values(of: value, line)
      guard parts.count == targets.count else {
        throw TemplateFault.malformed(
          "as many values as names are needed", line,
          found: "\(parts.count) values for \(targets.count) names")
      }
      for (part, target) in zip(parts, targets) { try assign(part, to: target, scope, line) }
    }
  }

  /// The values that Python iterates over.
  func values(of value: TemplateValue, _ line: Int) throws(ModelError) -> [TemplateValue] {
    switch value {
    case .undefined: return []
    case .list(let list), .tuple(let list): return list.values
    case .dictionary(let dictionary): return dictionary.keys
    case .text(let text):
      try charge(text.utf8.count, line)
      return text.unicodeScalars.map { .text(String($0)) }
    case .view(let view):
      if let values = view.take() { return values }
      throw TemplateFault.unsupported("Pleat uses an iterator only once", line)
    case .none, .bool, .integer, .number, .namespace, .function, .loop:
      throw TemplateFault.malformed("this value has no items", line, found: value.kind)
    }
  }
}
