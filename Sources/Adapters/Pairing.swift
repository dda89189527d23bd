package import TensorModel

/// Finds the tensors of a base that the changes of an adapter are for.
package struct Pairing: Sendable {
  private let base: [BaseTensor]
  private let prefersTransposedExperts: Bool
  private var names: [ExactName: (tensor: Int, isAlias: Bool)] = [:]

  /// - Parameters:
  ///   - base: The tensors of the base.
  ///   - prefersTransposedExperts: Whether square stacks of experts are [inputs, outputs] each.
  package init(_ base: [BaseTensor], prefersTransposedExperts: Bool = false) {
    self.base = base
    self.prefersTransposedExperts = prefersTransposedExperts
    for (index, tensor) in base.enumerated() {
      if let alias = tensor.alias { names[ExactName(alias)] = (index, true) }
    }
    for (index, tensor) in base.enumerated() { names[ExactName(tensor.info.name)] = (index, false) }
  }

  /// A user's wishes about an adapter.
  package struct Use: Sendable {
    /// The index among all that are used.
    package var index: Int
    /// Multiplies the adapter's own scale.
    package var strength: Double
    /// How inputs were pooled, where the adapter does not tell.
    package var pooling: Pooling?

    package init(index: Int, strength: Double = 1, pooling: Pooling? = nil) {
      self.index = index
      self.strength = strength
      self.pooling = pooling
    }
  }

  /// The changes of an adapter with their tensors, replacements first.
  ///
  /// Throws `mismatch` when one fits no tensor, or has not its shape, and `usage` when the way of
  /// pooling is needed and not known.
  package func pair(_ adapter: Adapter, _ use: Use) throws(ModelError) -> [PairedChange] {
    guard !adapter.changes.isEmpty else {
      throw ModelError(
        .malformed, "the adapter changes nothing", file: adapter.path,
        expected: "tensors such as lora_A and lora_B", found: "none")
    }
    var changes: [PairedChange] = []
    var strays: [AdapterChange] = []
    do throws(ModelError) {
      for change in adapter.changes {
        guard let paired = try fit(change, adapter, use) else {
          strays.append(change)
          continue
        }
        changes.append(paired)
      }
      if let stray = strays.first { throw unmatched(stray, count: strays.count) }
      changes = changes.filter(\.isReplacement) + changes.filter { !$0.isReplacement }
      try checkRepeats(changes)
    } catch {
      throw error.located(file: adapter.path)
    }
    return changes
  }

  // MARK: - Names

  /// The tensor that a name means, the exact name before the end of a longer one.
  private func find(_ target: String) -> (tensor: Int, isAlias: Bool)? {
    if let exact = names[ExactName(target)] { return exact }
    // A wrapper in front of the model puts words in front of all names, on either side.
    let ends = base.indices.filter { Self.isEnd(target, of: base[$0].info.name) }
    if !ends.isEmpty { return ends.count == 1 ? (tensor: ends[0], isAlias: false) : nil }
    let aliases = base.indices.filter { base[$0].alias.map { Self.isEnd(target, of: $0) } ?? false }
    return aliases.count == 1 ? (tensor: aliases[0], isAlias: true) : nil
  }

  private static func isEnd(_ target: String, of name: String) -> Bool {
    name.hasSuffix("." + target) || target.hasSuffix("." + name)
  }

  private func unmatched(_ change: AdapterChange, count: Int) -> ModelError {
    let target = change.candidates[0].target
    let known = base.flatMap { [$0.info.name, $0.alias].compactMap { $0 } }
    let nearest = NearName.nearest(to: target, among: known, count: 3)
    let isStack =
      if case .lowRank(let product) = change.candidates[0].operation {
        product.expertCount > 1
      } else {
        false
      }
    let isTiedHead = target == "lm_head.weight" || target == "output.weight"
    return ModelError(
      .mismatch,
      count == 1
        ? "the base has no tensor for a part of the adapter"
        : "the base has no tensors for \(count) parts of the adapter",
      tensor: target,
      expected: nearest.isEmpty ? nil : "a name such as " + nearest.joined(separator: ", "),
      found: target,
      hint: isTiedHead
        ? "the base uses its embeddings as head; it has no weights of its own to change"
        : isStack
          ? "the adapter changes a stack of experts: transformers saves it as one tensor with "
            + "save_pretrained(path, save_original_format=False)"
          : "is it an adapter of another model?")
  }

  // PEFT saves the whole base beside the factors of embeddings: it counts, and is changed then.
  private func checkRepeats(_ changes: [PairedChange]) throws(ModelError) {
    var seen: Set<Int> = []
    let copies = Set(changes.filter(\.isReplacement).map(\.tensor))
    for change in changes where !seen.insert(change.tensor).inserted {
      if copies.contains(change.tensor), change.lowRank != nil { continue }
      throw ModelError(
        .mismatch, "two parts of the adapter are for the same tensor",
        tensor: base[change.tensor].info.name)
    }
  }

  // MARK: - Shapes

  /// The change with the first of its candidates that fits; nil when the base has none of them.
  private func fit(
    _ change: AdapterChange, _ adapter: Adapter, _ use: Use
  ) throws(ModelError) -> PairedChange? {
    var fault: ModelError?
    for candidate in change.candidates {
      guard let (index, isAlias) = find(candidate.target) else { continue }
      let tensor = base[index]
      do throws(ModelError) {
        if isAlias, let difference = tensor.aliasDifference {
          throw ModelError(
            .unsupported, "the tensor is stored otherwise than the adapter means it",
            found: difference, hint: "fold into the Hugging Face model, then convert that")
        }
        return PairedChange(
          adapter: use.index, tensor: tensor.index,
          operation: try operation(candidate.operation, on: tensor.info, adapter, use),
          rows: isAlias ? tensor.aliasRows : nil)
      } catch {
        fault = fault ?? error.located(tensor: tensor.info.name)
      }
    }
    if let fault { throw fault }
    return nil
  }

  private func operation(
    _ operation: AdapterChange.Operation, on info: TensorInfo, _ adapter: Adapter, _ use: Use
  ) throws(ModelError) -> PairedChange.Operation {
    switch operation {
    case .replacement(let tensor):
      guard adapter.tensors[tensor].shape == info.shape else {
        throw misfit(adapter, [tensor], info)
      }
      return .replacement(tensor: tensor)
    case .vector(let tensor, let scale):
      guard adapter.tensors[tensor].shape == info.shape, info.shape.rank == 1 else {
        throw misfit(adapter, [tensor], info)
      }
      return .vector(tensor: tensor, scale: scale * use.strength)
    case .lowRank(var product):
      let groupSize = try orient(&product, to: info, adapter)
      product.scale *= use.strength
      if let groupSize {
        product.scale *= try pooling(adapter, use).factor(
          groupSize: groupSize, columnCount: info.shape.columnCount)
      }
      if let magnitude = product.magnitude,
        adapter.tensors[magnitude].shape.elementCount != product.left.lineCount
      {
        throw misfit(adapter, [magnitude], info)
      }
      return .lowRank(product, groupSize: groupSize)
    }
  }

  /// Turns a product the way that fits a tensor.
  ///
  /// Returns the columns of a group where inputs are pooled. Throws `mismatch`.
  private func orient(
    _ product: inout LowRank, to info: TensorInfo, _ adapter: Adapter
  ) throws(ModelError) -> Int? {
    let tensors = [product.right.tensor, product.left.tensor]
    guard product.magnitude == nil || product.expertCount == 1 else {
      throw ModelError(.unsupported, "DoRA of a stack of experts is not folded")
    }
    let stack = info.shape.dimensions.dropLast(2).reduce(1, *)
    let isStack = info.shape.rank == 3 && product.expertCount == stack
    guard info.shape.rank == 2 && product.expertCount == 1 || isStack else {
      throw misfit(adapter, tensors, info)
    }
    let rows = info.shape.dimensions[info.shape.rank - 2]
    func fits(_ product: LowRank) -> Bool {
      product.left.lineCount == rows && product.right.lineCount == info.shape.columnCount
    }
    let (straight, transposed) = (fits(product), fits(product.transposed))
    let turns =
      switch product.orientation {
      case .straight: false
      case .transposedFirst: transposed
      case .either: transposed && (!straight || prefersTransposedExperts)
      }
    if turns {
      product = product.transposed
      product.isTransposed = true
      guard product.magnitude == nil else {
        throw ModelError(
          .unsupported, "DoRA of a base that stores its weights transposed is not folded")
      }
      return nil
    }
    if straight { return nil }
    guard product.left.lineCount == rows, product.expertCount == 1,
      product.orientation == .straight
    else {
      throw misfit(adapter, tensors, info)
    }
    return try pooledGroup(product, info, adapter)
  }

  /// Where no config names the groups, narrower ones are taken for another model's width: 16 is the
  /// least that tools make.
  private static let smallestGroup = 8

  private func pooledGroup(
    _ product: LowRank, _ info: TensorInfo, _ adapter: Adapter
  ) throws(ModelError) -> Int {
    let (width, columns) = (product.right.lineCount, info.shape.columnCount)
    let size = width > 0 && columns % width == 0 ? columns / width : 0
    if let declared = product.groupSize, declared != size {
      throw ModelError(
        .mismatch, "the inputs of a factor are not what the config says",
        expected: "\(columns) columns, or \(columns / declared) groups of \(declared) "
          + "(qalora_group_size)",
        found: "\(width) in \(adapter.tensors[product.right.tensor].name)")
    }
    guard size >= (product.groupSize == nil ? Self.smallestGroup : 1), product.magnitude == nil
    else {
      throw misfit(adapter, [product.right.tensor, product.left.tensor], info)
    }
    return size
  }

  private func pooling(_ adapter: Adapter, _ use: Use) throws(ModelError) -> Pooling {
    if let told = adapter.pooling {
      if let wanted = use.pooling, wanted != told {
        throw ModelError(
          .mismatch, "the adapter says otherwise how inputs were pooled",
          expected: "--pooling \(told.rawValue)", found: "--pooling \(wanted.rawValue)",
          hint: "leave --pooling out")
      }
      return told
    }
    if let wanted = use.pooling { return wanted }
    throw ModelError(
      .usage, "the adapter does not say how inputs were pooled, which changes the result",
      expected: "--pooling "
        + Pooling.allCases.map { "\($0.rawValue) (\($0.summary))" }.joined(separator: ", "),
      hint: "the code that trained it tells: the width of its pooling, and what it multiplies with")
  }

  private func misfit(_ adapter: Adapter, _ tensors: [Int], _ info: TensorInfo) -> ModelError {
    let shapes = tensors.map { "\(adapter.tensors[$0].name) \(adapter.tensors[$0].shape)" }
    return ModelError(
      .mismatch, "the adapter does not fit the tensor", expected: "\(info.shape)",
      found: shapes.joined(separator: ", "))
  }
}
