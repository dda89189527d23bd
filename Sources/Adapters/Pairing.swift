package import Architectures
package import TensorModel

/// Finds the tensor of the base model for each change of an adapter.
package struct Pairing: Sendable {
  let base: [BaseTensor]
  private let transposed: TransposedLayers
  let names: MLXNames
  let match: NameMatching
  private let isArranged: @Sendable (String) -> Bool
  /// The rows that tables have after an adapter replaced them by longer ones, by name.
  private var grownRows: [String: Int] = [:]

  /// Creates a pairing with the tensors of a base model.
  ///
  /// - Parameters:
  ///   - base: The tensors of the base model, and the layers that are parts of them.
  ///   - transposed: Which layers of its model type are stored as inputs × outputs.
  ///   - names: How mlx-lm names the tensors of its model type.
  ///   - isArranged: Whether other tensors were made of one for a runtime, by its name in a
  ///     checkpoint.
  package init(
    _ base: [BaseTensor], transposed: TransposedLayers = TransposedLayers(modelType: nil),
    names: MLXNames = .unknown, isArranged: @escaping @Sendable (String) -> Bool = { _ in false }
  ) {
    self.base = base
    self.transposed = transposed
    self.names = names
    self.isArranged = isArranged
    match = NameMatching(base)
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
    var pairing = self
    do throws(ModelError) {
      pairing.grownRows = try rowCounts(ofGrownTablesIn: adapter, use)
      for change in adapter.changes {
        let paired = try pairing.fit(change, adapter, use)
        if paired.isEmpty { unmatched.append(change) }
        changes += paired
      }
      if let first = unmatched.first {
        let target = first.candidates[0].target
        if isArranged(target) { throw arranged(target) }
        throw missingTensor(first, count: unmatched.count)
      }
      changes = changes.filter(\.isReplacement) + changes.filter { !$0.isReplacement }
      try checkRepeats(changes)
    } catch {
      throw error.located(file: adapter.path)
    }
    return changes
  }

  /// The rows of the tables that an adapter replaces by longer ones, by the name of the table.
  private func rowCounts(
    ofGrownTablesIn adapter: Adapter, _ use: Use
  ) throws(ModelError) -> [String: Int] {
    var counts: [String: Int] = [:]
    for change in adapter.changes {
      guard case .replacement(let tensor) = change.candidates[0].operation,
        case .one(let index, _) = find(change.candidates[0].target)
      else { continue }
      let (shape, info) = (adapter.tensors[tensor].shape, base[index].info)
      if shape.grows(info) { counts[info.name] = shape.rowCount }
    }
    return counts
  }

  // PEFT saves the whole embeddings beside their factors and rows. The copy replaces the tensor of
  // the base model, and the other changes are applied to it.
  private func checkRepeats(_ changes: [PairedChange]) throws(ModelError) {
    var seen: [Int: [PairedChange]] = [:]
    for change in changes {
      let others = seen[change.tensor] ?? []
      seen[change.tensor, default: []].append(change)
      let other = others.first {
        $0.overlaps(change) && !($0.isReplacement && !change.isReplacement)
      }
      guard other != nil else { continue }
      throw ModelError(
        .mismatch, "two parts of the adapter change the same tensor",
        tensor: base[change.tensor].info.name)
    }
  }

  // MARK: - Shapes

  /// The tensor that a name means, also if it has another name in mlx-lm.
  private func find(_ target: String) -> NameMatching.Match {
    let found = match(target)
    guard found == .none else { return found }
    let layers = names.layers(of: target, expertCount: nil)
    return layers.count > 1 || layers == [target] ? .none : match(layers[0])
  }

  /// Pairs a change with its first candidate that fits; empty if the base model has none.
  ///
  /// A change of a fused matrix or of a stack becomes several if the base model stores the layers
  /// one by one.
  private func fit(
    _ change: AdapterChange, _ adapter: Adapter, _ use: Use
  ) throws(ModelError) -> [PairedChange] {
    var fault: ModelError?
    for candidate in change.candidates {
      do throws(ModelError) {
        switch find(candidate.target) {
        case .one(let index, let isAlias):
          return [try fit(candidate.operation, base[index], isAlias: isAlias, adapter, use)]
        case .several(let names): throw ambiguous(candidate.target, names)
        case .none: break
        }
        let parts = try divide(candidate, adapter, use)
        if !parts.isEmpty { return parts }
      } catch {
        // A question to the user about one candidate counts more than a shape of another one.
        if fault == nil || error.kind == .usage { fault = error }
      }
    }
    if let fault { throw fault }
    return []
  }

  private func fit(
    _ operation: AdapterChange.Operation, _ tensor: BaseTensor, isAlias: Bool, _ adapter: Adapter,
    _ use: Use
  ) throws(ModelError) -> PairedChange {
    do throws(ModelError) {
      if isAlias, let difference = tensor.aliasDifference {
        throw ModelError(
          .unsupported,
          "the base model stores the tensor in another form than the adapter expects",
          found: difference, hint: Self.foldFirst)
      }
      var change = PairedChange(
        adapter: use.index, tensor: tensor.index,
        operation: try self.operation(operation, on: tensor.info, adapter, use),
        rows: isAlias ? tensor.aliasRows : nil)
      if case .replacement(let index) = operation, adapter.tensors[index].shape.grows(tensor.info) {
        change.grownRowCount = adapter.tensors[index].shape.rowCount
      }
      guard tensor.isPart else { return change }
      guard change.lowRank != nil else {
        throw ModelError(
          .unsupported, "the base model stores the layer as a part of a larger tensor",
          expected: "a low-rank change",
          found: change.tensors(of: adapter).joined(separator: ", "))
      }
      change.window = tensor.firstRow..<tensor.firstRow + tensor.info.shape.rowCount
      return change
    } catch {
      throw error.located(tensor: tensor.info.name)
    }
  }

  func operation(
    _ operation: AdapterChange.Operation, on info: TensorInfo, _ adapter: Adapter, _ use: Use
  ) throws(ModelError) -> PairedChange.Operation {
    switch operation {
    case .replacement(let tensor):
      let shape = adapter.tensors[tensor].shape
      guard shape == info.shape || shape.grows(info) else {
        throw shapeMismatch(adapter, [tensor], info)
      }
      return .replacement(tensor: tensor)
    case .rows(let tensor, let indices):
      let shape = adapter.tensors[tensor].shape
      guard shape.dimensions == [indices.count, info.shape.columnCount], info.shape.rank == 2,
        indices.allSatisfy({ (0..<(grownRows[info.name] ?? info.shape.rowCount)).contains($0) })
      else { throw shapeMismatch(adapter, [tensor], info) }
      return .rows(tensor: tensor, indices: indices)
    case .vector(let tensor, let scale):
      guard adapter.tensors[tensor].shape == info.shape, info.shape.rank == 1 else {
        throw shapeMismatch(adapter, [tensor], info)
      }
      return .vector(tensor: tensor, scale: scale * use.strength)
    case .lowRank(var product):
      // Factors of a table that grew have as many rows as the table after that.
      var info = info
      if product.left.vectorCount > info.shape.rowCount, let rows = grownRows[info.name] {
        info.shape = Shape(rows, info.shape.columnCount)
      }
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
    let (straight, reversed) = (fits(product), fits(product.transposed))
    let isTransposed: Bool
    switch product.orientation {
    case .either(let rule) where info.shape.rank == 3:
      isTransposed = straight && reversed ? try transposesSquare(info, rule) : reversed
    case .either: isTransposed = false
    // PEFT decides this for each layer, and the config states only what the last one was.
    case _ where transposed.contains(info.name): isTransposed = reversed
    case .straight: isTransposed = false
    case .transposedFirst: isTransposed = reversed
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

  /// Whether a square stack has a row for each input.
  ///
  /// Throws `usage` if nothing can tell.
  private func transposesSquare(
    _ info: TensorInfo, _ rule: Orientation.SquareStacks?
  ) throws(ModelError) -> Bool {
    switch rule {
    case .transposed: return true
    case .reversed: return !transposed.experts
    case .asInModel: return transposed.experts
    case nil:
      // Before 0.19 and since 0.19.1, PEFT transposes the stacks of these models.
      guard !transposed.experts else { return true }
      throw ModelError(
        .usage, "the adapter fits the stack of experts in two ways, with different results",
        expected: "peft_version in adapter_config.json: before 0.19 PEFT transposed every stack",
        found: "\(info.shape), and no peft_version",
        hint: "add the version of PEFT that trained the adapter to adapter_config.json")
    }
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
}

extension Shape {
  /// Whether it is that of a table with more tokens than the tensor has: of embeddings or a head.
  func grows(_ info: TensorInfo) -> Bool { isTable(like: info) && rowCount > info.shape.rowCount }

  /// Whether it is that of a table with fewer tokens than the tensor has.
  func isShorterTable(than info: TensorInfo) -> Bool {
    isTable(like: info) && rowCount < info.shape.rowCount
  }

  private func isTable(like info: TensorInfo) -> Bool {
    let isTable = TensorNames.isEmbedding(info.name) || TensorNames.isTextHead(info.name)
    return isTable && rank == 2 && info.shape.rank == 2 && columnCount == info.shape.columnCount
  }
}
