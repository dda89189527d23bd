package import Architectures
package import Bytes
package import TensorModel

/// How a Hugging Face checkpoint becomes a llama.cpp model.
///
/// It covers the names of tensors, the order of their rows, numbers that llama.cpp stores
/// differently, and metadata.
package struct GGUFTranslation: Translation {
  package let runtime = Runtime.llamaCpp
  /// The metadata of the llama.cpp model.
  package let metadata: Metadata
  /// What each tensor of the checkpoint becomes; nil for tensors that are left out.
  package private(set) var placements: [TensorPlacement?] = []
  /// The tensors that are written besides these.
  package private(set) var additions: [TensorAddition] = []
  package let tensorMetadata: Metadata
  /// Notes for the user.
  package private(set) var notes: [String] = []

  package var newMetadata: Metadata? { metadata }

  /// Plans the translation of a checkpoint.
  ///
  /// - Parameters:
  ///   - tensors: The tensors of the checkpoint.
  ///   - config: Its `config.json`.
  ///   - generation: Its `generation_config.json`; nil if it has none.
  ///   - modules: Its modules of sentence-transformers.
  ///   - name: The name of the model, for the metadata.
  ///   - numbers: Reads the numbers of a small tensor by its index.
  ///   - tokenizer: Makes the tokenizer for an architecture and a number of embedding rows; may
  ///     return nil for none.
  /// - Throws: `unsupported` for an architecture or a tensor that Pleat does not know, and for what
  ///   llama.cpp does not compute; `malformed` for an incomplete config, missing tensors, and tensors
  ///   that contradict the config; `limit`, and what `numbers` and `tokenizer` throw.
  package init(
    _ tensors: [TensorInfo], config: JSONValue, generation: JSONValue?,
    modules: SentenceModules = SentenceModules(), name: String,
    numbers: (Int) throws(ModelError) -> [Float],
    tokenizer: (Architecture, Int) throws(ModelError) -> GGUFTokenizer?
  ) throws(ModelError) {
    let (whole, stated) = (config, TextConfig.merged(config))
    let architecture = try Self.architecture(of: stated)
    let config = architecture.withUsualKeys(stated)
    let checks = CheckpointChecks(architecture, config: whole, for: .llamaCpp)
    let families = TensorFamilies(tensors)
    try checks.checkIsOneModel(families)
    let embedding = architecture.modelNames[0].huggingFace + ".weight"
    let table = families.representatives.first { architecture.plainName($0.name) == embedding }
    guard let table else {
      throw ModelError(.malformed, "the model has no token embeddings", expected: embedding)
    }
    let tokenCount = table.shape.rowCount
    let parameters = try Hyperparameters(
      architecture.withoutMissingLayers(config, tensors), architecture,
      tokenCount: tokenCount, queryRowCount: tensors.queryRowCount)
    let differences = try architecture.checkExpressible(config, parameters)
    let described = GGUFHyperparameters.metadata(of: parameters, architecture)
    var metadata = Metadata()
    metadata.append("general.architecture", .text(architecture.ggufName))
    metadata.append("general.type", .text("model"))
    metadata.append("general.name", .text(name))
    let sampling = generation.map(SamplingDefaults.metadata) ?? Metadata()
    let vocabulary = try tokenizer(architecture, tokenCount)
    notes = (vocabulary?.notes ?? []) + modules.notes
    notes += differences + checks.notes(tensors, tokenCount: tokenCount)
    tensorMetadata = try LayerNumbers.metadata(
      of: tensors, architecture, layerCount: parameters.layerCount, numbers)
    let suppressed =
      architecture.suppressesTokens && vocabulary != nil
      ? try SamplingDefaults.suppressedTokens(generation ?? .null, tokenCount: tokenCount)
      : Metadata()
    let entries =
      sampling.entries + described.entries + tensorMetadata.entries
      + modules.metadata(of: architecture.ggufName).entries
    for entry in entries + (vocabulary?.metadata.entries ?? []) + suppressed.entries {
      metadata.append(entry.key, entry.value)
    }
    GGUFFileType.addVersion(to: &metadata)
    self.metadata = metadata
    try translate(families, architecture, parameters, checks, tokenCount: tokenCount)
    markIgnoredFactors(tensors, architecture)
    try addFactors(parameters)
    try addDenseLayers(modules, width: parameters.hiddenSize)
    try addPositions(tensors, architecture, parameters, numbers)
    try checkIsInvertible(families)
    try checks.checkIsComplete(families, parameters.sizes)
  }

  private static func architecture(of config: JSONValue) throws(ModelError) -> Architecture {
    if let architecture = Architectures.forConfig(config) { return architecture }
    let type = config["model_type"]?.string
    if let architecture = Architectures.forConfig(config) { return architecture }
    throw ModelError(
      .unsupported, "not an architecture that Pleat translates for llama.cpp",
      expected: Architectures.all.flatMap(\.modelTypes).joined(separator: ", "),
      found: type.map { "model_type \($0)" } ?? "no model_type in config.json",
      hint: "make an F16 GGUF with llama.cpp's convert_hf_to_gguf; Pleat quantizes and folds that")
  }

  // MARK: - Tensors

  /// What a tensor of a checkpoint becomes, or why it is left out.
  private enum Outcome {
    case tower
    case recomputed
    case ofPrediction
    case unused
    case unknown
    case placed(TensorPlacement)
  }

  private mutating func translate(
    _ families: TensorFamilies, _ architecture: Architecture, _ parameters: Hyperparameters,
    _ checks: CheckpointChecks, tokenCount: Int
  ) throws(ModelError) {
    var unknown: [String] = []
    var visionCount = 0
    var predictionCount = 0
    var unused: [String] = []
    var outcomes: [Outcome?] = Array(repeating: nil, count: families.families.count)
    placements.reserveCapacity(families.tensors.count)
    for (tensor, (family, expert)) in zip(families.tensors, families.members) {
      if outcomes[family] == nil {
        outcomes[family] = try Self.outcome(
          tensor, architecture, parameters, checks, tokenCount: tokenCount)
      }
      var placement: TensorPlacement?
      switch outcomes[family] ?? .unknown {
      case .tower: visionCount += 1
      case .recomputed: break
      case .ofPrediction: predictionCount += 1
      case .unused: unused.append(tensor.name)
      case .unknown: unknown.append(tensor.name)
      case .placed(var placed):
        if let expert { try placed.stack?.move(to: expert, of: tensor) }
        placement = placed
      }
      placements.append(placement)
    }
    if visionCount > 0 {
      notes.append("the vision tower is left out: \(visionCount) tensors")
    }
    if predictionCount > 0 {
      notes.append(
        "llama.cpp has no place for the layers that predict several tokens: \(predictionCount) "
          + "tensors are left out")
    }
    if let first = unused.first {
      notes.append(
        "tensors that llama.cpp does not use are left out: \(unused.count), such as \(first)")
    }
    try checks.refuse(unknown)
  }

  /// The outcome for a tensor; those of other experts have the same one.
  private static func outcome(
    _ tensor: TensorInfo, _ architecture: Architecture, _ parameters: Hyperparameters,
    _ checks: CheckpointChecks, tokenCount: Int
  ) throws(ModelError) -> Outcome {
    if TensorNames.isTower(tensor.name) { return .tower }
    if isRecomputed(tensor.name, architecture) { return .recomputed }
    if architecture.leavesOut(tensor.name, layerCount: parameters.layerCount) {
      return .ofPrediction
    }
    if architecture.leavesOut(tensor.name) { return .unused }
    guard try checks.accepts(tensor, parameters.sizes, tokenCount: tokenCount),
      let placed = try placement(of: tensor, architecture, parameters)
    else { return .unknown }
    return .placed(placed)
  }

  /// What a tensor of a checkpoint becomes; nil if it is in no table.
  ///
  /// Throws `malformed` for an expert beyond those of the config, and for heads that cannot be
  /// reordered.
  package static func placement(
    of tensor: TensorInfo, _ architecture: Architecture, _ parameters: Hyperparameters
  ) throws(ModelError) -> TensorPlacement? {
    if let (name, index) = architecture.expert(ofHuggingFaceName: tensor.name) {
      var stack = TensorPlacement.Stack(index: 0, count: parameters.expertCount ?? 0)
      try stack.move(to: index, of: tensor)
      return TensorPlacement(name: name, stack: stack)
    }
    if let (name, index) = architecture.numbered(ofHuggingFaceName: tensor.name) {
      let count = VariedLayerSizes.updateCount - 1
      guard index < count else { return nil }
      return TensorPlacement(name: name, stack: .init(index: index, count: count))
    }
    let parts = architecture.ggufNames(ofCompleteName: tensor.name)
    guard let name = parts.first ?? architecture.ggufName(of: tensor.name) else { return nil }
    var result = TensorPlacement(name: name)
    result.otherNames = Array(parts.dropFirst())
    result.rowOrder = try architecture.rowOrder(
      ofHuggingFaceName: tensor.name, headCount: parameters.headCount,
      keyValueHeadCount: parameters.keyValueHeadCount, headSize: parameters.headSize)
    let isNorm = name.hasSuffix("norm.weight")
    if architecture.addsOneToNorms, isNorm, !architecture.keepsNorm(name) { result.addend = 1 }
    let isConvolution =
      name.hasSuffix("conv1d.weight") || name.hasSuffix("shortconv.conv.weight")
    let isRouter =
      name.hasSuffix(".ffn_gate_inp.weight") || name.hasSuffix(".ffn_gate_inp_shexp.weight")
    let isCoefficient =
      name.hasSuffix(".altup_correct_coef.weight") || name.hasSuffix(".altup_predict_coef.weight")
    let isSmallTable = [TensorNames.ggufPositions, TensorNames.ggufTokenTypes].contains(name)
    result.isFloat32 =
      tensor.shape.rank == 1 || isNorm || isRouter || isConvolution || isSmallTable
      || isCoefficient
      || !name.hasSuffix(".weight")
    return result
  }

  /// Whether llama.cpp computes a tensor itself, reads it from the metadata, or uses the embeddings
  /// instead of it.
  private static func isRecomputed(_ name: String, _ architecture: Architecture) -> Bool {
    if TensorNames.isRotaryTable(name) { return true }
    if architecture.layerNumber(ofHuggingFaceName: name) != nil { return true }
    return architecture.leavesOutHead && TensorNames.isTextHead(name)
  }

  /// Throws `malformed` if two tensors become the same one.
  private func checkIsInvertible(_ families: TensorFamilies) throws(ModelError) {
    struct Place: Hashable {
      var name: Int
      var index: Int?
    }
    // The first family of each name, as the number of the name.
    var names: [ExactName: Int] = [:]
    var numbers: [Int?] = []
    // The numbers of names that several tensors may get; the experts of a family are told apart.
    var shared: Set<Int> = []
    for (index, family) in families.families.enumerated() {
      let translated = placements[family.first]
      let number = translated.map { names[ExactName($0.name), default: index] }
      if let translated, let number {
        names[ExactName(translated.name)] = number
        if number != index || family.isOfExperts && translated.stack == nil {
          shared.insert(number)
        }
      }
      numbers.append(number)
    }
    var seen: [Place: Int] = [:]
    for (index, (family, _)) in families.members.enumerated() where !shared.isEmpty {
      guard let translated = placements[index], let name = numbers[family], shared.contains(name)
      else { continue }
      let place = Place(name: name, index: translated.stack?.index)
      if let other = seen.updateValue(index, forKey: place) {
        let (own, other) = (families.tensors[index].name, families.tensors[other].name)
        throw ModelError(
          .malformed, "two tensors become one in llama.cpp", tensor: own,
          expected: "one tensor for \(translated.name)", found: "\(other) and \(own)")
      }
    }
  }

  /// Marks the weights in NVFP4 whose factors llama.cpp does not multiply by.
  private mutating func markIgnoredFactors(
    _ tensors: [TensorInfo], _ architecture: Architecture
  ) {
    guard tensors.contains(where: { $0.scaled?.isNVFP4 ?? false }) else { return }
    // llama.cpp would multiply a bias, too, and ends the program instead.
    let hasBias = placements.contains { placement in
      placement.map { $0.name.contains(".ffn_") && $0.name.hasSuffix(".bias") } ?? false
    }
    for index in placements.indices where tensors[index].scaled?.isNVFP4 ?? false {
      guard let name = placements[index]?.name,
        !architecture.multipliesByFactor(name, hasFeedForwardBias: hasBias)
      else { continue }
      placements[index]?.ignoredFactor = "llama.cpp ignores the factor of the tensor"
    }
  }

  // MARK: - Additions

  /// Adds the divisors of rotary angles, if they depend on the position in the head.
  private mutating func addFactors(_ parameters: Hyperparameters) throws(ModelError) {
    if let factors = parameters.rope.frequencyFactors(headSize: parameters.fullHeadSize) {
      try add("rope_freqs.weight", factors)
    }
    if case .longrope(let factors) = parameters.rope.scaling {
      try add("rope_factors_long.weight", factors.long)
      try add("rope_factors_short.weight", factors.short)
    }
  }

  /// Adds the layers that llama.cpp applies to the pooled vector.
  private mutating func addDenseLayers(
    _ modules: SentenceModules, width: Int
  ) throws(ModelError) {
    try DenseLayer.check(modules.denseLayers, width: width)
    for (name, layer) in zip(DenseLayer.names, modules.denseLayers) {
      additions.append(try layer.addition(named: name))
    }
  }

  private mutating func add(_ name: String, _ factors: [Float]) throws(ModelError) {
    try add(name, [factors.count], factors[...])
  }

  /// Adds the position embeddings without the rows for padding, if the checkpoint has such rows.
  ///
  /// llama.cpp counts the positions of a text from 0.
  private mutating func addPositions(
    _ tensors: [TensorInfo], _ architecture: Architecture, _ parameters: Hyperparameters,
    _ values: (Int) throws(ModelError) -> [Float]
  ) throws(ModelError) {
    guard architecture.encoder?.hasRowsForPadding ?? false,
      let index = placements.firstIndex(where: { $0?.name == TensorNames.ggufPositions })
    else { return }
    let shape = [parameters.contextLength, parameters.hiddenSize]
    let skipped = tensors[index].shape.rowCount - shape[0]
    let rows = try values(index).dropFirst(skipped * shape[1])
    placements[index] = nil
    try add(TensorNames.ggufPositions, shape, rows)
    notes.append(
      "\(tensors[index].name) is stored without its first \(skipped) rows, which texts do not use")
  }

  private mutating func add(
    _ name: String, _ dimensions: [Int], _ numbers: ArraySlice<Float>
  ) throws(ModelError) {
    guard numbers.allSatisfy(\.isFinite),
      let addition = TensorAddition(name, dimensions, numbers)
    else {
      throw ModelError(
        .malformed, "the numbers of the tensor cannot be stored", tensor: name,
        expected: "finite numbers for \(dimensions.map(String.init).joined(separator: "×"))",
        found: "\(numbers.count) numbers")
    }
    additions.append(addition)
  }
}

extension TensorPlacement.Stack {
  /// Changes the number of the matrix to that of an expert.
  ///
  /// Throws `malformed` for an expert beyond those of the config.
  fileprivate mutating func move(to expert: Int, of tensor: TensorInfo) throws(ModelError) {
    guard expert < count else {
      throw ModelError(
        .malformed, "there are more experts than config.json states", tensor: tensor.name,
        expected: "\(count)", found: "expert \(expert)")
    }
    index = expert
  }
}
