internal import Architectures
internal import TensorModel

/// Finds the tensor of the base model that a name of an adapter means.
///
/// An exact match wins. Otherwise both names may have other words before the layer: those that a
/// larger model puts before its text model, or those of a wrapper.
struct NameMatching: Sendable {
  /// What a name means.
  enum Match: Hashable {
    /// One tensor, by its own name or by its alias.
    case one(tensor: Int, isAlias: Bool)
    /// Several tensors, so that the name is ambiguous.
    case several([String])
    /// No tensor.
    case none
  }

  private let base: [BaseTensor]
  private var exact: [ExactName: Match] = [:]
  private var byKey: [ExactName: [Entry]] = [:]
  private var byEnd: [ExactName: [Entry]] = [:]

  /// A name of a tensor.
  private struct Entry {
    var tensor: Int
    var isAlias: Bool
    var name: String
  }

  init(_ base: [BaseTensor]) {
    self.base = base
    // Own names come last, because they win over aliases.
    for isAlias in [true, false] {
      for (index, tensor) in base.enumerated() {
        guard let name = isAlias ? tensor.alias : tensor.info.name else { continue }
        exact[ExactName(name)] = .one(tensor: index, isAlias: isAlias)
        let entry = Entry(tensor: index, isAlias: isAlias, name: name)
        byKey[ExactName(Self.key(name)), default: []].append(entry)
        byEnd[ExactName(Self.end(name)), default: []].append(entry)
      }
    }
  }

  /// The tensor that a name means.
  func callAsFunction(_ target: String) -> Match {
    if let exact = exact[ExactName(target)] { return exact }
    let same = byKey[ExactName(Self.key(target))] ?? []
    let similar = (byEnd[ExactName(Self.end(target))] ?? []).filter {
      Self.differInPrefix(target, $0.name)
    }
    for isAlias in [false, true] {
      let found = Set((same + similar).filter { $0.isAlias == isAlias }.map(\.tensor)).sorted()
      // Several names of one tensor leave no doubt.
      let places = Set(found.map { [base[$0].index, base[$0].firstRow] })
      if places.count == 1 { return .one(tensor: found[0], isAlias: isAlias) }
      if places.count > 1 { return .several(found.map { base[$0].info.name }) }
    }
    return .none
  }

  /// Whether one of two names is the other one with words of a wrapper before it.
  ///
  /// A layer number, or the name of a tower, is no word of a wrapper.
  private static func differInPrefix(_ left: String, _ right: String) -> Bool {
    let (long, short) = left.utf8.count < right.utf8.count ? (right, left) : (left, right)
    guard long.hasSuffix("." + short) else { return false }
    return long.dropLast(short.count + 1).split(separator: ".").allSatisfy { word in
      Int(word) == nil && !TensorNames.isTower(String(word))
    }
  }

  /// The end of a name that names share if they differ in the words before the layer only.
  ///
  /// It begins with the first number. Names without one share the last two words.
  static func end(_ name: String) -> String {
    let words = name.split(separator: ".")
    let start = words.firstIndex { Int($0) != nil } ?? max(0, words.count - 2)
    return words[start...].joined(separator: ".")
  }

  /// The name without the words before the text model.
  private static func key(_ name: String) -> String { TextPrefix.stripped(name).rest }

  /// The words that training frameworks add to the names of the modules that they wrap.
  private static let wrappers: Set<String> = [
    "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module",
  ]

  /// Words of a name without those of wrappers: of torch.compile, FSDP, checkpointing, DDP and PEFT.
  static func unwrapped(_ words: [String]) -> [String] {
    var words = words.filter { !wrappers.contains($0) }
    while true {
      if words.first == "module" || words.first == "pretrained_model" {
        words.removeFirst()
      } else if words.starts(with: ["base_model", "model"]) {
        words.removeFirst(2)
      } else {
        return words
      }
    }
  }
}
