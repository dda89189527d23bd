internal import Bytes
internal import TensorModel

extension FastTokenizer {
  /// Whether another tokenizer has the same tokens, ids and merges.
  ///
  /// The order of tokens in the file, and options that programs write in different ways, may differ.
  func hasSameTokens(as other: FastTokenizer) -> Bool {
    guard texts.count == other.texts.count, merges.count == other.merges.count,
      addedTokens.count == other.addedTokens.count
    else { return false }
    for index in 0..<texts.count {
      guard let found = other.texts.index(of: texts[index]), other.ids[found] == ids[index] else {
        return false
      }
    }
    return (0..<merges.count).allSatisfy { merges[$0] == other.merges[$0] }
      && zip(addedTokens, other.addedTokens).allSatisfy {
        $0.id == $1.id && $0.text.hasSameBytes(as: $1.text)
      }
  }

  /// Whether another tokenizer splits texts in the same way.
  ///
  /// The same may be written otherwise: spaces by a normalizer, patterns in a long or a short form.
  func splitsAlike(_ other: FastTokenizer) -> Bool {
    if let spacing, let others = other.spacing { return spacing.addsSpace == others.addsSpace }
    if preTokenizer == other.preTokenizer { return true }
    guard let known = preTokenizer.known(ignoringMerges: false) else { return false }
    return known.definitions == other.preTokenizer.known(ignoringMerges: false)?.definitions
  }

  /// The tokens that are added to texts.
  var postProcessing: PostProcessing { PostProcessing(parts["post_processor"] ?? .null) }
}

/// The tokens that a `post_processor` adds to a text, or to a pair of texts.
///
/// Two values are equal if they add the same tokens, by whatever steps.
struct PostProcessing: Equatable {
  private enum Item: Equatable {
    case text(String)
    case token(ExactName)
  }

  private enum Step: Equatable {
    case template(single: [Item], pair: [Item])
    case other(String)
  }

  private static let nothing = Step.template(
    single: [.text("A")], pair: [.text("A"), .text("B")])

  private var steps: [Step] = []

  /// Reads a `post_processor`.
  init(_ value: JSONValue) {
    for processor in value["processors"]?.array ?? [value] {
      let step = Self.step(processor)
      if step != Self.nothing { steps.append(step) }
    }
  }

  /// The texts of the tokens before and after a text, if there is one each and no other.
  var ends: (first: String, last: String)? {
    guard steps.count == 1, case .template(let single, _) = steps[0], single.count == 3,
      case .token(let first) = single[0], case .text = single[1], case .token(let last) = single[2]
    else { return nil }
    return (first.text, last.text)
  }

  private static func step(_ value: JSONValue) -> Step {
    switch value["type"]?.string {
    // ByteLevel changes only the positions of tokens.
    case nil, "ByteLevel": return nothing
    case "TemplateProcessing":
      return .template(single: items(value["single"]), pair: items(value["pair"]))
    case "BertProcessing": return marks(value, between: 1)
    case "RobertaProcessing": return marks(value, between: 2)
    case let type?: return .other(type)
    }
  }

  private static func items(_ list: JSONValue?) -> [Item] {
    (list?.array ?? []).map { item in
      if let text = item["Sequence"]?["id"]?.string { return .text(text) }
      return .token(ExactName(item["SpecialToken"]?["id"]?.string ?? ""))
    }
  }

  /// A first token, and separators after each text, with `count` of them between two texts.
  private static func marks(_ value: JSONValue, between count: Int) -> Step {
    func token(_ kind: String) -> Item {
      .token(ExactName(value[kind]?.array?.first?.string ?? ""))
    }
    let (first, last) = ([token("cls"), .text("A")], token("sep"))
    return .template(
      single: first + [last],
      pair: first + Array(repeating: last, count: count) + [.text("B"), last])
  }
}
