internal import TensorModel

/// A value that a template computes with; these are the values of Python that templates use.
package enum TemplateValue {
  /// What is missing, as a phrase for messages.
  case undefined(String)
  case none
  case bool(Bool)
  case integer(Int)
  case number(Double)
  case text(String)
  case list(TemplateList)
  case tuple(TemplateList)
  case dictionary(TemplateDictionary)
  /// What Python computes while it is iterated over.
  case view(TemplateView)
  case namespace(TemplateNamespace)
  case function(TemplateFunction)
  /// The variable `loop`.
  case loop(TemplateLoopState)

  /// A list.
  package static func list(_ values: [TemplateValue]) -> TemplateValue {
    .list(TemplateList(values))
  }
}

/// Several values in order.
package struct TemplateList {
  let values: [TemplateValue]
  /// How many lists and dictionaries are inside each other.
  let depth: Int

  init(_ values: [TemplateValue]) {
    self.values = values
    depth = 1 + (values.lazy.map(\.depth).max() ?? 0)
  }
}

/// Values by keys, in the order of first occurrence.
package struct TemplateDictionary {
  private(set) var keys: [TemplateValue] = []
  private(set) var values: [TemplateValue] = []
  /// How many lists and dictionaries are inside each other.
  private(set) var depth = 1

  /// An empty dictionary.
  package init() {}

  /// The value of a text.
  package subscript(key: String) -> TemplateValue? {
    get { self[.text(key)] }
    set {
      if let newValue { set(.text(key), newValue) }
    }
  }

  subscript(key: TemplateValue) -> TemplateValue? {
    keys.firstIndex { $0.isEqual(to: key) }.map { values[$0] }
  }

  mutating func set(_ key: TemplateValue, _ value: TemplateValue) {
    depth = max(depth, 1 + max(key.depth, value.depth))
    if let index = keys.firstIndex(where: { $0.isEqual(to: key) }) {
      values[index] = value
    } else {
      keys.append(key)
      values.append(value)
    }
  }

  /// Pairs of keys and values.
  var items: [TemplateValue] {
    zip(keys, values).map { .tuple(TemplateList([$0, $1])) }
  }
}

/// What a call such as `range(3)` or `items()` gives.
package final class TemplateView {
  /// How Python treats it.
  enum Kind {
    /// It has a length, and its values have numbers.
    case range
    /// It has a length.
    case members
    /// Its values can be used once.
    case stream
  }

  let kind: Kind
  let values: TemplateList
  private var isUsed = false

  init(_ kind: Kind, _ values: [TemplateValue]) {
    (self.kind, self.values) = (kind, TemplateList(values))
  }

  /// The values; nil if they were used already.
  func take() -> [TemplateValue]? {
    defer { isUsed = kind == .stream }
    return isUsed ? nil : values.values
  }
}

/// Variables that every scope can change.
package final class TemplateNamespace {
  var members = TemplateDictionary()
}

/// Something that a template can call.
package indirect enum TemplateFunction {
  case raiseException
  case namespace
  case range
  case dictionary
  /// `strftime_now`: writes a date; nil if nobody stated one.
  case date(TemplateDate?)
  /// A function of Jinja or transformers that Pleat does not have.
  case unknown(String)
  case macro(TemplateClosure)
  case method(TemplateValue, String)
}

/// A macro and the scope where it was defined.
package final class TemplateClosure {
  let macro: TemplateMacro
  let scope: TemplateScope

  init(_ macro: TemplateMacro, _ scope: TemplateScope) { (self.macro, self.scope) = (macro, scope) }
}

/// The variables of a part of a template, and those around it.
final class TemplateScope {
  private var variables: [String: TemplateValue] = [:]
  private let outer: TemplateScope?

  init(in outer: TemplateScope?) { self.outer = outer }

  subscript(name: String) -> TemplateValue? {
    get {
      var scope: TemplateScope? = self
      while let next = scope {
        if let value = next.variables[name] { return value }
        scope = next.outer
      }
      return nil
    }
    set { variables[name] = newValue }
  }

  /// Forgets all variables, so that nothing refers to itself any more.
  func clear() { variables = [:] }
}

// MARK: - Properties

extension TemplateValue {
  /// How many lists and dictionaries are inside each other.
  var depth: Int {
    switch self {
    case .list(let list), .tuple(let list): list.depth
    case .dictionary(let dictionary): dictionary.depth
    case .view(let view): view.values.depth
    case .function(.method(let receiver, _)): 1 + receiver.depth
    default: 0
    }
  }

  /// Whether Python takes the value for true.
  var isTrue: Bool {
    switch self {
    case .undefined, .none: false
    case .bool(let value): value
    case .integer(let value): value != 0
    case .number(let value): value != 0
    case .text(let text): !text.isEmpty
    case .list(let list), .tuple(let list): !list.values.isEmpty
    case .dictionary(let dictionary): !dictionary.keys.isEmpty
    case .view(let view): view.kind == .stream || !view.values.values.isEmpty
    case .namespace, .function, .loop: true
    }
  }

  /// The text; nil for other values.
  var text: String? { if case .text(let text) = self { text } else { nil } }

  /// The integer, which truth values are, too; nil for other values.
  var integer: Int? {
    switch self {
    case .bool(let value): value ? 1 : 0
    case .integer(let value): value
    default: nil
    }
  }

  /// The number, integer or not; nil for other values.
  var number: Double? {
    if case .number(let value) = self { return value }
    return integer.map { Double($0) }
  }

  /// Whether the value is missing.
  var isUndefined: Bool { if case .undefined = self { true } else { false } }

  /// Whether Python finds both values equal.
  func isEqual(to other: TemplateValue) -> Bool {
    switch (self, other) {
    case (.undefined, .undefined), (.none, .none): true
    case (.text(let first), .text(let second)): first.hasSameBytes(as: second)
    case (.list(let first), .list(let second)), (.tuple(let first), .tuple(let second)):
      first.values.count == second.values.count
        && zip(first.values, second.values).allSatisfy { $0.isEqual(to: $1) }
    case (.dictionary(let first), .dictionary(let second)):
      first.keys.count == second.keys.count
        && zip(first.keys, first.values).allSatisfy { key, value in
          second[key].map { $0.isEqual(to: value) } ?? false
        }
    case (.namespace(let first), .namespace(let second)): first === second
    case (.view(let first), .view(let second)) where first.kind == .range && second.kind == .range:
      TemplateValue.list(first.values).isEqual(to: .list(second.values))
    default:
      if let first = integer, let second = other.integer {
        first == second
      } else if let first = number, let second = other.number {
        first == second
      } else {
        false
      }
    }
  }

  /// Whether Python permits the value as a key.
  var isKey: Bool {
    switch self {
    case .none, .bool, .integer, .number, .text: true
    case .tuple(let list): list.values.allSatisfy(\.isKey)
    default: false
    }
  }

  /// What Python calls the type, for messages.
  var kind: String {
    switch self {
    case .undefined(let what): what
    case .none: "none"
    case .bool: "a boolean"
    case .integer: "an integer"
    case .number: "a number"
    case .text: "a string"
    case .list: "a list"
    case .tuple: "a tuple"
    case .dictionary: "a dictionary"
    case .view: "an iterator"
    case .namespace: "a namespace"
    case .function: "a function"
    case .loop: "loop"
    }
  }
}
