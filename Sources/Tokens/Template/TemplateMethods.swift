internal import TensorModel

/// The methods of Python's values that templates may call.
enum TemplateMethods {
  private static let parameters: [String: [String]] = [
    "strip": ["chars"], "lstrip": ["chars"], "rstrip": ["chars"], "split": ["sep", "maxsplit"],
    "startswith": ["prefix"], "endswith": ["suffix"], "replace": ["old", "new", "count"],
    "get": ["key", "default"], "join": ["iterable"], "find": ["sub"], "count": ["value"],
    "removeprefix": ["prefix"], "removesuffix": ["suffix"], "index": ["value"],
  ]
  private static let ofText: Set<String> = [
    "strip", "lstrip", "rstrip", "split", "startswith", "endswith", "replace", "upper", "lower",
    "title", "capitalize", "join", "find", "removeprefix", "removesuffix",
  ]
  private static let ofDictionary: Set<String> = ["items", "keys", "values", "get", "copy"]
  private static let ofList: Set<String> = ["index", "count"]
  private static let unknownOfText: Set<String> = [
    "casefold", "center", "count", "encode", "expandtabs", "format", "format_map", "index",
    "isalnum", "isalpha", "isascii", "isdecimal", "isdigit", "isidentifier", "islower",
    "isnumeric", "isprintable", "isspace", "istitle", "isupper", "ljust", "maketrans",
    "partition", "rfind", "rindex", "rjust", "rpartition", "rsplit", "splitlines", "swapcase",
    "translate", "zfill",
  ]
  private static let unknownOfDictionary: Set<String> = [
    "clear", "fromkeys", "pop", "popitem", "setdefault", "update",
  ]
  private static let unknownOfList: Set<String> = [
    "append", "clear", "copy", "extend", "insert", "pop", "remove", "reverse", "sort",
  ]
  private static let unknownOfNumber: Set<String> = [
    "as_integer_ratio", "bit_count", "bit_length", "conjugate", "denominator", "from_bytes",
    "fromhex", "hex", "imag", "is_integer", "numerator", "real", "to_bytes",
  ]

  /// The names of the parameters of a method.
  static func parameters(of name: String) -> [String] { parameters[name] ?? [] }

  /// The methods of a value that Pleat knows.
  static func names(of value: TemplateValue) -> Set<String> {
    switch value {
    case .text: ofText
    case .dictionary: ofDictionary
    case .list, .tuple: ofList
    default: []
    }
  }

  /// Other attributes that a value has in Python.
  static func unknownNames(of value: TemplateValue) -> Set<String> {
    switch value {
    case .text: unknownOfText
    case .dictionary: unknownOfDictionary
    case .list: unknownOfList
    case .bool, .integer, .number: unknownOfNumber
    case .view:
      ["count", "index", "isdisjoint", "mapping", "start", "step", "stop", "close", "send"]
    case .function: ["arguments", "caller", "catch_kwargs", "catch_varargs", "name"]
    default: []
    }
  }
}

extension TemplateEvaluator {
  /// Calls a method; arguments that are missing are nil.
  func method(
    _ name: String, of receiver: TemplateValue, _ arguments: [TemplateValue?], _ line: Int
  ) throws(ModelError) -> TemplateValue {
    switch receiver {
    case .text(let text):
      try charge(text.utf8.count, line)
      return try method(name, of: text, arguments, line)
    case .dictionary(let dictionary):
      switch name {
      case "items": return .view(TemplateView(.members, dictionary.items))
      case "keys": return .view(TemplateView(.members, dictionary.keys))
      case "values": return .view(TemplateView(.members, dictionary.values))
      case "copy": return receiver
      default:
        let key = try required(arguments[0], name, line)
        guard key.isKey || key.isUndefined else {
          throw TemplateFault.malformed("this value cannot be a key", line, found: key.kind)
        }
        return dictionary[key] ?? arguments[1] ?? .none
      }
    case .list(let list), .tuple(let list):
      let value = try required(arguments[0], name, line)
      if name == "count" { return .integer(list.values.count { $0.isEqual(to: value) }) }
      guard let index = list.values.firstIndex(where: { $0.isEqual(to: value) }) else {
        throw TemplateFault.malformed("a list does not have the value", line, found: value.kind)
      }
      return .integer(index)
    default:
      throw TemplateFault.unsupported("Pleat does not know this method", line, found: name)
    }
  }

  private func required(
    _ value: TemplateValue?, _ name: String, _ line: Int
  ) throws(ModelError) -> TemplateValue {
    guard let value else {
      throw TemplateFault.malformed("\(name) needs another argument", line)
    }
    return value
  }

  private func text(
    _ value: TemplateValue?, _ name: String, _ line: Int
  ) throws(ModelError) -> String {
    let value = try required(value, name, line)
    guard let text = value.text else {
      throw TemplateFault.malformed("\(name) needs a string", line, found: value.kind)
    }
    return text
  }

  /// An integer, or what counts if it is missing.
  func integer(
    _ value: TemplateValue?, or usual: Int, _ name: String, _ line: Int
  ) throws(ModelError) -> Int {
    guard let value else { return usual }
    guard let number = value.integer else {
      throw TemplateFault.malformed("\(name) needs an integer", line, found: value.kind)
    }
    return number
  }

  private func method(
    _ name: String, of text: String, _ arguments: [TemplateValue?], _ line: Int
  ) throws(ModelError) -> TemplateValue {
    switch name {
    case "strip", "lstrip", "rstrip":
      var characters: String?
      if let value = arguments[0] {
        if case .none = value {} else { characters = try self.text(value, name, line) }
      }
      return .text(
        text.stripped(of: characters, atStart: name != "rstrip", atEnd: name != "lstrip"))
    case "upper": return .text(text.pythonUpper)
    case "lower": return .text(try lowercased(text, line))
    case "title", "capitalize": return .text(try titled(text, isTitle: name == "title", line))
    case "startswith", "endswith": return try hasEnd(text, name, arguments[0], line)
    case "split": return try split(text, arguments, line)
    case "replace":
      return .text(
        try replaced(
          text, try self.text(arguments[0], name, line), try self.text(arguments[1], name, line),
          count: try integer(arguments[2], or: -1, name, line), line))
    case "find":
      let part = try self.text(arguments[0], name, line)
      let (scalars, sought) = (Array(text.unicodeScalars), Array(part.unicodeScalars))
      return .integer(sought.isEmpty ? 0 : scalars.firstRange(of: sought)?.lowerBound ?? -1)
    case "removeprefix", "removesuffix":
      let part = try self.text(arguments[0], name, line)
      let isStart = name == "removeprefix"
      let bytes = part.utf8
      guard isStart ? text.utf8.starts(with: bytes) : text.hasEnd(part) else { return .text(text) }
      let rest = isStart ? text.utf8.dropFirst(bytes.count) : text.utf8.dropLast(bytes.count)
      return .text(String(decoding: rest, as: UTF8.self))
    default:
      return .text(try joined(try required(arguments[0], name, line), by: text, line))
    }
  }

  private func joined(
    _ value: TemplateValue, by separator: String, _ line: Int
  ) throws(ModelError) -> String {
    var texts: [String] = []
    for part in try values(of: value, line) { texts.append(try text(part, "join", line)) }
    return try joined(texts, by: separator, line)
  }

  /// Texts with another one between them.
  func joined(
    _ texts: [String], by separator: String, _ line: Int
  ) throws(ModelError) -> String {
    try charge(texts.reduce(0) { $0 + $1.utf8.count + separator.utf8.count }, line)
    return texts.joined(separator: separator)
  }

  private func hasEnd(
    _ text: String, _ name: String, _ argument: TemplateValue?, _ line: Int
  ) throws(ModelError) -> TemplateValue {
    let argument = try required(argument, name, line)
    var ends = [argument]
    if case .tuple(let list) = argument { ends = list.values }
    for end in ends {
      let end = try self.text(end, name, line)
      let isEnd = name == "startswith" ? text.utf8.starts(with: end.utf8) : text.hasEnd(end)
      if isEnd { return .bool(true) }
    }
    return .bool(false)
  }

  private func split(
    _ text: String, _ arguments: [TemplateValue?], _ line: Int
  ) throws(ModelError) -> TemplateValue {
    let limit = try integer(arguments[1], or: -1, "split", line)
    let scalars = Array(text.unicodeScalars)
    var parts: [ArraySlice<Unicode.Scalar>] = []
    var rest = scalars[...]
    if let separator = arguments[0], separator.text != nil {
      let separator = Array(try self.text(separator, "split", line).unicodeScalars)
      guard !separator.isEmpty else {
        throw TemplateFault.malformed("split has an empty separator", line)
      }
      while limit < 0 || parts.count < limit, let range = rest.firstRange(of: separator) {
        parts.append(rest[..<range.lowerBound])
        rest = rest[range.upperBound...]
      }
      parts.append(rest)
    } else {
      if let separator = arguments[0], case .none = separator {
      } else if arguments[0] != nil {
        throw TemplateFault.malformed("split needs a string", line, found: arguments[0]?.kind)
      }
      while true {
        rest = rest.drop(while: \.isPythonSpace)
        if rest.isEmpty { break }
        if limit >= 0, parts.count == limit {
          parts.append(rest)
          break
        }
        let part = rest.prefix { !$0.isPythonSpace }
        parts.append(part)
        rest = rest[part.endIndex...]
      }
    }
    try charge(parts.count, line)
    return .list(parts.map { .text(String($0)) })
  }

  /// The text with another text in place of each part, from the start, at most so many times.
  func replaced(
    _ text: String, _ part: String, _ other: String, count: Int, _ line: Int
  ) throws(ModelError) -> String {
    guard !part.isEmpty else {
      throw TemplateFault.unsupported("Pleat does not replace an empty text", line)
    }
    let sought = Array(part.utf8)
    var rest = Array(text.utf8)[...]
    var result: [UInt8] = []
    var done = 0
    while count < 0 || done < count, let range = rest.firstRange(of: sought) {
      try charge(range.lowerBound - rest.startIndex + other.utf8.count, line)
      result += rest[..<range.lowerBound]
      result += other.utf8
      rest = rest[range.upperBound...]
      done += 1
    }
    return String(decoding: result + rest, as: UTF8.self)
  }

  /// The text in small letters.
  ///
  /// Throws `unsupported` for the letter Σ, whose small form depends on what follows.
  func lowercased(_ text: String, _ line: Int) throws(ModelError) -> String {
    guard !text.unicodeScalars.contains("Σ") else {
      throw TemplateFault.unsupported("Pleat does not write Σ in small letters", line)
    }
    return text.unicodeScalars.map(\.properties.lowercaseMapping).joined()
  }

  /// The text with a capital first letter, or with one in each word; ASCII only.
  func titled(_ text: String, isTitle: Bool, _ line: Int) throws(ModelError) -> String {
    guard text.utf8.allSatisfy({ $0 < 0x80 }) else {
      throw TemplateFault.unsupported("Pleat capitalizes only ASCII letters", line)
    }
    var isInside = false
    return text.unicodeScalars.map { scalar in
      let isLetter = scalar.properties.isAlphabetic
      defer { isInside = isTitle ? isLetter : true }
      return isInside
        ? scalar.properties.lowercaseMapping : scalar.properties.uppercaseMapping
    }.joined()
  }
}

extension String {
  /// The text in capital letters.
  var pythonUpper: String { unicodeScalars.map(\.properties.uppercaseMapping).joined() }

  /// Whether the text ends with the bytes of another one.
  func hasEnd(_ end: String) -> Bool { utf8.reversed().starts(with: end.utf8.reversed()) }

  /// The text without some characters at its ends; without white space if none are given.
  func stripped(of characters: String?, atStart: Bool = true, atEnd: Bool = true) -> String {
    let removed = characters.map { Set($0.unicodeScalars) }
    func isRemoved(_ scalar: Unicode.Scalar) -> Bool {
      removed?.contains(scalar) ?? scalar.isPythonSpace
    }
    var scalars = unicodeScalars[...]
    while atStart, let first = scalars.first, isRemoved(first) { scalars.removeFirst() }
    while atEnd, let last = scalars.last, isRemoved(last) { scalars.removeLast() }
    return String(scalars)
  }
}
