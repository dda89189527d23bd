internal import TensorModel

/// The tests of a template, such as `x is defined`.
extension TemplateEvaluator {
  private static let comparisons = [
    "==": "==", "eq": "==", "equalto": "==", "!=": "!=", "ne": "!=", "<": "<", "lt": "<",
    "lessthan": "<", "<=": "<=", "le": "<=", ">": ">", "gt": ">", "greaterthan": ">", ">=": ">=",
    "ge": ">=", "in": "in",
  ]

  /// Whether a value passes a test.
  ///
  /// Throws `unsupported` for tests that Pleat does not know, and `malformed` for wrong arguments.
  func isTrue(
    _ name: String, _ value: TemplateValue, _ arguments: [TemplateValue], _ line: Int
  ) throws(ModelError) -> Bool {
    let comparison = Self.comparisons[name]
    let count = comparison != nil || name == "divisibleby" ? 1 : 0
    guard arguments.count == count else {
      throw TemplateFault.malformed(
        "a test has a wrong number of arguments", line, found: "\(name) with \(arguments.count)")
    }
    if let comparison {
      return try TemplateOperators.compare(comparison, value, arguments[0], line)
    }
    switch name {
    case "odd", "even", "divisibleby":
      guard let number = value.integer, let divisor = count == 1 ? arguments[0].integer : 2,
        divisor != 0
      else { throw TemplateFault.malformed("\(name) needs integers", line, found: value.kind) }
      return (divisor == -1 ? 0 : number % divisor) == 0 ? name != "odd" : name == "odd"
    default:
      guard let result = Self.isKind(name, value) else {
        throw TemplateFault.unsupported(
          "Pleat does not know this test of chat templates", line, found: name)
      }
      return result
    }
  }

  private static func isKind(_ name: String, _ value: TemplateValue) -> Bool? {
    switch (name, value) {
    case ("defined", _): !value.isUndefined
    case ("undefined", _): value.isUndefined
    case ("none", .none), ("string", .text), ("mapping", .dictionary), ("boolean", .bool),
      ("integer", .integer), ("float", .number), ("callable", .function),
      ("callable", .undefined):
      true
    case ("true", .bool(let isTrue)): isTrue
    case ("false", .bool(let isTrue)): !isTrue
    case ("number", .bool), ("number", .integer), ("number", .number): true
    case ("iterable", .none), ("iterable", .bool), ("iterable", .integer), ("iterable", .number),
      ("iterable", .namespace), ("iterable", .function):
      false
    case ("iterable", _): true
    case ("sequence", .undefined), ("sequence", .text), ("sequence", .list), ("sequence", .tuple),
      ("sequence", .dictionary):
      true
    case ("sequence", .view(let view)): view.kind == .range
    case ("none", _), ("string", _), ("mapping", _), ("boolean", _), ("integer", _), ("float", _),
      ("callable", _), ("true", _), ("false", _), ("number", _), ("sequence", _):
      false
    default: nil
    }
  }
}
