internal import Kernels

/// A rule of a mix: certain tensors get another type than the base.
struct MixRule: Sendable, Hashable {
  /// The kind of tensors to which it applies.
  let part: MixPart
  /// Which of them it selects.
  let selection: Selection
  /// Their type.
  let type: BlockType
  /// The architectures in which it applies.
  let family: Family
  /// Whether it depends on an importance matrix.
  let matrix: Matrix

  /// Which tensors of a kind a rule selects.
  enum Selection: Sendable, Hashable {
    /// All.
    case always
    /// All, if at least 4 heads of queries share one of keys.
    case sharedKeys
    /// So many.
    case first(Int)
    /// The first of so many equal parts of the layers.
    case firstPart(Int)
    /// The first eighth, the last eighth, and every third between them.
    case endsAndThirds
  }

  /// Architectures to which a rule is limited.
  enum Family: Sendable, Hashable {
    case all
    case falcon
    case othersThanFalcon
  }

  /// Whether a rule depends on an importance matrix.
  enum Matrix: Sendable, Hashable {
    case any
    case withMatrix
    case withoutMatrix
  }

  init(
    _ part: MixPart, _ selection: Selection, _ type: BlockType, in family: Family = .all,
    if matrix: Matrix = .any
  ) {
    self.part = part
    self.selection = selection
    self.type = type
    self.family = family
    self.matrix = matrix
  }

  /// Whether it applies to any tensor of a kind in a model.
  func applies(to part: MixPart, isFalcon: Bool, hasMatrix: Bool) -> Bool {
    guard part == self.part else { return false }
    let fitsFamily = family == .all || (family == .falcon) == isFalcon
    return fitsFamily && (matrix == .any || (matrix == .withMatrix) == hasMatrix)
  }

  /// Why it selects a tensor.
  ///
  /// - Parameters:
  ///   - noun: The name of the kind, such as `attn_v`.
  ///   - index: The index of the tensor.
  ///   - count: The number of tensors, or of layers.
  ///   - keySharing: The number of heads of queries that share one of keys.
  ///   - mix: The name of the mix.
  /// - Returns: The reason in a few words; nil if it does not select the tensor.
  func reason(
    _ noun: String, _ index: Int, of count: Int, keySharing: Int, mix: String
  ) -> String? {
    let selected: String?
    switch selection {
    case .always: selected = "\(noun) in \(mix)"
    case .sharedKeys: selected = keySharing < 4 ? nil : "\(noun) shared by \(keySharing) heads"
    case .first(let limit): selected = index < limit ? "one of the first \(limit) \(noun)" : nil
    case .firstPart(let parts):
      selected =
        index < count / parts ? "\(noun), first \(parts == 8 ? "eighth" : "sixteenth")" : nil
    case .endsAndThirds:
      let eighth = count / 8
      if index < eighth {
        selected = "\(noun), first eighth"
      } else if index >= 7 * count / 8 {
        selected = "\(noun), last eighth"
      } else {
        selected = (index - eighth) % 3 == 2 ? "every third \(noun)" : nil
      }
    }
    switch matrix {
    case .any: return selected
    case .withMatrix: return selected.map { $0 + ", with an importance matrix" }
    case .withoutMatrix: return selected.map { $0 + ", without an importance matrix" }
    }
  }
}
