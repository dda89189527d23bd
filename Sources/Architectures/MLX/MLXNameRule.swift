/// A change of tensor names from Hugging Face to mlx-lm.
///
/// It replaces adjacent words; a word is a part of a name between dots. In the pattern, `*` stands
/// for the number of an expert. With `^` in front, the words must begin the name. With `$` at the
/// end, they must end it, and the new name gets the ending `.weight`.
struct MLXNameRule: Sendable {
  private let words: [Substring]
  private let targets: [[Substring]]
  private let beginsName: Bool
  private let endsName: Bool

  /// Creates a rule from a pattern and the words that replace it.
  ///
  /// With several targets, each gets an equal run of the rows of every matrix.
  init(_ pattern: String, _ targets: String...) {
    beginsName = pattern.hasPrefix("^")
    endsName = pattern.hasSuffix("$")
    let words = pattern.dropFirst(beginsName ? 1 : 0).dropLast(endsName ? 1 : 0)
    self.words = words.split(separator: ".")
    self.targets = targets.map { $0.split(separator: ".") }
  }

  /// A name after the rule, and the number of the expert; nil if the rule does not apply.
  ///
  /// Several names if the tensor is divided.
  func applied(to name: [Substring]) -> (names: [[Substring]], expert: Int?)? {
    guard name.count >= words.count else { return nil }
    let last = name.count - words.count
    for start in endsName ? last...last : 0...(beginsName ? 0 : last) {
      let end = start + words.count
      guard let match = Match(words, name[start..<end]) else { continue }
      let names = targets.map { target in
        name[..<start] + target + (endsName ? ["weight"] : name[end...])
      }
      return (names.map(Array.init), match.expert)
    }
    return nil
  }

  /// Whether the rule applies to a name.
  func matches(_ name: [Substring]) -> Bool { applied(to: name) != nil }

  /// A match of words that stand for others, or for numbers.
  private struct Match {
    var expert: Int?

    /// Compares words with those of a name; nil if they differ.
    init?(_ words: [Substring], _ found: ArraySlice<Substring>) {
      for (word, own) in zip(words, found) where word != own {
        guard word == "*", NameParts.isNumber(own), let number = Int(own) else { return nil }
        expert = number
      }
    }
  }
}

extension MLXNameRule {
  /// The experts of gated feed-forward networks, one by one or as transformers stacks them.
  static func gated(_ experts: String, _ stack: String) -> [MLXNameRule] {
    ["gate_proj", "up_proj", "down_proj"].map {
      MLXNameRule("\(experts).*.\($0)", "\(stack).\($0)")
    } + stacked(experts, stack)
  }

  /// The same with numbered matrices: w1 is the gate, w2 goes down, w3 goes up.
  static func numbered(_ experts: String, _ stack: String) -> [MLXNameRule] {
    [("w1", "gate_proj"), ("w2", "down_proj"), ("w3", "up_proj")].map {
      MLXNameRule("\(experts).*.\($0.0)", "\(stack).\($0.1)")
    }
  }

  /// The experts as transformers stacks them: the rows of the gate, then those that go up.
  static func stacked(_ experts: String, _ stack: String) -> [MLXNameRule] {
    [
      MLXNameRule("\(experts).gate_up_proj$", "\(stack).gate_proj", "\(stack).up_proj"),
      MLXNameRule("\(experts).down_proj$", "\(stack).down_proj"),
    ]
  }
}
