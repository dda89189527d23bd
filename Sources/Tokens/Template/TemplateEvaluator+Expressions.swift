internal import TensorModel

extension TemplateEvaluator {
  /// The value of an expression.
  func evaluate(
    _ expression: TemplateExpression, _ scope: TemplateScope
  ) throws(ModelError) -> TemplateValue {
    let line = expression.line
    try charge(16, line)
    switch expression.kind {
    case .literal(let value): return value
    case .name(let name): return scope[name] ?? .undefined(name)
    default:
      let value = try deeper(line) { () throws(ModelError) in try compute(expression, scope) }
      return try checked(value, line)
    }
  }

  private func compute(
    _ expression: TemplateExpression, _ scope: TemplateScope
  ) throws(ModelError) -> TemplateValue {
    switch expression.kind {
    case .literal, .name: try evaluate(expression, scope)
    case .list(let parts): .list(try evaluate(parts, scope))
    case .tuple(let parts): .tuple(TemplateList(try evaluate(parts, scope)))
    case .dictionary(let parts): try dictionary(parts, scope)
    case .attribute(let value, let name):
      try attribute(name, of: try evaluate(value, scope), expression.line)
    case .item(let value, let key):
      try item(try evaluate(key, scope), of: try evaluate(value, scope), expression.line)
    case .slice(let value, let bounds): try slice(value, bounds, scope, expression.line)
    case .call(let callee, let arguments):
      try call(try evaluate(callee, scope), arguments, scope, expression.line)
    case .filter(let value, let filter):
      try apply(filter, to: try evaluate(value, scope), scope, expression.line)
    case .test(let value, let test):
      .bool(
        try isTrue(
          test.name, try evaluate(value, scope),
          try evaluate(test.arguments, scope, named: test.name, expression.line), expression.line))
    default: try computeOperation(expression, scope)
    }
  }

  private func computeOperation(
    _ expression: TemplateExpression, _ scope: TemplateScope
  ) throws(ModelError) -> TemplateValue {
    let line = expression.line
    switch expression.kind {
    case .negative(let inner):
      return try TemplateOperators.negative(try evaluate(inner, scope), line)
    case .positive(let inner):
      return try TemplateOperators.positive(try evaluate(inner, scope), line)
    case .not(let inner): return .bool(!(try evaluate(inner, scope).isTrue))
    case .binary(let operation, let left, let right):
      return try binary(operation, try evaluate(left, scope), try evaluate(right, scope), line)
    case .joined(let parts):
      var text = ""
      for part in parts {
        let more = try string(try evaluate(part, scope), line)
        try charge(more.utf8.count, line)
        text += more
      }
      return .text(text)
    case .comparison(let first, let others): return try compare(first, others, scope, line)
    case .and(let left, let right):
      let first = try evaluate(left, scope)
      return first.isTrue ? try evaluate(right, scope) : first
    case .or(let left, let right):
      let first = try evaluate(left, scope)
      return first.isTrue ? first : try evaluate(right, scope)
    case .conditional(let condition, let value, let other):
      if try evaluate(condition, scope).isTrue { return try evaluate(value, scope) }
      return try other.map { (other) throws(ModelError) in try evaluate(other, scope) }
        ?? .undefined("an expression without else")
    default: throw TemplateFault.unsupported("Pleat does not know this expression", line)
    }
  }

  private func evaluate(
    _ parts: [TemplateExpression], _ scope: TemplateScope
  ) throws(ModelError) -> [TemplateValue] {
    var values: [TemplateValue] = []
    for part in parts { values.append(try evaluate(part, scope)) }
    return values
  }

  private func dictionary(
    _ parts: [TemplateExpression], _ scope: TemplateScope
  ) throws(ModelError) -> TemplateValue {
    var result = TemplateDictionary()
    for index in stride(from: 0, to: parts.count - 1, by: 2) {
      let key = try evaluate(parts[index], scope)
      guard key.isKey else {
        throw TemplateFault.malformed(
          "this value cannot be a key", parts[index].line, found: key.kind)
      }
      result.set(key, try evaluate(parts[index + 1], scope))
    }
    return .dictionary(result)
  }

  private func compare(
    _ first: TemplateExpression, _ others: [(operation: String, value: TemplateExpression)],
    _ scope: TemplateScope, _ line: Int
  ) throws(ModelError) -> TemplateValue {
    var left = try evaluate(first, scope)
    for (operation, expression) in others {
      let right = try evaluate(expression, scope)
      guard try TemplateOperators.compare(operation, left, right, line) else {
        return .bool(false)
      }
      left = right
    }
    return .bool(true)
  }

  private func binary(
    _ operation: String, _ left: TemplateValue, _ right: TemplateValue, _ line: Int
  ) throws(ModelError) -> TemplateValue {
    try charge(TemplateOperators.size(operation, left, right), line)
    return try TemplateOperators.binary(operation, left, right, line)
  }

  /// The values of arguments that have no names.
  ///
  /// Throws `unsupported` for arguments with names.
  func evaluate(
    _ arguments: TemplateArguments, _ scope: TemplateScope, named name: String, _ line: Int
  ) throws(ModelError) -> [TemplateValue] {
    if let first = arguments.named.first {
      throw TemplateFault.unsupported(
        "Pleat does not know this argument of \(name)", line, found: first.name)
    }
    return try evaluate(arguments.values, scope)
  }

  /// The values of arguments in the order of some names; nil for those that are missing.
  func evaluate(
    _ arguments: TemplateArguments, _ scope: TemplateScope, as names: [String], of name: String,
    _ line: Int
  ) throws(ModelError) -> [TemplateValue?] {
    guard arguments.values.count <= names.count else {
      throw TemplateFault.malformed("\(name) has too many arguments", line)
    }
    var values: [TemplateValue?] = try evaluate(arguments.values, scope)
    values += [TemplateValue?](repeating: nil, count: names.count - values.count)
    for argument in arguments.named {
      guard let index = names.firstIndex(of: argument.name) else {
        throw TemplateFault.unsupported(
          "Pleat does not know this argument of \(name)", line, found: argument.name)
      }
      guard values[index] == nil else {
        throw TemplateFault.malformed("\(name) has an argument twice", line, found: argument.name)
      }
      values[index] = try evaluate(argument.value, scope)
    }
    return values
  }

  // MARK: - Calls

  private func call(
    _ callee: TemplateValue, _ arguments: TemplateArguments, _ scope: TemplateScope, _ line: Int
  ) throws(ModelError) -> TemplateValue {
    guard case .function(let function) = callee else {
      throw TemplateFault.malformed("this value is not a function", line, found: callee.kind)
    }
    switch function {
    case .macro(let closure): return try call(closure, arguments, scope, line)
    case .method(let receiver, let name):
      let values = try evaluate(
        arguments, scope, as: TemplateMethods.parameters(of: name), of: name, line)
      return try method(name, of: receiver, values, line)
    case .raiseException:
      let values = try evaluate(arguments, scope, as: ["message"], of: "raise_exception", line)
      throw TemplateFault.refusal(try string(values[0] ?? .none, line), line)
    case .namespace, .dictionary: return try members(function, arguments, scope, line)
    case .range:
      return try range(try evaluate(arguments, scope, named: "range", line), line)
    case .date(let date):
      let values = try evaluate(arguments, scope, as: ["format"], of: "strftime_now", line)
      guard case .text(let format) = values[0] else {
        throw TemplateFault.malformed(
          "strftime_now needs a text", line, found: values[0]?.kind ?? "nothing")
      }
      guard let date else { throw TemplateFault.missingDate(line) }
      let text = try date.formatted(format, line)
      try charge(text.utf8.count, line)
      return .text(text)
    case .unknown(let name):
      throw TemplateFault.unsupported(
        "Pleat does not have this function of chat templates", line, found: name)
    }
  }

  private func members(
    _ function: TemplateFunction, _ arguments: TemplateArguments, _ scope: TemplateScope,
    _ line: Int
  ) throws(ModelError) -> TemplateValue {
    var members = TemplateDictionary()
    for argument in try evaluate(arguments.values, scope) {
      guard case .dictionary(let others) = argument, arguments.values.count == 1 else {
        throw TemplateFault.unsupported(
          "Pleat makes namespaces and dictionaries only of names and dictionaries", line,
          found: argument.kind)
      }
      members = others
    }
    for (name, value) in arguments.named {
      members.set(.text(name), try evaluate(value, scope))
    }
    guard case .namespace = function else { return .dictionary(members) }
    guard members.keys.allSatisfy({ $0.text.map { !$0.hasPrefix("_") } ?? false }) else {
      throw TemplateFault.malformed("a namespace has a name that begins with _", line)
    }
    try charge(256, line)
    return .namespace(namespace(members))
  }

  private func range(
    _ arguments: [TemplateValue], _ line: Int
  ) throws(ModelError) -> TemplateValue {
    let bounds = arguments.compactMap(\.integer)
    guard bounds.count == arguments.count, (1...3).contains(bounds.count) else {
      throw TemplateFault.malformed("range needs one to three integers", line)
    }
    let (start, end) = bounds.count == 1 ? (0, bounds[0]) : (bounds[0], bounds[1])
    let step = bounds.count == 3 ? bounds[2] : 1
    let limit = 100_000
    let isSmall = [start, end, step].allSatisfy { $0.magnitude < 1 << 32 }
    guard step != 0, isSmall, (end - start) / step <= limit else {
      throw TemplateFault.malformed(
        "a range has more than \(limit) numbers", line, found: "\(start) to \(end)")
    }
    let numbers = stride(from: start, to: end, by: step).map { TemplateValue.integer($0) }
    try charge(numbers.count, line)
    return .view(TemplateView(.range, numbers))
  }

  private func call(
    _ closure: TemplateClosure, _ arguments: TemplateArguments, _ scope: TemplateScope,
    _ line: Int
  ) throws(ModelError) -> TemplateValue {
    let macro = closure.macro
    let values = try evaluate(
      arguments, scope, as: macro.parameters.map(\.name), of: macro.name, line)
    let inner = TemplateScope(in: closure.scope)
    for (parameter, value) in zip(macro.parameters, values) {
      if let value {
        inner[parameter.name] = value
      } else if let usual = parameter.value {
        inner[parameter.name] = try evaluate(usual, inner)
      } else {
        inner[parameter.name] = .undefined(parameter.name)
      }
    }
    return .text(try text(of: macro.body, inner, macro.line))
  }
}
