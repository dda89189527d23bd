package import Architectures
package import Bytes
package import TensorModel

/// How a llama.cpp model becomes a Hugging Face checkpoint: the reverse of `GGUFTranslation`.
package struct CheckpointTranslation: Translation {
  package let runtime = Runtime.transformers
  package private(set) var placements: [TensorPlacement?] = []
  /// The tensors that are written besides these.
  package let additions: [TensorAddition]
  /// The `config.json` of the checkpoint.
  package let config: JSONValue
  /// The metadata of a checkpoint, which has its own in `config.json`.
  package var newMetadata: Metadata? { Metadata() }
  package private(set) var notes: [String] = []

  private let architecture: Architecture
  private let parameters: Hyperparameters
  private let embedding: EmbeddingReturn
  private let division: StackDivision

  /// Whether the model is an encoder, which has no head.
  package var isEncoder: Bool { architecture.isEncoder }

  /// Tensors that follow from a config.
  static let factors = ["rope_freqs", "rope_factors_long", "rope_factors_short"]
  static let weight = ".weight"
  static let hint = "a single file, such as -o model.safetensors, keeps the names of llama.cpp"
  static let configHint =
    "--config-from FOLDER takes the config of the checkpoint that the file was made from; " + hint

  /// Plans the translation of a llama.cpp model.
  ///
  /// - Parameters:
  ///   - tensors: The tensors.
  ///   - metadata: The metadata.
  ///   - given: The `config.json` to take; nil to make one from the metadata.
  ///   - numbers: Reads a tensor of F32 numbers by its index.
  /// - Throws: `unsupported` for an architecture, a tensor or a value that no config has that Pleat
  ///   can write; `mismatch` for a given config that states something else than the metadata;
  ///   `malformed` for metadata that is missing or invalid, and what `numbers` throws.
  package init(
    _ tensors: [TensorInfo], _ metadata: Metadata, config given: JSONValue? = nil,
    numbers: (Int) throws(ModelError) -> [Float]
  ) throws(ModelError) {
    let basis = try CheckpointBasis(tensors, metadata, config: given, numbers: numbers)
    (architecture, parameters, config) = (basis.architecture, basis.parameters, basis.config)
    division = basis.division
    if given == nil, architecture.traits.roundsYarnLimits, case .yarn = parameters.rope.scaling {
      notes.append(
        "the metadata does not state truncate of YaRN: config.json has none, which means true, as "
          + "llama.cpp computes; published checkpoints state false, which --config-from keeps")
    }
    if let factors = architecture.unitFactors.members, !factors.isEmpty {
      notes.append(
        "the weights of llama.cpp have the factors of config.json already, which states 1 for "
          + factors.map(\.key).joined(separator: ", "))
    }
    if architecture.needsRemoteCode, let name = architecture.className {
      notes.append(
        "transformers has no class \(name): its code is published beside the weights, and is not "
          + "in the file")
    }
    if architecture.isTextAlone {
      notes.append(
        "the text model becomes one of \(architecture.modelTypes[0]), which computes the same of "
          + "texts; it sees no pictures, for which the vision tower is in another file")
    }
    notes += basis.notes
    embedding = try EmbeddingReturn(tensors, basis, numbers)
    notes += embedding.notes
    additions =
      try LayerNumbers.tensors(of: metadata, architecture, layerCount: parameters.layerCount)
      + embedding.additions
    try checkConfig(metadata, tokenCount: basis.contents.tokenCount, isGiven: given != nil)
    for tensor in tensors { placements.append(try placement(of: tensor)) }
    try checkTensors(tensors, tokenCount: basis.contents.tokenCount)
  }

  /// The tensors that a translation expects in place of those of a llama.cpp model, which arranges
  /// some of them in another way; nil if it arranges none.
  ///
  /// `runtime` is the one that the checkpoint is for. With `dividingStacks`, the matrices of a stack
  /// are tensors of their own, if the checkpoint has them so; otherwise their placement divides it.
  /// The other parameters are those of `init`, and so are the errors.
  package static func views(
    _ tensors: [TensorInfo], _ metadata: Metadata, config given: JSONValue? = nil,
    for runtime: Runtime = .transformers, dividingStacks: Bool = false,
    numbers: (Int) throws(ModelError) -> [Float]
  ) throws(ModelError) -> [TensorView]? {
    let name = metadata["general.architecture"]?.text
    let isArranged = Architectures.withVariants.contains { $0.ggufName == name && $0.hasReturns }
    let mayDivide = dividingStacks && tensors.contains { $0.shape.rank == 3 }
    // Other models need no config to be read.
    guard isArranged || mayDivide else { return nil }
    let basis = try CheckpointBasis(tensors, metadata, config: given, numbers: numbers)
    let views = try basis.architecture.checkpointViews(of: tensors, basis.config, for: runtime)
    guard mayDivide else { return views }
    let whole = tensors.enumerated().map { index, tensor in
      TensorView(name: tensor.name, shape: tensor.shape, source: index)
    }
    var divided: [TensorView] = []
    for view in views ?? whole { divided += try basis.division.views(of: view) ?? [view] }
    return divided
  }

  /// The architecture that a llama.cpp model runs as.
  ///
  /// Throws `unsupported` if transformers has no class for it, or Pleat does not know it.
  package static func architecture(toRun metadata: Metadata) throws(ModelError) -> Architecture {
    try CheckpointBasis.architecture(metadata, isTranslated: false)
  }

  /// The config that a llama.cpp model of an architecture runs with.
  ///
  /// It is that of the checkpoint that the model becomes, also for an architecture whose tensors are
  /// not translated; then they are not compared with it. Throws what planning a translation throws.
  package static func config(
    toRun tensors: [TensorInfo], _ metadata: Metadata, _ architecture: Architecture,
    numbers: (Int) throws(ModelError) -> [Float]
  ) throws(ModelError) -> JSONValue {
    guard !architecture.isStoredOneByOne else {
      return try CheckpointTranslation(tensors, metadata, numbers: numbers).config
    }
    return try CheckpointTranslation(architecture, running: tensors, metadata, numbers).config
  }

  /// A config without a translation of tensors.
  private init(
    _ architecture: Architecture, running tensors: [TensorInfo], _ metadata: Metadata,
    _ numbers: (Int) throws(ModelError) -> [Float]
  ) throws(ModelError) {
    self.architecture = architecture
    parameters = try Hyperparameters(metadata, architecture, tensors: tensors)
    let contents = try CheckpointBasis.contents(tensors, metadata, numbers)
    config = try CheckpointConfig(parameters, architecture).document(contents)
    (additions, embedding) = ([], EmbeddingReturn())
    division = StackDivision(architecture, expertCount: parameters.experts?.count)
    try checkConfig(metadata, tokenCount: contents.tokenCount, isGiven: false)
  }

  // MARK: - Config

  /// Checks that the config leads to the metadata that it was made from.
  ///
  /// `isGiven` is whether the user named the config. Throws `unsupported`, or then `mismatch`, for a
  /// key with another value, and for one that the config does not state.
  private func checkConfig(
    _ metadata: Metadata, tokenCount: Int, isGiven: Bool
  ) throws(ModelError) {
    try checkAttention(metadata)
    let config = architecture.withUsualKeys(config)
    let read = try Hyperparameters(config, architecture, tokenCount: tokenCount)
    _ = try architecture.checkExpressible(config, read)
    let written = GGUFHyperparameters.metadata(of: read, architecture)
    let prefix = architecture.ggufName + "."
    for entry in metadata.entries where entry.key.hasPrefix(prefix) {
      let key = String(entry.key.dropFirst(prefix.count))
      if let value = written[entry.key] {
        guard !value.isSameNumber(as: entry.value) else { continue }
      } else if isImplied(key, entry.value, read, tokenCount) {
        continue
      }
      let expected = written[entry.key].map(\.shown)
      guard !isGiven else {
        throw ModelError(
          .mismatch, "the config of --config-from states something else than the metadata",
          tensor: entry.key, expected: entry.value.shown, found: expected ?? "no such key",
          hint: GivenConfig.hint)
      }
      throw ModelError(
        .unsupported, "no config of \(architecture.modelTypes[0]) states what the metadata does",
        tensor: entry.key, expected: expected ?? "no such key", found: entry.value.shown,
        hint: Self.configHint)
    }
  }

  /// Throws `unsupported` if the tokens of an encoder do not attend to later ones.
  private func checkAttention(_ metadata: Metadata) throws(ModelError) {
    let key = architecture.ggufName + ".attention.causal"
    guard architecture.isEncoder, metadata[key] != .bool(false) else { return }
    throw ModelError(
      .unsupported, "tokens of \(architecture.modelTypes[0]) attend to later ones, too",
      tensor: key, expected: "false", found: metadata[key].map(\.shown) ?? "no such key",
      hint: Self.hint)
  }

  /// Whether a key that Pleat does not write for the config states what is so without it.
  ///
  /// `read` are the hyperparameters that the config leads to.
  private func isImplied(
    _ key: String, _ value: MetadataValue, _ read: Hyperparameters, _ tokenCount: Int
  ) -> Bool {
    let rope = read.rope
    switch key {
    case "vocab_size": return value.integer == tokenCount
    case "attention.key_length", "attention.value_length":
      return value.integer == read.headSize
    case "rope.dimension_count":
      // Converters state it for models that rotate nothing, too.
      return value.integer == rope.rotatedCount
        || architecture.hyperparameters.contains(.noRotation)
    case "attention.head_count_kv": return value.equalIntegers == read.keyValueHeadCount
    case "expert_shared_feed_forward_length": return read.experts == nil
    // Converters write it for models without such layers, too.
    case "ssm.conv_kernel", "ssm.state_size", "ssm.group_count", "ssm.inner_size",
      "ssm.time_step_rank":
      return true
    case "expert_count", "expert_used_count", "expert_group_count", "expert_group_used_count",
      "nextn_predict_layers", "leading_dense_block_count":
      return value.integer == 0
    case "rope.dimension_sections", "n_deepstack_layers": return architecture.isTextAlone
    case "rope.scaling.type": return value.text == "none" || value.text == "longrope"
    case "rope.scaling.factor": return value.isSameNumber(as: .float(1))
    case "rope.scaling.original_context_length":
      // Some converters state it, though angles are not scaled.
      return rope.scaling == .none || value.integer == rope.originalContextLength
    case "rope.scaling.finetuned", "tensor_data_layout", "attention.layer_norm_rms_epsilon",
      "attention.layer_norm_epsilon":
      return true
    case "rope.freq_base": return value.isSameNumber(as: .float(10_000))
    case "rope.freq_base_swa":
      return value.isSameNumber(as: .float(Float(rope.slidingBase ?? rope.base ?? 10_000)))
    case "attention.sliding_window": return value.integer == 0
    case "attention.causal": return value == .bool(true)
    // Other files state what becomes of the vectors of tokens.
    case SentenceDocuments.poolingKey: return SentenceDocuments.isKnown(value)
    case "classifier.pooling_type": return architecture.isEncoder
    case "attention.sliding_window_pattern":
      return value.integer.map { $0 == architecture.slidingPeriod } ?? false
    case let key where SentenceDocuments.isDenseSize(key):
      return architecture.traits.appliesDenseLayers
    default: return false
    }
  }

  // MARK: - Tensors

  /// Checks that the config asks for these tensors, in these shapes.
  ///
  /// Throws `malformed` for tensors that are missing or have another shape, and `unsupported` for
  /// those that the architecture does not have.
  private func checkTensors(_ tensors: [TensorInfo], tokenCount: Int) throws(ModelError) {
    let checks = CheckpointChecks(architecture, config: config, for: runtime)
    var renamed: [TensorInfo] = []
    for (tensor, placement) in zip(tensors, placements) {
      guard let placement else { continue }
      var shape = tensor.shape
      if placement.names.count > 1 {
        shape = Shape(validating: Array(shape.dimensions.dropFirst())) ?? shape
      }
      for name in placement.names {
        renamed.append(TensorInfo(name: name, shape: shape, encoding: tensor.encoding))
      }
    }
    // The tables have what llama.cpp makes of arranged tensors.
    if let views = try architecture.views(of: renamed, config, for: .llamaCpp) {
      renamed = views.map {
        TensorInfo(name: $0.name, shape: $0.shape, encoding: renamed[$0.source].encoding)
      }
    }
    var unknown: [String] = []
    for tensor in renamed
    where try !checks.accepts(tensor, parameters.sizes, tokenCount: tokenCount) {
      unknown.append(tensor.name)
    }
    try checks.refuse(unknown)
    let added = additions.map { addition in
      TensorInfo(name: addition.stored.name, shape: addition.stored.shape, encoding: .plain(.f32))
    }
    try checks.checkIsComplete(TensorFamilies(renamed + added), parameters.sizes)
  }

  private func placement(of tensor: TensorInfo) throws(ModelError) -> TensorPlacement? {
    if Self.factors.contains(where: { tensor.name == $0 + Self.weight }) { return nil }
    if embedding.replaced.contains(tensor.name) { return nil }
    if let names = try division.names(of: tensor) { return stack(tensor, names) }
    // Arranged tensors have their names already, and matrices of stacks theirs of llama.cpp.
    if let name = architecture.isReturned(tensor.name)
      ? tensor.name : division.name(ofMatrix: tensor.name)
    {
      return TensorPlacement(name: published(name))
    }
    guard let name = architecture.huggingFaceName(of: tensor.name) else {
      throw ModelError(
        .unsupported, "transformers has no such tensor in \(architecture.modelTypes[0])",
        tensor: tensor.name,
        hint: Self.hint)
    }
    var placement = TensorPlacement(name: published(name))
    placement.rowOrder = try architecture.rowOrder(
      ofHuggingFaceName: name, headCount: parameters.headCount,
      keyValueHeadCount: parameters.keyValueHeadCount, headSize: parameters.headSize
    )?.inverse
    if let order = placement.rowOrder, order.rowCount != tensor.shape.dimensions.first {
      throw ModelError(
        .malformed, "the tensor has other rows than its heads", tensor: tensor.name,
        expected: "\(order.rowCount) rows", found: "\(tensor.shape)")
    }
    let isNorm = tensor.name.hasSuffix("norm.weight")
    if architecture.addsOneToNorms, isNorm, !architecture.keepsNorm(tensor.name) {
      placement.addend = -1
    }
    return placement
  }

  /// The matrices of a stack, each under its own name.
  private func stack(_ tensor: TensorInfo, _ names: [String]) -> TensorPlacement {
    let extents = tensor.shape.dimensions
    var placement = TensorPlacement(name: published(names[0]))
    placement.otherNames = names.dropFirst().map(published)
    placement.shape = Shape(validating: [extents[0] * extents[1], extents[2]])
    return placement
  }

  /// The name in published checkpoints of a tensor in the tables.
  private func published(_ name: String) -> String {
    architecture.publishedName(of: name, layerCount: parameters.layerCount)
  }
}

extension MetadataValue {
  /// A text for messages.
  fileprivate var shown: String {
    switch self {
    case .unsigned(let value, _): "\(value)"
    case .signed(let value, _): "\(value)"
    case .float(let value): "\(value)"
    case .double(let value): "\(value)"
    case .bool(let value): "\(value)"
    case .string: text ?? ""
    case .array(let array): "\(array.count) × \(array.elementType)"
    }
  }

  /// Whether both are the same whole number, the same number in float32, or equal otherwise.
  fileprivate func isSameNumber(as other: MetadataValue) -> Bool {
    if let number = equalIntegers, let other = other.equalIntegers { return number == other }
    func single(_ value: MetadataValue) -> Float? {
      switch value {
      case .float(let number): number
      case .double(let number): Float(number)
      default: nil
      }
    }
    if let number = single(self), let other = single(other) {
      return abs(number - other) <= 1e-6 * abs(other)
    }
    if case .array(let own) = self, case .array(let others) = other {
      return own.count == others.count && own.bytes == others.bytes
    }
    return self == other
  }
}
