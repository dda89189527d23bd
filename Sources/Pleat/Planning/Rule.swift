internal import Bytes
internal import Formats
internal import Quantization
public import TensorModel
internal import Weights

/// A choice for all tensors whose names match a pattern.
public struct Rule: Sendable, Hashable {
  /// What a rule does with a tensor.
  public enum Choice: Sendable, Hashable {
    /// The tensor is copied unchanged.
    case keep
    /// It is quantized; the recipe supplies what is nil.
    case quantize(bits: Int, group: GroupSize?, scheme: String?)
    /// It is quantized to a block type of llama.cpp, such as `Q4_1` or `Q6_K`.
    ///
    /// The encoding is groups if the blocks store groups.
    case blocks(Encoding)
    /// It is quantized in a mode of MLX.
    case mode(ScaledMode)
    /// It is written as plain numbers of a type.
    case plain(ScalarType)
  }

  /// A shell pattern for names, which may leave out a final `.weight`.
  public var pattern: String
  /// What is done with the tensors.
  public var choice: Choice

  /// Creates a rule.
  public init(pattern: String, choice: Choice) {
    self.pattern = pattern
    self.choice = choice
  }

  /// Creates a rule from its text.
  ///
  /// The text is `glob=keep`, `glob=8`, `glob=8:32:minmax`, `glob=Q8_0`, `glob=mxfp8` or `glob=F16`.
  /// Throws `usage` for any other text.
  public init(text: String) throws(ModelError) {
    guard let index = text.lastIndex(of: "="), index != text.startIndex else {
      throw ModelError(
        .usage, "a rule has no '='", expected: "glob=rule, such as '*.down_proj=8:32'", found: text)
    }
    try self.init(
      pattern: String(text[..<index]), choiceText: String(text[text.index(after: index)...]))
  }

  /// Creates a rule from a pattern and the text of its choice.
  ///
  /// Throws `usage` for an invalid text.
  public init(pattern: String, choiceText: String) throws(ModelError) {
    self.pattern = pattern
    choice = try Choice(text: choiceText)
  }

  /// The rule as the reason for a decision.
  var reason: String { "rule '\(pattern)=\(choice.text)'" }

  /// Whether the pattern matches the name of a tensor.
  public func matches(_ name: String) -> Bool {
    FileSystem.matches(weight: name, glob: pattern)
  }
}

/// The number of columns that share a scale.
public enum GroupSize: Sendable, Hashable {
  /// This number of columns.
  case columns(Int)
  /// All columns of a row.
  case row

  /// Creates a group size from its text: a number or `row`.
  ///
  /// Throws `usage` for any other text.
  public init(text: String) throws(ModelError) {
    if text == "row" {
      self = .row
    } else if let count = Int(text), count > 0 {
      self = .columns(count)
    } else {
      throw ModelError(.usage, "invalid group size", expected: "a number or 'row'", found: text)
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
  /// Creates a choice from its text; see `Rule.init(text:)`.
  ///
  /// Throws `usage` for any other text.
  public init(text: String) throws(ModelError) {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
    if text == "keep" {
      self = .keep
    } else if let bits = Int(parts[0]), parts.count <= 3 {
      guard Grouping.supportedBits.contains(bits) else {
        throw ModelError(
          .usage, "unsupported number of bits", expected: Grouping.supportedBits.choices,
          found: parts[0])
      }
      if parts.count == 3 { _ = try Schemes.named(parts[2]) }
      self = .quantize(
        bits: bits, group: parts.count > 1 ? try GroupSize(text: parts[1]) : nil,
        scheme: parts.count > 2 ? parts[2] : nil)
    } else if let type = try? Recipe.floatType(named: text) {
      self = .plain(type)
    } else if let encoding = GGMLCodec.encoding(named: text) {
      self = .blocks(encoding)
    } else if let mode = ScaledMode(rawValue: text.lowercased()) {
      self = .mode(mode)
    } else {
      throw ModelError(
        .usage, "invalid rule",
        expected: "keep, bits[:group[:scheme]], F16, BF16, F32, or a type such as Q8_0 or mxfp8",
        found: text)
    }
  }

  /// The text that `init(text:)` reads.
  public var text: String {
    switch self {
    case .keep: return "keep"
    case .plain(let type): return type.name
    case .blocks(let encoding): return GGMLCodec.name(of: encoding)
    case .mode(let mode): return mode.name
    case .quantize(let bits, let group, let scheme):
      let parts = [String(bits), group?.text, scheme]
      return parts.compactMap { $0 }.joined(separator: ":")
    }
  }
}
