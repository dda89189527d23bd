internal import Adapters
internal import Architectures
internal import Bytes
internal import Formats
internal import TensorModel
internal import Weights

extension Model {
  /// The changes of adapters, by the index of the changed tensor.
  ///
  /// Throws `mismatch` and `usage` for adapters that do not fit.
  func changes(by adapters: [AppliedAdapter]) throws(ModelError) -> [Int: [PairedChange]] {
    var changes: [Int: [PairedChange]] = [:]
    for change in try pairs(with: adapters) { changes[change.tensor, default: []].append(change) }
    // A stored head shares changes of the embeddings, too.
    if let tie = try EmbeddingTie(self), let head = tie.head {
      let all = try headChanges(tie, changes, adapters)
      changes[head] = all.isEmpty ? nil : all
    }
    try checkAreStored(changes.keys.filter(isMultipliedView))
    try checkFactors(changes, adapters)
    return changes
  }

  /// Throws `unsupported` for the first of some tensors that adapters change and that the output
  /// arranges in another way.
  func checkAreStored(_ arranged: [Int]) throws(ModelError) {
    guard let index = arranged.min() else { return }
    throw ModelError(
      .unsupported, "the output stores the tensor in another form than the adapter expects",
      file: path, tensor: catalog.tensors[index].name,
      expected: "a tensor that the output stores as it is",
      found: "one that it arranges or multiplies", hint: Self.foldFirst)
  }

  private static var foldFirst: String {
    "fold into the Hugging Face model, then convert the result"
  }

  /// Throws `unsupported` for adapters of weights that mlx-lm multiplies: those that it trained, if
  /// the model has the weights without factors; all others, if it has the products.
  private func checkFactors(
    _ changes: [Int: [PairedChange]], _ adapters: [AppliedAdapter]
  ) throws(ModelError) {
    guard !isGGUF, let config = try configuration().map(TextConfig.merged) else { return }
    let areAbsorbed = try hasAbsorbedFactors()
    guard areAbsorbed || MLXFactors.areStated(by: config) else { return }
    let architecture = Architectures.forConfig(config)
    for (index, changes) in changes.sorted(by: { $0.key < $1.key })
    where index < catalog.tensors.count {
      let name = catalog.tensors[index].name
      guard architecture?.isArranged(name) ?? false,
        changes.contains(where: {
          (adapters[$0.adapter].file.adapter.kind == .mlx) != areAbsorbed
        })
      else { continue }
      let forms = ["weights without factors", "weights multiplied by factors of config.json"]
      throw ModelError(
        .unsupported, "the base model stores the tensor in another form than the adapter expects",
        file: path, tensor: name, expected: forms[areAbsorbed ? 0 : 1],
        found: forms[areAbsorbed ? 1 : 0],
        hint: areAbsorbed
          ? Self.foldFirst : "convert the model with --to mlx, and fold into the result")
    }
  }

  /// The changes of adapters, paired with tensors of the model; one adapter after the other.
  ///
  /// Throws `mismatch` and `usage` for adapters that do not fit.
  func pairs(with adapters: [AppliedAdapter]) throws(ModelError) -> [PairedChange] {
    let architecture = try ggufArchitecture()
    let isForRuntime = isGGUF || hasViews
    let table = isForRuntime ? architecture.flatMap(Architectures.named) : nil
    let pairing = Pairing(
      try baseTensors(), transposed: try transposedLayers(), names: try mlxNames(),
      isArranged: { table?.isArranged($0) ?? false })
    var pairs: [PairedChange] = []
    for (index, applied) in adapters.enumerated() {
      try Self.check(applied.file, architecture)
      let paired = try pairing.pair(
        applied.file.adapter,
        Pairing.Use(index: index, strength: applied.scale, pooling: applied.pooling))
      pairs += paired
    }
    pairs = try withoutCopies(pairs, by: adapters)
    for change in pairs { try Self.checkStrength(change, adapters[change.adapter]) }
    if let applied = adapters.first(where: { $0.pooling != nil }),
      !pairs.contains(where: { $0.groupSize != nil })
    {
      throw ModelError(
        .usage, "the adapter does not pool inputs", file: applied.file.adapter.path,
        found: "--pooling \(applied.pooling?.rawValue ?? "")", hint: "leave --pooling out")
    }
    return pairs
  }

  /// Changes without replacements by an equal tensor, where another change is of the same tensor.
  ///
  /// PEFT saves a copy of the embeddings and of the head beside their factors. Other adapters may
  /// change the tensor too, and each adapter may have such a copy.
  private func withoutCopies(
    _ changes: [PairedChange], by adapters: [AppliedAdapter]
  ) throws(ModelError) -> [PairedChange] {
    let counts = changes.reduce(into: [:]) { $0[$1.tensor, default: 0] += 1 }
    var kept: [PairedChange] = []
    for change in changes {
      let isAlone = counts[change.tensor] == 1
      if change.isReplacement, !isAlone, try isCopy(change, by: adapters) { continue }
      kept.append(change)
    }
    return kept
  }

  /// Whether a change replaces a tensor by an equal one.
  ///
  /// Throws what reading throws.
  func isCopy(_ change: PairedChange, by adapters: [AppliedAdapter]) throws(ModelError) -> Bool {
    let weights = WeightReader(model: self)
    guard case .replacement(let tensor) = change.operation, change.rows == nil,
      change.grownRowCount == nil, let index = try storedIndex(of: change.tensor),
      let base = weights.tensor(index)
    else { return false }
    let file = adapters[change.adapter].file
    var first = 0
    for run in 0..<base.runCount {
      let values = try weights.values(of: base, run: run)
      let other = try file.numbers(of: tensor, first..<first + values.count)
      guard values == other else { return false }
      first += values.count
    }
    return true
  }

  /// Notes about adapters that are folded into the model.
  func notes(on adapters: [AppliedAdapter], _ changes: [Int: [PairedChange]]) -> [String] {
    var notes = adapters.flatMap(\.file.adapter.notes)
    notes += adapters.indices.compactMap { repeatedFoldNote($0, of: adapters) }
    let pooled = Set(changes.values.joined().filter { $0.groupSize != nil }.map(\.adapter))
    for index in pooled.sorted() {
      if let pooling = adapters[index].file.adapter.pooling ?? adapters[index].pooling {
        notes.append("\(adapters[index].file.name) pools inputs as \(pooling.summary)")
      }
    }
    return notes
  }

  /// A note if the adapter at `index` was folded in before; nil if not, or if this fold undoes it.
  ///
  /// Earlier folds are those in the model's history and those of earlier adapters.
  private func repeatedFoldNote(_ index: Int, of adapters: [AppliedAdapter]) -> String? {
    let applied = adapters[index]
    var total = adapters[..<index].filter { $0.file.checksum == applied.file.checksum }
      .reduce(0) { $0 + $1.scale }
    for adapter in history.flatMap({ $0["adapters"]?.array ?? [] })
    where adapter["crc32c"]?.string == applied.file.checksum {
      total += adapter["scale"]?.double ?? 1
    }
    guard abs(total) > 1e-9, abs(total + applied.scale) > 1e-9 else { return nil }
    return "\(applied.file.name) is already folded into the base model, with scale \(total)"
  }

  private static func check(_ file: AdapterFile, _ architecture: String?) throws(ModelError) {
    guard let architecture, let own = file.config["general.architecture"]?.string,
      own != architecture
    else { return }
    throw ModelError(
      .mismatch, "the adapter is for a different architecture", file: file.adapter.path,
      expected: architecture, found: own)
  }

  private static func checkStrength(
    _ change: PairedChange, _ applied: AppliedAdapter
  ) throws(ModelError) {
    guard applied.scale != 1 else { return }
    let what: String
    if change.lowRank == nil, !change.isVector {
      what = "an adapter that replaces tensors"
    } else if change.lowRank?.magnitude != nil {
      what = "a DoRA adapter"
    } else {
      return
    }
    throw ModelError(
      .unsupported, "\(what) cannot be scaled", file: applied.file.adapter.path,
      tensor: change.tensors(of: applied.file.adapter).first, expected: "--scale 1",
      found: "--scale \(applied.scale)")
  }
}
