internal import Adapters
internal import Architectures
internal import Bytes
internal import Formats
internal import TensorModel
internal import Weights

/// What becomes of the output head, so that the output computes what base model and adapters do.
///
/// While an adapter is not merged, a change of tied embeddings is no change of the head, and the
/// reverse. After a fold, both are stored if they differ.
struct HeadPlan {
  /// The head that is stored although the source has none: it is a copy of the embeddings.
  var added: (info: TensorInfo, source: Int, changes: [PairedChange])?
  /// The index of a stored head that is left out, because it equals the embeddings; nil for none.
  var dropped: Int?
  /// What the config has to say about the embeddings being the head; nil if it stays as it is.
  var isTied: Bool?
  /// Notes for the user.
  var notes: [String] = []

  /// Creates a plan that leaves the head as it is.
  init() {}

  /// Plans the head for a model without adapters, or with changes by adapters.
  ///
  /// Reads the embeddings and the head if the config ties them and both are stored. Throws
  /// `unsupported` for a head that the format cannot store, and what reading throws.
  init(
    _ model: Model, _ changes: [Int: [PairedChange]] = [:], by adapters: [AppliedAdapter] = [],
    to format: Format
  ) throws(ModelError) {
    guard let tie = try EmbeddingTie(model) else { return }
    let table = changes[tie.table] ?? []
    let head = try model.headChanges(tie, changes, adapters)
    let isSame = try model.haveSameEffect(table, head, adapters)
    try model.checkGrowth(tie, table, head, isTied: tie.head == nil && isSame)
    if let stored = tie.head {
      let isRefused = try model.leavesOutHead(format)
      guard tie.isStated || isRefused else { return }
      if isSame, try model.hasSameNumbers(tie.table, stored) {
        dropped = try model.needsOwnHead(format) ? nil : stored
        return
      }
      if tie.isStated {
        isTied = false
        if table.isEmpty, head.isEmpty {
          notes.append(
            "\(tie.headInfo.name) differs from the embeddings, although config.json ties them: the "
              + "output does not tie them")
        }
      }
    } else {
      if isSame {
        guard try model.needsOwnHead(format) else { return }
        let runtime: Runtime = format.usesMLXNames ? .mlxLM : .llamaCpp
        notes.append(
          "\(tie.headInfo.name) is a copy of the embeddings, because \(runtime.rawValue) needs one")
      }
      added = (tie.headInfo, tie.table, head)
      isTied = false
    }
    guard try model.leavesOutHead(format) else { return }
    throw ModelError(
      .unsupported, "llama.cpp uses the embeddings of this architecture as its head",
      file: model.path, tensor: tie.headInfo.name, expected: "a head that equals the embeddings",
      found: added == nil ? "another head" : "a head that the adapter makes differ",
      hint: "write another format, such as --to safetensors")
  }

  /// Whether the output has a head besides the embeddings, given whether the source has one.
  func hasHead(_ sourceHasHead: Bool) -> Bool { added != nil || sourceHasHead && dropped == nil }
}

extension Model {
  /// The index of the changes of a head that is not stored: that after the last tensor.
  var unstoredHeadIndex: Int { catalog.tensors.count }

  /// The index of the tensor with the numbers: the embeddings for a head that is not stored.
  ///
  /// Nil if there are none. Throws what reading `config.json` throws.
  func storedIndex(of tensor: Int) throws(ModelError) -> Int? {
    tensor == unstoredHeadIndex ? try EmbeddingTie(self)?.table : tensor
  }

  /// The changes of the head by adapters, stored or not.
  ///
  /// Rows of tied embeddings are rows of the head, too, unless the adapter replaces rows of the head
  /// itself. PEFT adds products to them, whatever the order of the adapters. Every change is one of
  /// the head if the adapter was trained with tied weights.
  func headChanges(
    _ tie: EmbeddingTie, _ changes: [Int: [PairedChange]], _ adapters: [AppliedAdapter]
  ) throws(ModelError) -> [PairedChange] {
    let own = changes[tie.head ?? unstoredHeadIndex] ?? []
    guard tie.head == nil || tie.isStated else { return own }
    let changed = Set(own.map(\.adapter))
    let replaced = Set(own.filter { $0.isReplacement || $0.replacesRows }.map(\.adapter))
    // mlx-lm trains models of some types with a copy of the embeddings as their head.
    let hasCopy = try needsOwnHead(.mlx)
    let shared = (changes[tie.table] ?? []).filter { change in
      if change.replacesRows { return !replaced.contains(change.adapter) }
      let adapter = adapters[change.adapter].file.adapter
      return adapter.tiesEmbeddings && !changed.contains(change.adapter)
        && !(adapter.kind == .mlx && hasCopy)
    }
    guard !own.isEmpty else { return shared }
    let others = (own + shared.filter { !$0.replacesRows }).sorted { $0.adapter < $1.adapter }
    return shared.filter(\.replacesRows) + others
  }

  /// Throws `unsupported` if adapters add rows to only one of the embeddings and the head, or if the
  /// tokenizer of the file cannot grow with them.
  func checkGrowth(
    _ tie: EmbeddingTie, _ table: [PairedChange], _ head: [PairedChange], isTied: Bool
  ) throws(ModelError) {
    let counts = [table, head].map { $0.compactMap(\.grownRowCount).max() }
    guard counts != [nil, nil] else { return }
    let rows = catalog.tensors[tie.table].shape.rowCount
    let texts = counts.map { "\($0 ?? rows)" }
    guard counts[0] == counts[1] || isTied else {
      throw ModelError(
        .unsupported, "the adapter adds tokens to only one of the embeddings and the head",
        file: path, tensor: tie.headInfo.name, expected: "as many rows in both",
        found: "\(texts[0]) in the embeddings, \(texts[1]) in the head",
        hint: "train with both in modules_to_save: embed_tokens and lm_head")
    }
    guard !isGGUF else {
      throw ModelError(
        .unsupported, "the adapter adds tokens, and the tokenizer of a GGUF file cannot grow",
        file: path, tensor: catalog.tensors[tie.table].name, expected: "\(rows) rows",
        found: "\(texts[0]) rows",
        hint: "fold into the Hugging Face model, then convert the result with its tokenizer")
    }
  }

  /// Whether two lists of changes have the same effect on the same numbers.
  func haveSameEffect(
    _ left: [PairedChange], _ right: [PairedChange], _ adapters: [AppliedAdapter]
  ) throws(ModelError) -> Bool {
    guard left.count == right.count else { return false }
    let reader = UpdateReader(adapters.map(\.numbers))
    for (first, second) in zip(left, right) {
      guard first.adapter == second.adapter else { return false }
      switch (first.operation, second.operation) {
      case (.lowRank(let one, nil), .lowRank(let other, nil)):
        guard one.magnitude == nil, other.magnitude == nil, one.scale == other.scale,
          one.rank == other.rank, one.left.vectorCount == other.left.vectorCount,
          try reader.factors(first, one) == reader.factors(second, other)
        else { return false }
      case (.replacement(let one), .replacement(let other)):
        guard try adapters[first.adapter].file.areEqual(one, other) else { return false }
      case (let one, let other): if one != other { return false }
      }
    }
    return true
  }

  /// Whether a file of the format has a head even if it equals the embeddings.
  func needsOwnHead(_ format: Format) throws(ModelError) -> Bool {
    if format.usesGGUFNames, let name = try ggufArchitecture() {
      return Architectures.named(name)?.needsHead ?? false
    }
    guard format.usesMLXNames, let config = try configuration(),
      let type = MLXModelTypes.named(config)["model_type"]?.string
    else { return false }
    return MLXHead(ofModelType: type) == .own
  }

  /// Whether a file of the format has no head, because llama.cpp uses the embeddings.
  func leavesOutHead(_ format: Format) throws(ModelError) -> Bool {
    guard format.usesGGUFNames, let name = try ggufArchitecture() else { return false }
    return Architectures.named(name)?.leavesOutHead ?? false
  }
}
