internal import TensorModel

/// The operators of a template, which are those of Python.
enum TemplateOperators {
  static func negative(_ value: TemplateValue, _ line: Int) throws(ModelError) -> TemplateValue {
    if let number = value.integer {
      return try integer(0.subtractingReportingOverflow(number), line)
    }
    if let number = value.number { return .number(-number) }
    throw fault("-", value, value, line)
  }

  static func positive(_ value: TemplateValue, _ line: Int) throws(ModelError) -> TemplateValue {
    if let number = value.integer { return .integer(number) }
    if case .number = value { return value }
    throw fault("+", value, value, line)
  }

  private static func fault(
    _ operation: String, _ left: TemplateValue, _ right: TemplateValue, _ line: Int
  ) -> ModelError {
    for value in [left, right] where value.isUndefined {
      return TemplateEvaluator.undefined(value, line)
    }
    return TemplateFault.malformed(
      "this operator is not for these values", line,
      found: "\(left.kind) \(operation) \(right.kind)")
  }

  private static func integer(
    _ result: (partialValue: Int, overflow: Bool), _ line: Int
  ) throws(ModelError) -> TemplateValue {
    guard !result.overflow else {
      throw TemplateFault.unsupported("Pleat computes only with integers of 64 bits", line)
    }
    return .integer(result.partialValue)
  }

  // MARK: - Arithmetic

  /// How many bytes or items the result has, at most.
  static func size(_ operation: String, _ left: TemplateValue, _ right: TemplateValue) -> Int {
    func size(_ value: TemplateValue) -> Int {
      switch value {
      case .text(let text): text.utf8.count
      case .list(let list), .tuple(let list): list.values.count
      default: 0
      }
    }
    guard operation == "*" else { return operation == "+" ? size(left) + size(right) : 0 }
    let count = max(left.integer ?? 0, right.integer ?? 0)
    let (product, overflow) = max(size(left), size(right)).multipliedReportingOverflow(by: count)
    return overflow ? .max : product
  }

  static func binary(
    _ operation: String, _ left: TemplateValue, _ right: TemplateValue, _ line: Int
  ) throws(ModelError) -> TemplateValue {
    if let first = left.integer, let second = right.integer, operation != "/" {
      return try integers(operation, first, second, line)
    }
    if let first = left.number, let second = right.number {
      return try numbers(operation, first, second, line)
    }
    switch (operation, left, right) {
    case ("+", .text(let first), .text(let second)): return .text(first + second)
    case ("+", .list(let first), .list(let second)):
      return .list(first.values + second.values)
    case ("+", .tuple(let first), .tuple(let second)):
      return .tuple(TemplateList(first.values + second.values))
    case ("*", .text(let text), let count), ("*", let count, .text(let text)):
      guard let count = count.integer else { throw fault(operation, left, right, line) }
      return .text(String(repeating: text, count: max(count, 0)))
    case ("*", .list(let list), let count), ("*", let count, .list(let list)):
      guard let count = count.integer else { throw fault(operation, left, right, line) }
      return .list(Array(repeatElement(list.values, count: max(count, 0)).joined()))
    case ("%", .text, _):
      throw TemplateFault.unsupported("Pleat does not format texts with %", line)
    case ("*", .tuple, _), ("*", _, .tuple):
      throw TemplateFault.unsupported("Pleat does not repeat tuples", line)
    default: throw fault(operation, left, right, line)
    }
  }

  private static func integers(
    _ operation: String, _ left: Int, _ right: Int, _ line: Int
  ) throws(ModelError) -> TemplateValue {
    switch operation {
    case "+": return try integer(left.addingReportingOverflow(right), line)
    case "-": return try integer(left.subtractingReportingOverflow(right), line)
    case "*": return try integer(left.multipliedReportingOverflow(by: right), line)
    default:
      guard right != 0 else { throw TemplateFault.malformed("a division by 0", line) }
      let (quotient, overflow) = left.dividedReportingOverflow(by: right)
      guard !overflow else { return try integer((0, true), line) }
      let rest = left - quotient * right
      let isAbove = rest != 0 && (rest < 0) != (right < 0)
      return .integer(
        operation == "//" ? quotient - (isAbove ? 1 : 0) : isAbove ? rest + right : rest)
    }
  }

  private static func numbers(
    _ operation: String, _ left: Double, _ right: Double, _ line: Int
  ) throws(ModelError) -> TemplateValue {
    switch operation {
    case "+": return .number(left + right)
    case "-": return .number(left - right)
    case "*": return .number(left * right)
    case "/":
      guard right != 0 else { throw TemplateFault.malformed("a division by 0", line) }
      return .number(left / right)
    default:
      throw TemplateFault.unsupported(
        "Pleat knows this operator only for integers", line, found: operation)
    }
  }

  // MARK: - Comparisons

  static func compare(
    _ operation: String, _ left: TemplateValue, _ right: TemplateValue, _ line: Int
  ) throws(ModelError) -> Bool {
    switch operation {
    case "==": return try isEqual(left, right, line)
    case "!=": return !(try isEqual(left, right, line))
    case "in": return try contains(right, left, line)
    case "not in": return !(try contains(right, left, line))
    case "<": return try precedes(operation, left, right, line)
    case ">": return try precedes(operation, right, left, line)
    case "<=":
      if try precedes(operation, left, right, line) { return true }
      return try isEqual(left, right, line)
    default:
      if try precedes(operation, right, left, line) { return true }
      return try isEqual(left, right, line)
    }
  }

  static func isEqual(
    _ left: TemplateValue, _ right: TemplateValue, _ line: Int
  ) throws(ModelError) -> Bool {
    for value in [left, right] {
      switch value {
      case .view(let view) where view.kind == .range: break
      case .view, .function, .loop:
        throw TemplateFault.unsupported(
          "Pleat does not compare this value", line, found: value.kind)
      default: break
      }
    }
    return left.isEqual(to: right)
  }

  private static func precedes(
    _ operation: String, _ left: TemplateValue, _ right: TemplateValue, _ line: Int
  ) throws(ModelError) -> Bool {
    if let first = left.integer, let second = right.integer { return first < second }
    if let first = left.number, let second = right.number { return first < second }
    if let first = left.text, let second = right.text {
      return first.utf8.lexicographicallyPrecedes(second.utf8)
    }
    switch (left, right) {
    case (.list, .list), (.tuple, .tuple):
      throw TemplateFault.unsupported("Pleat does not order lists", line)
    default: throw fault(operation, left, right, line)
    }
  }

  static func contains(
    _ container: TemplateValue, _ value: TemplateValue, _ line: Int
  ) throws(ModelError) -> Bool {
    switch container {
    case .text(let text):
      guard let part = value.text else { throw fault("in", value, container, line) }
      return part.isEmpty || Array(text.utf8).firstRange(of: Array(part.utf8)) != nil
    case .list(let list), .tuple(let list): return list.values.contains { $0.isEqual(to: value) }
    case .dictionary(let dictionary):
      guard value.isKey || value.isUndefined else {
        throw TemplateFault.malformed("this value cannot be a key", line, found: value.kind)
      }
      return dictionary[value] != nil
    case .undefined: return false
    case .view(let view) where view.kind != .stream:
      return view.values.values.contains { $0.isEqual(to: value) }
    default: throw fault("in", value, container, line)
    }
  }
}
