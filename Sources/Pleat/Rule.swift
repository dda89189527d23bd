internal import Bytes
internal import Formats
internal import Quantization
public import TensorModel

/// What is to happen to the tensors whose names fit a pattern.
public struct Rule: Sendable, Hashable {
  /// What a rule asks for.
  public enum Choice: Sendable, Hashable {
    /// The tensor stays as it is.
    case keep
    /// It is rounded to groups; parts left out are those of the recipe.
    case quantize(bits: Int, group: GroupSize?, scheme: String?)
    /// It is rounded to the groups that blocks of llama.cpp hold, such as `Q4_1`.
    case blocks(Grouping)
    /// It is written as plain numbers of a type.
    case plain(ScalarType)
  }

  /// A shell pattern for names; a final `.weight` may be left out.
  public var pattern: String
  /// What happens to the tensors.
  public var choice: Choice

  /// A rule.
  public init(pattern: String, choice: Choice) {
    self.pattern = pattern
    self.choice = choice
  }

  /// A rule from its text, `glob=keep`, `glob=8`, `glob=8:32:minmax`, `glob=Q8_0` or `glob=F16`.
  ///
  /// Throws `usage`.
  public init(text: String) throws(ModelError) {
    guard let index = text.lastIndex(of: "="), index != text.startIndex else {
      throw ModelError(
        .usage, "a rule has no '='", expected: "glob=rule, such as '*.down_proj=8:32'", found: text)
    }
    try self.init(
      pattern: String(text[..<index]), choiceText: String(text[text.index(after: index)...]))
  }

  /// A rule from a pattern and the text of its choice.
  ///
  /// Throws `usage`.
  public init(pattern: String, choiceText: String) throws(ModelError) {
    self.pattern = pattern
    choice = try Choice(text: choiceText)
  }

  /// Whether the rule is for a tensor of this name.
  public func matches(_ name: String) -> Bool {
    FileSystem.matches(name, glob: pattern)
      || name.hasSuffix(".weight") && FileSystem.matches(String(name.dropLast(7)), glob: pattern)
  }
}

/// How many columns share a scale.
public enum GroupSize: Sendable, Hashable {
  /// As many as this.
  case columns(Int)
  /// A whole row.
  case row

  /// The group of its text: a number or `row`.
  ///
  /// Throws `usage`.
  public init(text: String) throws(ModelError) {
    if text == "row" {
      self = .row
    } else if let count = Int(text), count > 0 {
      self = .columns(count)
    } else {
      throw ModelError(.usage, "not a group size", expected: "a number or 'row'", found: text)
    }
  }

  /// The text that `init(text:)` reads.
  public var text: String {
    switch self {
    case .columns(let count): String(count)
    case .row: "row"
    }
  }
}

extension Rule.Choice {
  /// The choice of its text; see `Rule.init(text:)`.
  ///
  /// Throws `usage`.
  public init(text: String) throws(ModelError) {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
    if text == "keep" {
      self = .keep
    } else if let bits = Int(parts[0]), parts.count <= 3 {
      guard Grouping.supportedBits.contains(bits) else {
        throw ModelError(
          .usage, "not a code width", expected: Grouping.supportedBits.choices, found: parts[0])
      }
      if parts.count == 3 { _ = try Schemes.named(parts[2]) }
      self = .quantize(
        bits: bits, group: parts.count > 1 ? try GroupSize(text: parts[1]) : nil,
        scheme: parts.count > 2 ? parts[2] : nil)
    } else if let type = try? Recipe.floatType(named: text) {
      self = .plain(type)
    } else if let grouping = GGMLSpelling.grouping(named: text) {
      self = .blocks(grouping)
    } else {
      throw ModelError(
        .usage, "not a rule",
        expected: "keep, bits[:group[:scheme]], F16, BF16, F32, or a type such as Q8_0", found: text
      )
    }
  }

  /// The text that `init(text:)` reads.
  public var text: String {
    switch self {
    case .keep: return "keep"
    case .plain(let type): return type.name
    case .blocks(let grouping): return GGMLSpelling.name(of: grouping)
    case .quantize(let bits, let group, let scheme):
      let parts = [String(bits), group?.text, scheme]
      return parts.compactMap { $0 }.joined(separator: ":")
    }
  }
}

extension Array where Element: CustomStringConvertible {
  /// The elements as choices in a sentence: `2, 3 or 4`.
  var choices: String {
    guard let last, count > 1 else { return map(\.description).joined() }
    return dropLast().map(\.description).joined(separator: ", ") + " or \(last)"
  }
}
