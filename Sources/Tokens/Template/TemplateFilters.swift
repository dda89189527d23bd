internal import TensorModel

/// The filters of a template, such as `x | trim`.
extension TemplateEvaluator {
  private static let parameters: [String: [String]] = [
    "trim": ["chars"], "length": [], "count": [], "upper": [], "lower": [], "title": [],
    "capitalize": [], "string": [], "first": [], "last": [], "list": [], "items": [],
    "reverse": [], "join": ["d", "attribute"], "default": ["default_value", "boolean"],
    "d": ["default_value", "boolean"], "replace": ["s", "new", "count"], "int": ["default"],
    "abs": [], "indent": ["width", "first", "blank"],
    "tojson": ["ensure_ascii", "indent", "separators", "sort_keys"],
  ]

  /// What a filter makes of a value.
  func apply(
    _ filter: TemplateCall, to value: TemplateValue, _ scope: TemplateScope, _ line: Int
  ) throws(ModelError) -> TemplateValue {
    let name = filter.name
    switch name {
    case "map", "select", "reject", "selectattr", "rejectattr":
      return try applyToItems(filter, value, scope, line)
    default: break
    }
    guard let parameters = Self.parameters[name] else {
      throw TemplateFault.unsupported(
        name == "safe"
          ? "Pleat knows the filter safe only at the end of an output"
          : "Pleat does not know this filter of chat templates", line, found: name)
    }
    let arguments = try evaluate(filter.arguments, scope, as: parameters, of: name, line)
    return try apply(name, arguments, to: value, line)
  }

  private func apply(
    _ name: String, _ arguments: [TemplateValue?], to value: TemplateValue, _ line: Int
  ) throws(ModelError) -> TemplateValue {
    switch name {
    case "default", "d":
      let isMissing = value.isUndefined || (arguments[1]?.isTrue ?? false) && !value.isTrue
      return isMissing ? arguments[0] ?? .text("") : value
    case "length", "count": return .integer(try length(of: value, line))
    case "list": return .list(try values(of: value, line))
    case "items":
      if value.isUndefined { return .view(TemplateView(.stream, [])) }
      guard case .dictionary(let dictionary) = value else {
        throw TemplateFault.malformed("items needs a dictionary", line, found: value.kind)
      }
      return .view(TemplateView(.stream, dictionary.items))
    case "first": return try values(of: value, line).first ?? .undefined("the first of no items")
    case "last":
      if case .view(let view) = value, view.kind == .stream {
        throw TemplateFault.malformed("last needs a list", line, found: value.kind)
      }
      return try values(of: value, line).last ?? .undefined("the last of no items")
    case "reverse":
      if case .text(let text) = value {
        return .text(String(Array(text.unicodeScalars.reversed())[...]))
      }
      return .view(TemplateView(.stream, try values(of: value, line).reversed()))
    case "join": return .text(try join(value, arguments, line))
    case "tojson": return .text(try json(value, arguments, line))
    case "int": return try integer(value, arguments[0], line)
    case "abs":
      if case .number(let number) = value { return .number(number.magnitude) }
      let number = try integer(value, or: 0, name, line)
      return number < 0 ? try TemplateOperators.negative(value, line) : .integer(number)
    case "indent" where value.text == nil:
      throw TemplateFault.malformed("indent needs a string", line, found: value.kind)
    default: return .text(try applyToText(name, arguments, try string(value, line), line))
    }
  }

  private func applyToText(
    _ name: String, _ arguments: [TemplateValue?], _ text: String, _ line: Int
  ) throws(ModelError) -> String {
    try charge(text.utf8.count, line)
    switch name {
    case "trim":
      if let characters = arguments[0], characters.text == nil {
        guard case .none = characters else {
          throw TemplateFault.malformed("trim needs a string", line, found: characters.kind)
        }
      }
      return text.stripped(of: arguments[0]?.text)
    case "upper": return text.pythonUpper
    case "lower": return try lowercased(text, line)
    case "capitalize": return try titled(text, isTitle: false, line)
    case "title": return try wordsTitled(text, line)
    case "indent": return try indented(text, arguments, line)
    case "replace":
      guard let part = arguments[0], let other = arguments[1] else {
        throw TemplateFault.malformed("replace needs two arguments", line)
      }
      var count = arguments[2]
      if let value = count, case .none = value { count = nil }
      return try replaced(
        text, try string(part, line), try string(other, line),
        count: try integer(count, or: -1, name, line), line)
    default: return text
    }
  }

  /// Words begin after spaces and opening brackets, unlike those of the method `title`.
  private func wordsTitled(_ text: String, _ line: Int) throws(ModelError) -> String {
    var result = ""
    var word = ""
    for scalar in text.unicodeScalars {
      if scalar.isPythonSpace || "-({[<".unicodeScalars.contains(scalar) {
        result += try titled(word, isTitle: false, line)
        result.unicodeScalars.append(scalar)
        word = ""
      } else {
        word.unicodeScalars.append(scalar)
      }
    }
    return result + (try titled(word, isTitle: false, line))
  }

  private static let lineBreaks: Set<Unicode.Scalar> = [
    "\n", "\r", "\u{B}", "\u{C}", "\u{1C}", "\u{1D}", "\u{1E}", "\u{85}", "\u{2028}", "\u{2029}",
  ]

  private func indented(
    _ text: String, _ arguments: [TemplateValue?], _ line: Int
  ) throws(ModelError) -> String {
    let indentation: String
    if let width = arguments[0]?.text {
      indentation = width
    } else {
      let width = try integer(arguments[0], or: 4, "indent", line)
      try charge(width, line)
      indentation = String(repeating: " ", count: max(width, 0))
    }
    var lines: [String] = [""]
    var previous: Unicode.Scalar = " "
    for scalar in text.unicodeScalars {
      if previous == "\r", scalar == "\n" {
      } else if Self.lineBreaks.contains(scalar) {
        lines.append("")
      } else {
        lines[lines.count - 1].unicodeScalars.append(scalar)
      }
      previous = scalar
    }
    let indentsBlank = arguments[2]?.isTrue ?? false
    try charge(lines.count * indentation.utf8.count, line)
    let rest = lines.dropFirst().map { $0.isEmpty && !indentsBlank ? $0 : indentation + $0 }
    let first = (arguments[1]?.isTrue ?? false) ? indentation : ""
    return first + (lines.prefix(1) + rest).joined(separator: "\n")
  }

  private func length(of value: TemplateValue, _ line: Int) throws(ModelError) -> Int {
    switch value {
    case .undefined: return 0
    case .text(let text): return text.unicodeScalars.count
    case .list(let list), .tuple(let list): return list.values.count
    case .dictionary(let dictionary): return dictionary.keys.count
    case .view(let view) where view.kind != .stream: return view.values.values.count
    default: throw TemplateFault.malformed("this value has no length", line, found: value.kind)
    }
  }

  private func join(
    _ value: TemplateValue, _ arguments: [TemplateValue?], _ line: Int
  ) throws(ModelError) -> String {
    var texts: [String] = []
    for part in try values(of: value, line) {
      var part = part
      if let path = arguments[1] { part = try item(at: path, of: part, line) }
      texts.append(try string(part, line))
    }
    return try joined(texts, by: try string(arguments[0] ?? .text(""), line), line)
  }

  private func json(
    _ value: TemplateValue, _ arguments: [TemplateValue?], _ line: Int
  ) throws(ModelError) -> String {
    var json = TemplateJSON()
    json.isASCII = arguments[0]?.isTrue ?? false
    json.sortsKeys = arguments[3]?.isTrue ?? false
    switch arguments[1] {
    case nil, .some(.none): break
    case .text(let text): json.indentation = text
    case let width?:
      let count = try integer(width, or: 0, "tojson", line)
      guard count <= 64 else { throw TemplateFault.unsupported("an indent is above 64", line) }
      json.indentation = String(repeating: " ", count: max(count, 0))
    }
    switch arguments[2] {
    case nil, .some(.none): break
    case .list(let list), .tuple(let list):
      let texts = list.values.compactMap(\.text)
      guard texts.count == 2, list.values.count == 2 else {
        throw TemplateFault.malformed("separators are not two strings", line)
      }
      json.separators = (texts[0], texts[1])
    case let other?:
      throw TemplateFault.malformed("separators are not two strings", line, found: other.kind)
    }
    guard let text = json.text(value) else {
      throw TemplateFault.unsupported(
        "Pleat does not write this value as JSON", line, found: value.kind)
    }
    try charge(text.utf8.count, line)
    return text
  }

  private func integer(
    _ value: TemplateValue, _ usual: TemplateValue?, _ line: Int
  ) throws(ModelError) -> TemplateValue {
    if let number = value.integer { return .integer(number) }
    if let text = value.text?.stripped(of: nil), let number = Int(text) { return .integer(number) }
    let isPlain = value.text.map { $0.utf8.allSatisfy { (0x61...0x7A) ~= $0 | 0x20 } } ?? false
    if isPlain { return usual ?? .integer(0) }
    if case .number(let number) = value, number.magnitude < 0x1p62 { return .integer(Int(number)) }
    throw TemplateFault.unsupported(
      "Pleat does not read this as an integer", line, found: value.kind)
  }

  // MARK: - Filters of items

  private func applyToItems(
    _ filter: TemplateCall, _ value: TemplateValue, _ scope: TemplateScope, _ line: Int
  ) throws(ModelError) -> TemplateValue {
    let items = try values(of: value, line)
    var results: [TemplateValue] = []
    if filter.name == "map" {
      results = try mapped(items, filter, scope, line)
    } else {
      let hasPath = filter.name.hasSuffix("attr")
      let isKept = filter.name.hasPrefix("select")
      var arguments = try evaluate(filter.arguments, scope, named: filter.name, line)
      guard !hasPath || !arguments.isEmpty else {
        throw TemplateFault.malformed("\(filter.name) needs an attribute", line)
      }
      let path = hasPath ? arguments.removeFirst() : nil
      let test = arguments.first
      for item in items {
        try charge(16, line)
        let part =
          try path.map { (path) throws(ModelError) in
            try self.item(at: path, of: item, line)
          } ?? item
        let passes =
          try test.map { (test) throws(ModelError) in
            try isTrue(
              try string(test, line), part, Array(arguments.dropFirst()), line)
          } ?? part.isTrue
        if passes == isKept { results.append(item) }
      }
    }
    return .view(TemplateView(.stream, results))
  }

  private func mapped(
    _ items: [TemplateValue], _ filter: TemplateCall, _ scope: TemplateScope, _ line: Int
  ) throws(ModelError) -> [TemplateValue] {
    var results: [TemplateValue] = []
    if filter.arguments.values.isEmpty {
      let arguments = try evaluate(
        filter.arguments, scope, as: ["attribute", "default"], of: "map", line)
      guard let path = arguments[0] else {
        throw TemplateFault.malformed("map needs a filter or an attribute", line)
      }
      for item in items {
        try charge(16, line)
        let found = try self.item(at: path, of: item, line)
        results.append(found.isUndefined ? arguments[1] ?? found : found)
      }
      return results
    }
    guard case .literal(.text(let name)) = filter.arguments.values[0].kind else {
      throw TemplateFault.unsupported("Pleat knows map only with the name of a filter", line)
    }
    var arguments = filter.arguments
    arguments.values.removeFirst()
    let call = TemplateCall(name: name, arguments: arguments)
    for item in items {
      try charge(16, line)
      results.append(try apply(call, to: item, scope, line))
    }
    return results
  }

  /// The item at a path of names or numbers with dots between them.
  private func item(
    at path: TemplateValue, of value: TemplateValue, _ line: Int
  ) throws(ModelError) -> TemplateValue {
    guard let text = path.text else { return try item(path, of: value, line) }
    var value = value
    for part in text.split(separator: ".", omittingEmptySubsequences: false) {
      let isNumber = !part.isEmpty && part.utf8.allSatisfy { (0x30...0x39) ~= $0 }
      let key = isNumber ? Int(part).map { TemplateValue.integer($0) } : nil
      value = try item(key ?? .text(String(part)), of: value, line)
    }
    return value
  }
}
