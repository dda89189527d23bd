internal import Architectures
internal import Bytes
internal import TensorModel

/// What a checkpoint is made by: the architecture of a llama.cpp model, its hyperparameters, and a
/// config.
struct CheckpointBasis {
  let architecture: Architecture
  let parameters: Hyperparameters
  /// The `config.json`.
  let config: JSONValue
  /// What the tensors say about it.
  let contents: CheckpointConfig.Contents
  /// Notes about what the file does not state.
  private(set) var notes: [String] = []
  /// The stacks whose matrices the checkpoint has as tensors.
  var division: StackDivision {
    StackDivision(architecture, expertCount: parameters.experts?.count)
  }

  /// Takes the given config, or makes one from the metadata.
  ///
  /// `numbers` reads a tensor of F32 numbers by its index. Throws what
  /// `CheckpointTranslation.init` throws of them.
  init(
    _ tensors: [TensorInfo], _ metadata: Metadata, config given: JSONValue?,
    numbers: (Int) throws(ModelError) -> [Float]
  ) throws(ModelError) {
    if let given {
      contents = try Self.contents(tensors, metadata, numbers)
      let stated = try GivenConfig(given, metadata, contents)
      (architecture, parameters, config) = (
        stated.architecture, stated.parameters, stated.document
      )
      return
    }
    contents = try Self.contents(tensors, metadata, numbers)
    let choice = BERTChoice(
      metadata["general.architecture"]?.text, tokenizer: metadata[GGUFTokenizer.modelKey]?.text,
      contents)
    architecture =
      if let choice { choice.architecture } else { try Self.architecture(metadata) }
    notes = choice.map { [$0.note] } ?? []
    do throws(ModelError) {
      let stated = try Hyperparameters(metadata, architecture, tensors: tensors)
      config = try CheckpointConfig(stated, architecture).document(contents)
      // The metadata of an encoder states fewer sizes than its config.
      parameters =
        try architecture.isEncoder
        ? Hyperparameters(
          architecture.withUsualKeys(config), architecture, tokenCount: contents.tokenCount)
        : stated
    } catch {
      var error = error
      error.hint = error.hint ?? CheckpointTranslation.configHint
      throw error
    }
  }

  /// What the tensors say about a config, and which token pads texts.
  ///
  /// Throws `malformed` without token embeddings, and what `numbers` throws.
  static func contents(
    _ tensors: [TensorInfo], _ metadata: Metadata,
    _ numbers: (Int) throws(ModelError) -> [Float]
  ) throws(ModelError) -> CheckpointConfig.Contents {
    guard let table = tensors.first(where: { $0.name == TensorNames.ggufEmbeddings }) else {
      throw ModelError(
        .malformed, "the model has no token embeddings", expected: TensorNames.ggufEmbeddings)
    }
    var contents = CheckpointConfig.Contents(
      tokenCount: table.shape.rowCount, names: Set(tensors.map(\.name)),
      dtype: Self.dtype(tensors), factors: [:])
    contents.tokenTypeCount =
      tensors.first { $0.name == TensorNames.ggufTokenTypes }?.shape.rowCount
    if let key = SpecialTokens.key(of: "pad"), let id = metadata[key]?.integer,
      (0..<contents.tokenCount).contains(id)
    {
      contents.paddingID = id
    }
    for name in CheckpointTranslation.factors {
      let whole = name + CheckpointTranslation.weight
      guard let index = tensors.firstIndex(where: { $0.name == whole }) else { continue }
      contents.factors[name] = try numbers(index)
    }
    return contents
  }

  /// The architecture whose model type the checkpoint gets.
  ///
  /// `type` is the model type that a given config states. Throws `unsupported` if transformers has no
  /// class for it, or Pleat does not know it, or does not translate its tensors if `isTranslated`.
  static func architecture(
    _ metadata: Metadata, type: String? = nil, isTranslated: Bool = true
  ) throws(ModelError) -> Architecture {
    let name = metadata["general.architecture"]?.text ?? ""
    let all = Architectures.withVariants.filter {
      $0.ggufName == name && $0.className != nil && type.map($0.modelTypes.contains) ?? true
    }
    let hasExperts = metadata["\(name).expert_count"]?.integer ?? 0 > 0
    let slides = metadata["\(name).attention.sliding_window"]?.integer ?? 0 > 0
    let hasSigmoids = metadata["\(name).expert_gating_func"]?.integer == 2
    let predicts = metadata["\(name).nextn_predict_layers"]?.integer ?? 0 > 0
    let alike = all.count > 1 ? all.filter { ($0.experts != nil) == hasExperts } : all
    let same = alike.filter { $0.hyperparameters.contains(.sigmoidRouter) == hasSigmoids }
    let some = same.isEmpty ? alike : same
    let hasShared = metadata["\(name).expert_shared_feed_forward_length"] != nil
    let shared = some.filter { $0.hyperparameters.contains(.sharedExpertWidth) == hasShared }
    let found = shared.isEmpty ? some : shared
    let architecture =
      found.first { $0.hasLatentAttention && $0.predictsTokens == predicts }
      ?? found.first { $0.hasSlidingLayers == slides } ?? found.first
    if let architecture, architecture.comesBack || !isTranslated { return architecture }
    if let architecture {
      throw ModelError(
        .unsupported,
        "Pleat does not make the tensors of transformers from those of llama.cpp here",
        tensor: architecture.arrangements.first?.name,
        expected: "an architecture whose layers have the same tensors, stored one by one",
        found: name,
        hint: CheckpointTranslation.hint)
    }
    let names = Set(Architectures.withVariants.filter { $0.className != nil }.map(\.ggufName))
    throw ModelError(
      .unsupported,
      Architectures.named(name) == nil
        ? "not an architecture that Pleat translates for transformers"
        : "transformers has no class for this architecture",
      expected: names.sorted().joined(separator: ", "), found: name,
      hint: CheckpointTranslation.hint)
  }

  /// The type of most weights after decoding, as transformers names it.
  private static func dtype(_ tensors: [TensorInfo]) -> String {
    var counts: [ScalarType: Int] = [:]
    for tensor in tensors where tensor.shape.rank > 1 {
      let type: ScalarType =
        if case .plain(let type) = tensor.encoding { type } else { .f16 }
      counts[type, default: 0] += tensor.shape.elementCount
    }
    let names: [ScalarType: String] = [.f32: "float32", .bf16: "bfloat16"]
    let most = counts.max { ($0.value, $0.key.name) < ($1.value, $1.key.name) }?.key
    return most.flatMap { names[$0] } ?? "float16"
  }
}

extension Architecture {
  /// Whether some layers have sliding attention and others have not.
  fileprivate var hasSlidingLayers: Bool {
    if case .alternating = traits.sliding { true } else { false }
  }

  /// Whether it has layers that predict several tokens.
  fileprivate var predictsTokens: Bool { hyperparameters.contains(.predictionLayersIfAny) }
}
