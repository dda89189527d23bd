internal import TensorModel

/// Attributes, items and slices of values.
extension TemplateEvaluator {
  /// What `value.name` is: a method or an attribute of Python, or else an item.
  func attribute(
    _ name: String, of value: TemplateValue, _ line: Int
  ) throws(ModelError) -> TemplateValue {
    if let found = try ownAttribute(name, of: value, line) { return found }
    if case .dictionary(let dictionary) = value, let found = dictionary[name] { return found }
    return .undefined("\(value.kind).\(name)")
  }

  /// What `value[key]` is: an item, or else an attribute.
  func item(
    _ key: TemplateValue, of value: TemplateValue, _ line: Int
  ) throws(ModelError) -> TemplateValue {
    switch value {
    case .dictionary(let dictionary):
      if let found = dictionary[key] { return found }
    case .list(let list), .tuple(let list):
      if let found = Self.element(list.values, key) { return found }
    case .view(let view) where view.kind == .range:
      if let found = Self.element(view.values.values, key) { return found }
    case .text(let text):
      try charge(text.utf8.count, line)
      if key.integer != nil {
        let scalars = text.unicodeScalars.map { TemplateValue.text(String($0)) }
        if let found = Self.element(scalars, key) { return found }
      }
    case .undefined: throw Self.undefined(value, line)
    default: break
    }
    if let name = key.text, let found = try ownAttribute(name, of: value, line) { return found }
    return .undefined("an item of \(value.kind)")
  }

  /// The error for the use of something that is missing.
  static func undefined(_ value: TemplateValue, _ line: Int) -> ModelError {
    TemplateFault.malformed("the chat template uses something undefined", line, found: value.kind)
  }

  private static func element(_ values: [TemplateValue], _ key: TemplateValue) -> TemplateValue? {
    guard let number = key.integer else { return nil }
    let index = number < 0 ? number + values.count : number
    return values.indices.contains(index) ? values[index] : nil
  }

  private func ownAttribute(
    _ name: String, of value: TemplateValue, _ line: Int
  ) throws(ModelError) -> TemplateValue? {
    switch value {
    case .undefined: throw Self.undefined(value, line)
    case .namespace(let namespace): return namespace.members[name]
    case .loop(let state):
      if let found = try attribute(name, of: state, line) { return found }
    default: break
    }
    if TemplateMethods.names(of: value).contains(name) {
      return .function(.method(value, name))
    }
    guard !name.hasPrefix("__"), !TemplateMethods.unknownNames(of: value).contains(name) else {
      throw TemplateFault.unsupported(
        "Pleat does not know this attribute of \(value.kind)", line, found: name)
    }
    return nil
  }

  // MARK: - Slices

  func slice(
    _ expression: TemplateExpression, _ bounds: [TemplateExpression?], _ scope: TemplateScope,
    _ line: Int
  ) throws(ModelError) -> TemplateValue {
    let value = try evaluate(expression, scope)
    var numbers: [Int?] = []
    for bound in bounds {
      let number = try bound.map { (bound) throws(ModelError) in try evaluate(bound, scope) }
      switch number {
      case nil, .some(.none): numbers.append(nil)
      case let number?:
        guard let integer = number.integer else {
          throw TemplateFault.malformed(
            "the bound of a slice is not an integer", line, found: number.kind)
        }
        numbers.append(integer)
      }
    }
    numbers += [Int?](repeating: nil, count: 3 - numbers.count)
    func part<Element>(_ values: [Element]) throws(ModelError) -> [Element] {
      try charge(values.count, line)
      guard let indices = Self.indices(numbers, values.count) else {
        throw TemplateFault.malformed("the step of a slice is 0", line)
      }
      return indices.map { values[$0] }
    }
    switch value {
    case .list(let list): return .list(try part(list.values))
    case .tuple(let list): return .tuple(TemplateList(try part(list.values)))
    case .text(let text):
      return .text(String(try part(Array(text.unicodeScalars))[...]))
    case .undefined: throw Self.undefined(value, line)
    default:
      throw TemplateFault.unsupported("Pleat does not slice this value", line, found: value.kind)
    }
  }

  /// The indices of a slice of Python; nil for a step of 0.
  private static func indices(_ bounds: [Int?], _ count: Int) -> StrideTo<Int>? {
    let step = bounds[2] ?? 1
    guard step != 0 else { return nil }
    let (lowest, highest) = step > 0 ? (0, count) : (-1, count - 1)
    func bound(_ value: Int?, _ missing: Int) -> Int {
      guard let value else { return missing }
      return min(max(value < 0 ? value &+ count : value, lowest), highest)
    }
    let start = bound(bounds[0], step > 0 ? lowest : highest)
    let end = bound(bounds[1], step > 0 ? highest : lowest)
    return stride(from: start, to: end, by: step)
  }
}
