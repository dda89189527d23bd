/// An expression of a template.
struct TemplateExpression {
  /// What is computed.
  indirect enum Kind {
    case literal(TemplateValue)
    case name(String)
    case list([TemplateExpression])
    case tuple([TemplateExpression])
    /// Keys and values by turns.
    case dictionary([TemplateExpression])
    case attribute(TemplateExpression, String)
    case item(TemplateExpression, TemplateExpression)
    case slice(TemplateExpression, [TemplateExpression?])
    case call(TemplateExpression, TemplateArguments)
    case filter(TemplateExpression, TemplateCall)
    case test(TemplateExpression, TemplateCall)
    case negative(TemplateExpression)
    case positive(TemplateExpression)
    case not(TemplateExpression)
    case binary(String, TemplateExpression, TemplateExpression)
    case joined([TemplateExpression])
    case comparison(TemplateExpression, [(operation: String, value: TemplateExpression)])
    case and(TemplateExpression, TemplateExpression)
    case or(TemplateExpression, TemplateExpression)
    case conditional(
      if: TemplateExpression, then: TemplateExpression, else: TemplateExpression?)
  }

  let kind: Kind
  /// The line of the template, from 1.
  let line: Int
  /// How many expressions are inside each other, at most.
  let depth: Int
}

/// The arguments of a call.
struct TemplateArguments {
  var values: [TemplateExpression] = []
  var named: [(name: String, value: TemplateExpression)] = []
}

/// The name of a filter or a test, and its arguments.
struct TemplateCall {
  let name: String
  let arguments: TemplateArguments
}

/// What a value is assigned to.
enum TemplateTarget {
  case name(String)
  /// An attribute of a namespace.
  case attribute(String, String)
  case tuple([TemplateTarget])
}

/// A statement of a template.
enum TemplateStatement {
  case text(String)
  case output(TemplateExpression)
  case choice([(condition: TemplateExpression, body: [TemplateStatement])], [TemplateStatement])
  case loop(TemplateLoop)
  case set(TemplateTarget, TemplateExpression)
  /// The text that a body writes, after some filters.
  case setText(TemplateTarget, [TemplateCall], [TemplateStatement], line: Int)
  case macro(TemplateMacro)
  /// `generation`, which marks what a model wrote.
  case scope([TemplateStatement], line: Int)
  case stop
  case next
}

/// A loop of a template.
struct TemplateLoop {
  let target: TemplateTarget
  let sequence: TemplateExpression
  let condition: TemplateExpression?
  let body: [TemplateStatement]
  let otherwise: [TemplateStatement]
  let line: Int
}

/// A macro of a template.
struct TemplateMacro {
  let name: String
  let parameters: [(name: String, value: TemplateExpression?)]
  let body: [TemplateStatement]
  let line: Int
}
