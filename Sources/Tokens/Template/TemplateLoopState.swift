internal import TensorModel

/// What the variable `loop` of a template knows.
///
/// The condition of a loop is evaluated for an item when it is reached, or when something asks
/// whether there is another item, as in Jinja.
package final class TemplateLoopState {
  private let values: [TemplateValue]
  private let loop: TemplateLoop
  private let scope: TemplateScope
  /// How many values were taken.
  private var position = 0
  /// The items that passed the condition, up to the present one and those that were asked for.
  fileprivate var items: [TemplateValue] = []
  /// The number of the present item, from 0; -1 if there is none.
  fileprivate(set) var index = -1

  init(_ values: [TemplateValue], _ loop: TemplateLoop, _ scope: TemplateScope) {
    (self.values, self.loop, self.scope) = (values, loop, scope)
    guard loop.condition == nil else { return }
    items = values
    position = values.count
  }

  /// The next value, and what tells whether it belongs to the loop; nil after the last one.
  fileprivate func take() -> (value: TemplateValue, loop: TemplateLoop, scope: TemplateScope)? {
    guard position < values.count else { return nil }
    defer { position += 1 }
    return (values[position], loop, scope)
  }
}

extension TemplateEvaluator {
  /// The next item of a loop; nil after the last one.
  func next(_ state: TemplateLoopState) throws(ModelError) -> TemplateValue? {
    try fill(state, count: state.index + 2)
    guard state.index + 1 < state.items.count else { return nil }
    state.index += 1
    return state.items[state.index]
  }

  /// Evaluates the condition until there are so many items, if there are.
  private func fill(_ state: TemplateLoopState, count: Int) throws(ModelError) {
    while state.items.count < count, let (value, loop, outer) = state.take() {
      guard let condition = loop.condition else { return }
      let scope = TemplateScope(in: outer)
      scope["loop"] = .undefined("loop")
      try charge(64, loop.line)
      try assign(value, to: loop.target, scope, loop.line)
      if try evaluate(condition, scope).isTrue { state.items.append(value) }
    }
  }

  /// An attribute of `loop`; nil if it has none with the name.
  func attribute(
    _ name: String, of state: TemplateLoopState, _ line: Int
  ) throws(ModelError) -> TemplateValue? {
    func count() throws(ModelError) -> Int {
      try fill(state, count: .max)
      return state.items.count
    }
    switch name {
    case "index": return .integer(state.index + 1)
    case "index0": return .integer(state.index)
    case "first": return .bool(state.index == 0)
    case "length": return .integer(try count())
    case "revindex": return .integer(try count() - state.index)
    case "revindex0": return .integer(try count() - state.index - 1)
    case "last", "nextitem":
      try fill(state, count: state.index + 2)
      let hasNext = state.items.count > state.index + 1
      if name == "last" { return .bool(!hasNext) }
      return hasNext ? state.items[state.index + 1] : .undefined("loop.nextitem")
    case "previtem":
      return state.index > 0 ? state.items[state.index - 1] : .undefined("loop.previtem")
    case "depth", "depth0", "changed", "cycle":
      throw TemplateFault.unsupported(
        "Pleat does not know this attribute of loops", line, found: "loop.\(name)")
    default: return nil
    }
  }
}
