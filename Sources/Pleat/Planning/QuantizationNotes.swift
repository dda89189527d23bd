internal import Architectures
internal import Quantization
internal import TensorModel

/// What the user should know about a quantization before it runs.
extension QuantizationPlanner {
  /// Notes about weights that are not quantized, and about importance and rules without an effect.
  ///
  /// - Parameters:
  ///   - wishes: The decision for each tensor of the catalog, in order.
  ///   - leavesOutTowers: Whether the output contains no towers.
  /// - Returns: The notes, for people.
  mutating func notes(on wishes: [TensorWish], leavesOutTowers: Bool) -> [String] {
    Self.notes(on: wishes) + importanceNotes(wishes)
      + (leavesOutTowers ? [] : towerNotes(wishes)) + ruleNotes()
  }

  /// Notes about weights that are not quantized although the recipe asks for it.
  private static func notes(on wishes: [TensorWish]) -> [String] {
    func notQuantized(_ count: Int) -> String {
      count == 1 ? "1 weight is not quantized" : "\(count) weights are not quantized"
    }
    var notes: [String] = []
    let indivisible = wishes.filter { $0.exception == .indivisible }
    if let first = indivisible.first?.source {
      notes.append(
        "\(notQuantized(indivisible.count)), because the group size does not divide the number of "
          + "columns: \(first.name) has \(first.shape.columnCount) columns")
    }
    let refusals = wishes.compactMap { wish -> (String, String)? in
      switch wish.exception {
      case .shape(let refusal), .type(let refusal): (wish.source.name, refusal)
      case .indivisible, .otherType, nil: nil
      }
    }
    if let (name, refusal) = refusals.first {
      notes.append("\(notQuantized(refusals.count)): \(refusal) for \(name)")
    }
    let others = wishes.filter { $0.exception == .otherType }
    if let first = others.first {
      notes.append(
        (others.count == 1 ? "1 weight gets" : "\(others.count) weights get")
          + " another type than the mix has for \(others.count == 1 ? "it" : "them"), such as "
          + "\(first.source.name): \(first.reason)")
    }
    return notes
  }

  /// A note about weights with importance that a scheme does not use: that of a rule, or the one
  /// that makes groups which the scheme of the recipe does not make.
  private func importanceNotes(_ wishes: [TensorWish]) -> [String] {
    guard let importance else { return [] }
    let ignored = wishes.compactMap { wish -> (name: String, method: String)? in
      guard importance.contains(wish.sourceName) else { return nil }
      switch wish.transform {
      case .encode(_, .groups(let quantizer, _)) where !quantizer.usesImportance:
        return (wish.source.name, "scheme \(quantizer.schemeName)")
      case .encode(_, .scaled(let encoder)):
        return (wish.source.name, "mode \(encoder.mode.name)")
      default: return nil
      }
    }
    guard let first = ignored.first else { return [] }
    return [
      "the importance of \(ignored.count) weight\(ignored.count == 1 ? "" : "s") has no effect: "
        + "the \(first.method) does not use it for \(first.name)"
    ]
  }

  // MARK: - Towers

  /// Notes about towers for pictures and sound, which stay plain unless a rule matches them.
  private mutating func towerNotes(_ wishes: [TensorWish]) -> [String] {
    guard roles.hasFoundTowers else { return [] }
    var (keepsWeights, keptCount) = (false, 0)
    var rounded: [(name: String, rule: Rule)] = []
    for wish in wishes where roles.isTower(wish.source) {
      if wish.action == .quantize {
        let rule = recipe.rules.last { $0.matches(wish.source.name) }
        if let rule { rounded.append((wish.source.name, rule)) }
      } else {
        keptCount += 1
        if roles.role(of: wish.source) == .tower { keepsWeights = true }
      }
    }
    var notes: [String] = []
    if keepsWeights {
      notes.append(
        "the vision or audio tower stays in 16 bits: "
          + "\(keptCount) tensor\(keptCount == 1 ? "" : "s")")
    }
    // A pattern such as `*.down_proj` may be meant for the text model only.
    var chance: [Rule: Bool] = [:]
    for rule in Set(rounded.map(\.rule)) { chance[rule] = matchesTextModel(rule) }
    let matched = rounded.filter { chance[$0.rule] ?? false }
    if let first = matched.first {
      notes.append(
        "\(matched.count) weight\(matched.count == 1 ? "" : "s") of the vision or audio tower "
          + "\(matched.count == 1 ? "is" : "are") quantized, because the rule "
          + "'\(first.rule.pattern)' matches \(first.name)")
    }
    return notes
  }

  private mutating func matchesTextModel(_ rule: Rule) -> Bool {
    for tensor in catalog.tensors where !roles.isTower(tensor) && rule.matches(tensor.name) {
      return true
    }
    return false
  }

  // MARK: - Rules

  /// A note for each rule that matches no tensor, or only tensors that are never quantized.
  private mutating func ruleNotes() -> [String] {
    var notes: [String] = []
    for rule in recipe.rules {
      if let note = note(on: rule), !notes.contains(note) { notes.append(note) }
    }
    return notes
  }

  private mutating func note(on rule: Rule) -> String? {
    let text = "the rule '\(rule.pattern)=\(rule.choice.text)'"
    var excluded: (name: String, reason: String)?
    for tensor in catalog.tensors where rule.matches(tensor.name) {
      guard rule.choice.isGrouped, case .other(let reason) = roles.role(of: tensor) else {
        return nil
      }
      excluded = excluded ?? (tensor.name, reason)
    }
    if let excluded {
      return "\(text) quantizes nothing: it matches only tensors that are never quantized, such "
        + "as \(excluded.name) (\(excluded.reason))"
    }
    let near = NearPattern(rule.pattern).nearest(among: catalog.tensors.map(\.name), count: 2)
    if let first = catalog.tensors.first, near.isEmpty {
      return "\(text) matches no tensor; the source has names such as \(first.name)"
    }
    return "\(text) matches no tensor; "
      + "the nearest name\(near.count == 1 ? " is" : "s are") \(near.joined(separator: " and "))"
  }
}

extension Rule.Choice {
  /// Whether it quantizes.
  var isGrouped: Bool {
    switch self {
    case .quantize, .blocks, .mode: true
    case .keep, .plain: false
    }
  }
}

/// The words of a pattern that its author may have misspelled.
private struct NearPattern {
  /// The longest part of the pattern without wildcards, by words.
  private let words: [Substring]

  init(_ pattern: String) {
    let parts = pattern.split { "*?[]".contains($0) }
    let longest = parts.max { $0.utf8.count < $1.utf8.count } ?? ""
    words = longest.split(separator: ".").filter { $0 != "weight" }
  }

  /// The tensors with the most similar words, the most similar first.
  ///
  /// If no name has words like all of these, the first words are left out, one after another.
  func nearest(among names: [String], count: Int) -> [String] {
    for start in words.indices where words[start...].contains(where: { Int($0) == nil }) {
      let found = Self.nearest(to: words[start...], among: names, count: count)
      if !found.isEmpty { return found }
    }
    return []
  }

  /// The tensors that have adjacent words like these.
  ///
  /// Of names with the same words but other numbers, the first is returned.
  private static func nearest(
    to words: ArraySlice<Substring>, among names: [String], count: Int
  ) -> [String] {
    var seen: [String: String] = [:]  // the first name with these words
    var candidates: [String] = []
    for name in names {
      let all = name.split(separator: ".").filter { $0 != "weight" }
      for start in 0..<max(0, all.count - words.count + 1) {
        let key = key(all[start..<start + words.count])
        guard seen[key] == nil else { continue }
        seen[key] = name
        candidates.append(key)
      }
    }
    var result: [String] = []
    for key in NearName.nearest(to: key(words), among: candidates, count: count) {
      if let name = seen[key], !result.contains(name) { result.append(name) }
    }
    return result
  }

  /// The words in lower case, with 0 for every number.
  private static func key(_ words: ArraySlice<Substring>) -> String {
    words.map { Int($0) == nil ? $0.lowercased() : "0" }.joined(separator: ".")
  }
}
