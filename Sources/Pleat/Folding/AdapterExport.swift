internal import Adapters
internal import Bytes
internal import Formats
internal import SystemPackage
public import TensorModel

/// An adapter written for a runtime that adds it to a model while it runs.
public struct AdapterExport: Sendable {
  /// Whose files are written.
  public enum Target: String, Sendable, CaseIterable {
    /// A folder for PEFT.
    case peft
    /// A LoRA file for llama.cpp.
    case gguf

    /// What it is, for help.
    public var summary: String {
      switch self {
      case .peft: "a folder that PEFT loads"
      case .gguf: "a LoRA file that llama.cpp loads"
      }
    }
  }

  /// Whose files are written.
  public let target: Target
  /// What a user should know.
  public let notes: [String]
  /// The adapted tensors of the base, with the rank of each.
  public let modules: [(name: String, rank: Int)]
  /// The alpha of the file.
  public let alpha: Double

  private let adapter: RuntimeAdapter
  private let factors: [Factors]
  private let use: AdapterUse
  private let layout: any OutputLayout
  private let companion: [UInt8]?

  /// The tensors of one module in the output.
  private struct Factors {
    var module: RuntimeAdapter.Module
    /// Where the output has the rows of the base, if not at the same places.
    var rows: RowMap?
    var isEmbedding: Bool
    var a: Side
    var b: Side
  }

  /// A tensor of the output, and how the factor lies in it.
  private struct Side {
    var tensor: StoredTensor
    /// Whether it has the rows of the base, rather than its columns.
    var isLeft: Bool
    /// Whether its rows are the ranks.
    var isRankMajor: Bool
  }

  /// Plans to write an adapter.
  ///
  /// - Parameters:
  ///   - use: The adapter; its scale is part of the result.
  ///   - model: The base that it is for.
  ///   - target: The runtime.
  ///   - path: The folder or file to write.
  /// - Throws: `ModelError` of kind `usage`, `unsupported` or `mismatch`.
  public init(
    _ use: AdapterUse, of model: Model, for target: Target, to path: String
  ) throws(ModelError) {
    let base = try model.baseTensors()
    let changes = try Self.withoutCopies(try model.pairs(with: [use]), use, of: model)
    do throws(ModelError) {
      adapter = try RuntimeAdapter(changes, of: use.file.adapter)
    } catch {
      throw error.located(file: use.file.adapter.path)
    }
    let isGGUF = model.catalog.metadata["general.architecture"] != nil
    var found: [Factors] = []
    for module in adapter.modules {
      found.append(
        try Self.factors(
          module, base[module.tensor], target,
          usesAlias: isGGUF != (target == .gguf), file: model.path))
    }
    factors = found
    self.use = use
    self.target = target
    alpha = adapter.alpha
    notes = use.file.adapter.notes
    modules = adapter.modules.map { (base[$0.tensor].info.name, $0.product.rank) }
    companion =
      target == .peft
      ? PEFTDocument(adapter, names: found.map { Self.moduleName($0.a.tensor.name) }, base).text
      : nil
    let contents = Contents(
      stored: found.flatMap { [$0.a.tensor, $0.b.tensor] },
      metadata: target == .gguf
        ? try Self.metadata(of: model, use, alpha: adapter.alpha) : Metadata(),
      companions: companion.map {
        [Companion(name: "adapter_config.json", byteCount: $0.count)]
      } ?? [],
      provenance: Provenance())
    var options = WriteOptions(path: FilePath(path))
    options.stem = "adapter_model"
    let container: any Container.Type =
      target == .gguf ? Format.gguf.container : Format.safetensors.container
    guard target == .gguf || FilePath(path).extension != "safetensors" else {
      throw ModelError(
        .usage, "PEFT needs a folder, for the tensors and their config", expected: "-o folder/",
        found: path)
    }
    layout = try container.layout(contents, options)
    let destination = Destination(
      path: path, format: target == .gguf ? .gguf : .safetensors)
    try destination.check(layout, against: [model, use.file.model])
  }

  /// The changes without replacements by what the base has already: PEFT saves embeddings beside
  /// the factors that are for them.
  private static func withoutCopies(
    _ changes: [PairedChange], _ use: AdapterUse, of model: Model
  ) throws(ModelError) -> [PairedChange] {
    var kept: [PairedChange] = []
    for change in changes {
      if case .replacement(let tensor) = change.operation,
        try isCopy(tensor, change, use, of: model)
      {
        continue
      }
      kept.append(change)
    }
    return kept
  }

  private static func isCopy(
    _ tensor: Int, _ change: PairedChange, _ use: AdapterUse, of model: Model
  ) throws(ModelError) -> Bool {
    let weights = WeightReader(model: model)
    guard change.rows == nil, let base = weights.tensor(change.tensor) else { return false }
    var first = 0
    for run in 0..<base.runCount {
      let values = try weights.values(of: base, run: run)
      let other = try use.file.numbers(of: tensor, first..<first + values.count)
      guard values == other else { return false }
      first += values.count
    }
    return true
  }

  /// The length of all files to be written.
  public var byteCount: Int { layout.byteCount }

  /// Writes the files.
  ///
  /// - Parameters:
  ///   - replacing: Whether an existing output is replaced.
  ///   - verifying: Whether what was written is read back and compared.
  /// - Returns: Their length.
  /// - Throws: `io`, and what reading the adapter throws.
  public func write(replacing: Bool, verifying: Bool = false) throws(ModelError) -> WrittenSize {
    let sink = try layout.open(replacing: replacing, resumption: nil)
    use.file.model.reader.startChecking()
    try writeAll(to: sink)
    try use.file.model.reader.checkRead()
    for file in use.file.model.reader.files { try file.checkUnchanged() }
    let size = try sink.seal(sources: [])
    if verifying { try sink.readBack(layout, writeAll) }
    try sink.publish()
    return size
  }

  private func writeAll(to sink: any BlockSink) throws(ModelError) {
    if let companion { try sink.writeCompanion(0, at: 0, companion) }
    let reader = UpdateReader([use.numbers])
    for (index, factor) in factors.enumerated() {
      var (left, right) = try reader.factors(factor.module.change, factor.module.product)
      try check(left + right, factor)
      let rank = factor.module.product.rank
      if let map = factor.rows { left = Self.reordered(left, rank: rank, map) }
      if factor.module.repeats > 1 {
        right = GroupShift.spread(right, columnsPerGroup: factor.module.repeats)
      }
      // B takes up what alpha / rank is not: in either order, it is the second factor.
      for (part, side) in [factor.a, factor.b].enumerated() {
        var values = side.isLeft ? left : right
        // Left factors come line by line, right ones rank by rank.
        if side.isLeft == side.isRankMajor {
          values = Self.transposed(
            values, rows: side.isLeft ? values.count / rank : rank)
        }
        if part == 1, factor.module.factor != 1 {
          values = values.map { $0 * factor.module.factor }
        }
        // All bytes of floats are bytes of the array.
        let bytes = unsafe values.withUnsafeBytes { unsafe Array($0) }
        try sink.write(
          [PartBlock(stored: 2 * index + part, offset: 0, bytes: bytes)], ticket: 2 * index + part)
      }
    }
  }

  private func check(_ values: [Float], _ factor: Factors) throws(ModelError) {
    guard let value = values.first(where: { !$0.isFinite }) else { return }
    throw ModelError(
      .malformed, "a number of the adapter is not finite", file: use.file.adapter.path,
      tensor: factor.module.change.tensors(of: use.file.adapter).joined(separator: ", "),
      found: "\(value)")
  }

  private static func transposed(_ values: [Float], rows: Int) -> [Float] {
    let columns = rows == 0 ? 0 : values.count / rows
    var result = values
    for row in 0..<rows {
      for column in 0..<columns { result[column * rows + row] = values[row * columns + column] }
    }
    return result
  }

  private static func reordered(_ values: [Float], rank: Int, _ map: RowMap) -> [Float] {
    var result = values
    for row in 0..<values.count / max(1, rank) {
      let place = map(row)
      for k in 0..<rank { result[place * rank + k] = values[row * rank + k] }
    }
    return result
  }

  // MARK: - Names and shapes

  private static func factors(
    _ module: RuntimeAdapter.Module, _ base: BaseTensor, _ target: Target, usesAlias: Bool,
    file: String
  ) throws(ModelError) -> Factors {
    let name = usesAlias ? base.alias : base.info.name
    guard let name else {
      throw ModelError(
        .unsupported, "the tensor has no known name in files of \(target.rawValue)", file: file,
        tensor: base.info.name,
        hint: "attach to a base in the format of that runtime")
    }
    let (product, rank) = (module.product, module.product.rank)
    let (rows, columns) = (product.left.lineCount, product.right.lineCount * module.repeats)
    func side(_ suffix: String, _ lines: Int, isLeft: Bool, isRankMajor: Bool) throws(ModelError)
      -> Side
    {
      let shape = isRankMajor ? Shape(rank, lines) : Shape(lines, rank)
      guard let tensor = StoredTensor(plain: suffix, shape, .f32) else {
        throw ModelError(.limit, "a factor is too large", tensor: base.info.name)
      }
      return Side(tensor: tensor, isLeft: isLeft, isRankMajor: isRankMajor)
    }
    let isEmbedding = name == "token_embd.weight" || name.hasSuffix("embed_tokens.weight")
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
      let turned = isEmbedding || product.isTransposed
      a = try side(
        path + (isEmbedding ? ".lora_embedding_A" : ".lora_A.weight"), turned ? rows : columns,
        isLeft: turned, isRankMajor: true)
      b = try side(
        path + (isEmbedding ? ".lora_embedding_B" : ".lora_B.weight"), turned ? columns : rows,
        isLeft: !turned, isRankMajor: false)
    }
    return Factors(
      module: module, rows: usesAlias ? base.aliasRows : nil, isEmbedding: isEmbedding, a: a, b: b)
  }

  private static func moduleName(_ tensor: String) -> String {
    var words = tensor.split(separator: ".").map(String.init)
    words.removeFirst(2)
    while let last = words.last, last == "weight" || last.hasPrefix("lora_") { words.removeLast() }
    return words.joined(separator: ".")
  }

  /// What llama.cpp wants to know of an adapter.
  ///
  /// Throws `unsupported` when the architecture is not known.
  private static func metadata(
    of model: Model, _ use: AdapterUse, alpha: Double
  ) throws(ModelError) -> Metadata {
    guard let architecture = try model.ggufArchitecture()
    else {
      throw ModelError(
        .unsupported, "llama.cpp's name of the architecture is not known", file: model.path,
        expected: "a GGUF base, or model_type "
          + Architectures.all.flatMap(\.modelTypes).joined(separator: ", "))
    }
    var metadata = Metadata()
    metadata.append("general.architecture", .text(architecture))
    metadata.append("general.type", .text("adapter"))
    metadata.append("general.name", .text(use.file.name))
    metadata.append("adapter.type", .text("lora"))
    metadata.append("adapter.lora.alpha", .float(Float(alpha)))
    return metadata
  }
}
