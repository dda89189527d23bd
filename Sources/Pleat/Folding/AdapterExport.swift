internal import Adapters
internal import Architectures
internal import Bytes
internal import Formats
internal import SystemPackage
public import TensorModel
public import Weights

/// An adapter in the format of a runtime that adds it to a model without merging it.
public struct AdapterExport: Sendable {
  /// The runtime that an adapter is written for.
  public enum Target: String, Sendable, CaseIterable {
    /// A folder for PEFT.
    case peft
    /// A LoRA file for llama.cpp.
    case gguf

    /// A description for help texts.
    public var summary: String {
      switch self {
      case .peft: "a folder that PEFT loads"
      case .gguf: "a LoRA file that llama.cpp loads"
      }
    }

    /// The format of the file with the tensors.
    var format: Format {
      switch self {
      case .peft: .safetensors
      case .gguf: .gguf
      }
    }
  }

  /// The runtime that the adapter is written for.
  public let target: Target
  /// Notes for the user before the adapter is written.
  public let notes: [String]
  /// The adapted tensors of the base model, each with its rank.
  public let modules: [(name: String, rank: Int)]
  /// The alpha of all modules.
  public let alpha: Double

  let factors: [Factors]
  let applied: AppliedAdapter
  let layout: any OutputLayout
  let companion: [UInt8]?

  /// The tensors of one module in the output.
  struct Factors {
    var module: RuntimeAdapter.Module
    /// The row order of the output; nil if it is that of the base model.
    var rows: RowMap?
    var isEmbedding: Bool
    var a: Side
    var b: Side
  }

  /// A tensor of the output, and the layout of the factor in it.
  struct Side {
    var tensor: StoredTensor
    /// Whether it is the left factor, with a vector for each row of the base tensor.
    ///
    /// Otherwise it is the right factor, with a vector for each column.
    var isLeft: Bool
    /// Whether its rows are the ranks.
    var isRankMajor: Bool
  }

  /// Plans to write an adapter.
  ///
  /// It reads the tensors that the adapter replaces, and leaves out those that equal the tensors of
  /// the base model.
  ///
  /// - Parameters:
  ///   - applied: The adapter. The output includes its scale.
  ///   - model: The base model.
  ///   - target: The runtime.
  ///   - path: The folder or file to write.
  /// - Throws: `ModelError` of kind `usage`, `unsupported` or `mismatch`, and what reading throws.
  public init(
    _ applied: AppliedAdapter, of model: Model, for target: Target, to path: String
  ) throws(ModelError) {
    try model.requireNumbers()
    let base = try model.baseTensors()
    let changes = try model.changesApart(by: applied)
    try model.checkTiedExport(changes, for: target)
    let adapter: RuntimeAdapter
    do throws(ModelError) {
      adapter = try RuntimeAdapter(changes, of: applied.file.adapter)
    } catch {
      throw error.located(file: applied.file.adapter.path)
    }
    var found: [Factors] = []
    for module in adapter.modules {
      found.append(
        try Self.factors(
          module, base[module.tensor], target,
          usesAlias: model.isGGUF != target.format.usesGGUFNames, file: model.path))
    }
    factors = found
    self.applied = applied
    self.target = target
    alpha = adapter.alpha
    notes = applied.file.adapter.notes
    modules = adapter.modules.map { (base[$0.tensor].info.name, $0.product.rank) }
    companion =
      target == .peft
      ? PEFTDocument(adapter, names: found.map { Self.moduleName($0.a.tensor.name) }, base).text
      : nil
    let contents = Contents(
      stored: StoredTensors(found.flatMap { [$0.a.tensor, $0.b.tensor] }),
      metadata: target == .gguf
        ? try Self.metadata(of: model, applied, alpha: adapter.alpha) : Metadata(),
      companions: companion.map {
        [Companion(name: "adapter_config.json", byteCount: $0.count)]
      } ?? [],
      provenance: Provenance())
    var options = WriteOptions(path: FilePath(path))
    options.stem = "adapter_model"
    guard target != .peft || FilePath(path).extension != "safetensors" else {
      throw ModelError(
        .usage, "PEFT needs a folder for the tensors and their config", expected: "-o folder/",
        found: path)
    }
    layout = try target.format.container.layout(contents, options)
    let destination = Destination(path: path, format: target.format)
    try destination.check(layout, against: [model, applied.file.model])
  }

  /// The total length of the output files, in bytes.
  public var byteCount: Int { layout.byteCount }

  // MARK: - Names and shapes

  private static func factors(
    _ module: RuntimeAdapter.Module, _ base: BaseTensor, _ target: Target, usesAlias: Bool,
    file: String
  ) throws(ModelError) -> Factors {
    let name = usesAlias ? base.alias : base.info.name
    guard let name else {
      throw ModelError(
        .unsupported, "the name of the tensor in \(target.rawValue) files is unknown", file: file,
        tensor: base.info.name, hint: "use a base model in the format of that runtime")
    }
    let (product, rank) = (module.product, module.product.rank)
    let (rows, columns) = (product.left.vectorCount, product.right.vectorCount * module.repeats)
    func side(
      _ name: String, _ vectorCount: Int, isLeft: Bool, isRankMajor: Bool
    ) throws(ModelError) -> Side {
      let shape = isRankMajor ? Shape(rank, vectorCount) : Shape(vectorCount, rank)
      guard let tensor = StoredTensor(plain: name, shape, .f32) else {
        throw ModelError(.limit, "a factor is too large", tensor: base.info.name)
      }
      return Side(tensor: tensor, isLeft: isLeft, isRankMajor: isRankMajor)
    }
    let isEmbedding = TensorNames.isEmbedding(name)
    let a: Side
    let b: Side
    switch target {
    case .gguf:
      a = try side(
        name + ".lora_a", isEmbedding ? rows : columns, isLeft: isEmbedding,
        isRankMajor: !isEmbedding)
      b = try side(
        name + ".lora_b", isEmbedding ? columns : rows, isLeft: !isEmbedding, isRankMajor: false)
    case .peft:
      let path = "base_model.model." + name.dropLast(".weight".count)
      let isSwapped = isEmbedding || product.isTransposed
      a = try side(
        path + (isEmbedding ? ".lora_embedding_A" : ".lora_A.weight"), isSwapped ? rows : columns,
        isLeft: isSwapped, isRankMajor: true)
      b = try side(
        path + (isEmbedding ? ".lora_embedding_B" : ".lora_B.weight"), isSwapped ? columns : rows,
        isLeft: !isSwapped, isRankMajor: false)
    }
    return Factors(
      module: module, rows: usesAlias ? base.aliasRows : nil, isEmbedding: isEmbedding, a: a, b: b)
  }

  /// The path of a module in the base model, from the name of one of its factors for PEFT.
  private static func moduleName(_ tensor: String) -> String {
    var components = tensor.split(separator: ".").map(String.init)
    components.removeFirst(2)
    while let last = components.last, last == "weight" || last.hasPrefix("lora_") {
      components.removeLast()
    }
    return components.joined(separator: ".")
  }

  /// The metadata that llama.cpp requires of an adapter.
  ///
  /// Throws `unsupported` if the architecture is unknown.
  private static func metadata(
    of model: Model, _ applied: AppliedAdapter, alpha: Double
  ) throws(ModelError) -> Metadata {
    guard let architecture = try model.ggufArchitecture()
    else {
      throw ModelError(
        .unsupported, "llama.cpp's name of the architecture is unknown", file: model.path,
        expected: "a GGUF base model, or model_type "
          + Architectures.all.flatMap(\.modelTypes).joined(separator: ", "))
    }
    var metadata = Metadata()
    metadata.append("general.architecture", .text(architecture))
    metadata.append("general.type", .text("adapter"))
    metadata.append("general.name", .text(applied.file.name))
    metadata.append("adapter.type", .text("lora"))
    metadata.append("adapter.lora.alpha", .float(Float(alpha)))
    return metadata
  }
}

extension Model {
  /// The changes by an adapter as a runtime applies them to embeddings and head, each by itself.
  ///
  /// Replacements by an equal tensor are left out. Changes of tied embeddings that are also changes
  /// of the head are there for both.
  fileprivate func changesApart(by applied: AppliedAdapter) throws(ModelError) -> [PairedChange] {
    var changes: [PairedChange] = []
    for change in try pairs(with: [applied]) where try !isCopy(change, by: [applied]) {
      changes.append(change)
    }
    guard let tie = try EmbeddingTie(self) else { return changes }
    let head = try headChanges(tie, Dictionary(grouping: changes, by: \.tensor), [applied])
    for var change in head where change.tensor == tie.table {
      change.tensor = tie.head ?? unstoredHeadIndex
      changes.append(change)
    }
    return changes
  }

  /// Throws `unsupported` if llama.cpp would apply a change of tied embeddings wrongly.
  ///
  /// It finds factors by the name of a tensor, so those of tied embeddings would change the head,
  /// too, and it has no tensor for the factors of a head of its own.
  fileprivate func checkTiedExport(
    _ changes: [PairedChange], for target: AdapterExport.Target
  ) throws(ModelError) {
    guard target == .gguf, let tie = try EmbeddingTie(self), tie.head == nil else { return }
    guard changes.contains(where: { [tie.table, unstoredHeadIndex].contains($0.tensor) }) else {
      return
    }
    throw ModelError(
      .unsupported, "llama.cpp cannot apply an adapter to tied embeddings without merging it",
      file: path, tensor: catalog.tensors[tie.table].name,
      expected: "a base model with a head of its own",
      hint: "pleat fold merges the adapter, and stores the head apart if that is needed")
  }
}
