internal import Architectures
package import TensorModel

/// Finds the tensor of the base model for each change of an adapter.
package struct Pairing: Sendable {
  private let base: [BaseTensor]
  private let prefersTransposedExperts: Bool
  private var names: [ExactName: (tensor: Int, isAlias: Bool)] = [:]

  /// Creates a pairing with the tensors of a base model.
  ///
  /// - Parameters:
  ///   - base: The tensors of the base model.
  ///   - prefersTransposedExperts: Whether square stacked experts are [inputs, outputs].
  package init(_ base: [BaseTensor], prefersTransposedExperts: Bool = false) {
    self.base = base
    self.prefersTransposedExperts = prefersTransposedExperts
    for (index, tensor) in base.enumerated() {
      if let alias = tensor.alias { names[ExactName(alias)] = (index, true) }
    }
    for (index, tensor) in base.enumerated() { names[ExactName(tensor.info.name)] = (index, false) }
  }

  /// How the user wants an adapter to be applied.
  package struct Use: Sendable {
    /// The index among all adapters that are applied.
    package var index: Int
    /// The factor of the adapter's own scale.
    package var strength: Double
    /// How inputs were pooled, if the adapter does not state it.
    package var pooling: Pooling?

    package init(index: Int, strength: Double = 1, pooling: Pooling? = nil) {
      self.index = index
      self.strength = strength
      self.pooling = pooling
    }
  }

  /// Pairs each change of an adapter with its tensor; replacements come first.
  ///
  /// Throws `mismatch` if a change has no tensor or does not fit its shape, `unsupported` if it
  /// cannot be applied there, and `usage` if the pooling is needed but unknown.
  package func pair(_ adapter: Adapter, _ use: Use) throws(ModelError) -> [PairedChange] {
    guard !adapter.changes.isEmpty else {
      throw ModelError(
        .malformed, "the adapter changes nothing", file: adapter.path,
        expected: "tensors such as lora_A and lora_B", found: "none")
    }
    var changes: [PairedChange] = []
    var unmatched: [AdapterChange] = []
    do throws(ModelError) {
      for change in adapter.changes {
        guard let paired = try fit(change, adapter, use) else {
          unmatched.append(change)
          continue
        }
        changes.append(paired)
      }
      if let first = unmatched.first { throw missingTensor(first, count: unmatched.count) }
      changes = changes.filter(\.isReplacement) + changes.filter { !$0.isReplacement }
      try checkRepeats(changes)
    } catch {
      throw error.located(file: adapter.path)
    }
    return changes
  }

  // MARK: - Names

  /// The tensor that a target name means; nil if no tensor fits, or several do.
  ///
  /// An exact match wins. Otherwise the target and the name may differ by a prefix.
  private func find(_ target: String) -> (tensor: Int, isAlias: Bool)? {
    if let exact = names[ExactName(target)] { return exact }
    // A wrapper module adds a prefix to all names, of the adapter or of the base model.
    let ends = base.indices.filter { Self.differInPrefix(target, base[$0].info.name) }
    if !ends.isEmpty { return ends.count == 1 ? (tensor: ends[0], isAlias: false) : nil }
    let aliases = base.indices.filter {
      base[$0].alias.map { Self.differInPrefix(target, $0) } ?? false
    }
    return aliases.count == 1 ? (tensor: aliases[0], isAlias: true) : nil
  }

  private static func differInPrefix(_ target: String, _ name: String) -> Bool {
    name.hasSuffix("." + target) || target.hasSuffix("." + name)
  }

  private func missingTensor(_ change: AdapterChange, count: Int) -> ModelError {
    let target = change.candidates[0].target
    let known = base.flatMap { [$0.info.name, $0.alias].compactMap { $0 } }
    let nearest = NearName.nearest(to: target, among: known, count: 3)
    let isStack =
      if case .lowRank(let product) = change.candidates[0].operation {
        product.expertCount > 1
      } else {
        false
      }
    let isTiedHead = TensorNames.isHead(target)
    return ModelError(
      .mismatch,
      count == 1
        ? "the base model has no tensor for a part of the adapter"
        : "the base model has no tensors for \(count) parts of the adapter",
      tensor: target,
      expected: nearest.isEmpty ? nil : "a name such as " + nearest.joined(separator: ", "),
      found: target,
      hint: isTiedHead
        ? "the base model has tied embeddings, so there is no separate head to change"
        : isStack
          ? "the adapter changes stacked experts: save the base model with transformers' "
            + "save_pretrained(path, save_original_format=False), which stacks them"
          : "was the adapter trained for another model?")
  }

  // PEFT saves the whole embeddings beside their factors. The copy replaces the tensor of the base
  // model, and the factors are added to it.
  private func checkRepeats(_ changes: [PairedChange]) throws(ModelError) {
    var seen: Set<Int> = []
    let copies = Set(changes.filter(\.isReplacement).map(\.tensor))
    for change in changes where !seen.insert(change.tensor).inserted {
      if copies.contains(change.tensor), change.lowRank != nil { continue }
      throw ModelError(
        .mismatch, "two parts of the adapter change the same tensor",
        tensor: base[change.tensor].info.name)
    }
  }

  // MARK: - Shapes

  /// Pairs a change with its first candidate that fits; nil if the base model has none.
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
            .unsupported,
            "the base model stores the tensor in another form than the adapter expects",
            found: difference, hint: "fold into the Hugging Face model, then convert the result")
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
        throw shapeMismatch(adapter, [tensor], info)
      }
      return .replacement(tensor: tensor)
    case .vector(let tensor, let scale):
      guard adapter.tensors[tensor].shape == info.shape, info.shape.rank == 1 else {
        throw shapeMismatch(adapter, [tensor], info)
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
        adapter.tensors[magnitude].shape.elementCount != product.left.vectorCount
      {
        throw shapeMismatch(adapter, [magnitude], info)
      }
      return .lowRank(product, groupSize: groupSize)
    }
  }

  /// Transposes a product if the tensor requires it.
  ///
  /// Returns the group size for pooled inputs, otherwise nil. Throws `mismatch` and `unsupported`.
  private func orient(
    _ product: inout LowRank, to info: TensorInfo, _ adapter: Adapter
  ) throws(ModelError) -> Int? {
    let tensors = [product.right.tensor, product.left.tensor]
    guard product.magnitude == nil || product.expertCount == 1 else {
      throw ModelError(.unsupported, "DoRA of stacked experts is not supported")
    }
    let stack = info.shape.dimensions.dropLast(2).reduce(1, *)
    let isStack = info.shape.rank == 3 && product.expertCount == stack
    guard info.shape.rank == 2 && product.expertCount == 1 || isStack else {
      throw shapeMismatch(adapter, tensors, info)
    }
    let rows = info.shape.dimensions[info.shape.rank - 2]
    func fits(_ product: LowRank) -> Bool {
      product.left.vectorCount == rows && product.right.vectorCount == info.shape.columnCount
    }
    let (straight, transposed) = (fits(product), fits(product.transposed))
    let isTransposed =
      switch product.orientation {
      case .straight: false
      case .transposedFirst: transposed
      case .either: transposed && (!straight || prefersTransposedExperts)
      }
    if isTransposed {
      product = product.transposed
      product.isTransposed = true
      guard product.magnitude == nil else {
        throw ModelError(
          .unsupported, "DoRA of a weight that is stored transposed is not supported")
      }
      return nil
    }
    if straight { return nil }
    guard product.left.vectorCount == rows, product.expertCount == 1,
      product.orientation == .straight
    else {
      throw shapeMismatch(adapter, tensors, info)
    }
    return try pooledGroup(product, info, adapter)
  }

  /// The smallest group size that is accepted if no config states it.
  ///
  /// Tools make groups of 16 or more. A smaller size means that the adapter is for a model of
  /// another width.
  private static let smallestGroup = 8

  private func pooledGroup(
    _ product: LowRank, _ info: TensorInfo, _ adapter: Adapter
  ) throws(ModelError) -> Int {
    let (width, columns) = (product.right.vectorCount, info.shape.columnCount)
    let size = width > 0 && columns % width == 0 ? columns / width : 0
    if let declared = product.groupSize, declared != size {
      throw ModelError(
        .mismatch, "the number of inputs of a factor contradicts the config",
        expected: "\(columns) columns, or \(columns / declared) groups of \(declared) "
          + "(qalora_group_size)",
        found: "\(width) in \(adapter.tensors[product.right.tensor].name)")
    }
    guard size >= (product.groupSize == nil ? Self.smallestGroup : 1), product.magnitude == nil
    else {
      throw shapeMismatch(adapter, [product.right.tensor, product.left.tensor], info)
    }
    return size
  }

  private func pooling(_ adapter: Adapter, _ use: Use) throws(ModelError) -> Pooling {
    if let stated = adapter.pooling {
      if let wanted = use.pooling, wanted != stated {
        throw ModelError(
          .mismatch, "the adapter states a different pooling",
          expected: "--pooling \(stated.rawValue)", found: "--pooling \(wanted.rawValue)",
          hint: "leave --pooling out")
      }
      return stated
    }
    if let wanted = use.pooling { return wanted }
    throw ModelError(
      .usage, "the adapter does not state its pooling, and the result depends on it",
      expected: "--pooling "
        + Pooling.allCases.map { "\($0.rawValue) (\($0.summary))" }.joined(separator: ", "),
      hint: "see the training code for how it pools inputs and scales the result")
  }

  private func shapeMismatch(
    _ adapter: Adapter, _ tensors: [Int], _ info: TensorInfo
  ) -> ModelError {
    let shapes = tensors.map { "\(adapter.tensors[$0].name) \(adapter.tensors[$0].shape)" }
    return ModelError(
      .mismatch, "the adapter does not fit the tensor", expected: "\(info.shape)",
      found: shapes.joined(separator: ", "))
  }
}
