package import Architectures
package import Bytes
package import TensorModel

/// Checks that the tensors of a checkpoint are those that its config and a runtime ask for.
package struct CheckpointChecks {
  private let runtime: Runtime
  private let architecture: Architecture
  /// The whole `config.json`.
  private let whole: JSONValue
  /// The config of the text model.
  private let config: JSONValue

  /// Creates checks for the checkpoints of an architecture with a `config.json`.
  package init(_ architecture: Architecture, config: JSONValue, for runtime: Runtime) {
    self.runtime = runtime
    self.architecture = architecture
    whole = config
    self.config = TextConfig.merged(config)
  }

  /// The runtime, and its name of the architecture.
  private var model: String {
    switch runtime {
    case .llamaCpp: "llama.cpp's \(architecture.ggufName)"
    case .mlxLM, .transformers: "\(runtime.rawValue)'s \(architecture.modelTypes[0])"
    }
  }

  /// The tensors that may have a bias, by their names in llama.cpp.
  private var biases: Set<String> {
    switch runtime {
    case .llamaCpp, .transformers: architecture.possibleBiases(config)
    case .mlxLM: architecture.mlxBiases(config)
    }
  }

  /// The tensors that must have a bias, by their names in llama.cpp.
  private var requiredBiases: Set<String> {
    switch runtime {
    case .llamaCpp, .transformers: architecture.statedBiases(config)
    case .mlxLM: architecture.mlxBiases(config)
    }
  }

  /// Throws `unsupported` if the checkpoint has the tensors of several text models.
  package func checkIsOneModel(_ families: TensorFamilies) throws(ModelError) {
    var first: (prefix: String, name: String)?
    for tensor in families.representatives {
      guard
        let prefix = architecture.prefix(
          ofHuggingFaceName: tensor.name, besides: first?.prefix)
      else { continue }
      guard let known = first else {
        first = (prefix, tensor.name)
        continue
      }
      throw ModelError(
        .unsupported, "the checkpoint has more than one text model", tensor: tensor.name,
        expected: "the same words before all names",
        found: "\(known.name) and \(tensor.name)",
        hint: "keep the tensors of one model only")
    }
  }

  /// Whether the runtime has a tensor in this architecture.
  ///
  /// Throws `malformed` for a tensor that contradicts the config.
  package func accepts(
    _ tensor: TensorInfo, _ sizes: ModelSizes, tokenCount: Int
  ) throws(ModelError) -> Bool {
    guard let place = architecture.place(ofHuggingFaceName: tensor.name),
      let expected = architecture.expectedShape(
        ofHuggingFaceName: tensor.name, at: place, sizes, tokenCount: tokenCount),
      !architecture.isBias(tensor.name) || biases.contains(place.names.gguf)
    else { return false }
    let layerCount = sizes.layerCount + sizes.predictionLayerCount
    if let layer = place.layer, layer < layerCount,
      !architecture.hasTensor(place.names.huggingFace, layer: layer, sizes)
    {
      return false
    }
    if let layer = place.layer, layer >= layerCount {
      throw ModelError(
        .malformed, "the model has more layers than config.json states", tensor: tensor.name,
        expected: "layers 0 to \(layerCount - 1), as num_hidden_layers states",
        found: "layer \(layer)",
        hint: "correct num_hidden_layers, or remove the tensors of the other layers")
    }
    try checkIsStated(tensor, place.names.huggingFace)
    guard tensor.shape.dimensions != expected.dimensions else { return true }
    let dimensions = expected.dimensions.map(String.init).joined(separator: "×")
    throw ModelError(
      .malformed, "the tensor does not have the shape that config.json states",
      tensor: tensor.name, expected: "\(dimensions), \(expected.formula)",
      found: "\(tensor.shape)",
      hint:
        "correct config.json if all layers have this size; \(runtime.rawValue) has no layers of "
        + "different sizes in this architecture")
  }

  /// Throws `malformed` if a key of the config says that the model lacks a tensor.
  func checkIsStated(_ tensor: TensorInfo) throws(ModelError) {
    guard let place = architecture.place(ofHuggingFaceName: tensor.name) else { return }
    try checkIsStated(tensor, place.names.huggingFace)
  }

  /// The same for a tensor that has this name in the tables.
  private func checkIsStated(_ tensor: TensorInfo, _ name: String) throws(ModelError) {
    guard let key = architecture.absenceKey(of: name, config) else { return }
    throw ModelError(
      .malformed, "config.json says that the model has no such tensor", tensor: tensor.name,
      expected: "\(key) true or a number above 0, or no such tensor",
      found: config[key].map { "\(key) \(JSONWriter.text($0))" } ?? "no \(key)",
      hint: "correct \(key) in config.json if the tensor belongs to the model")
  }

  /// Throws `unsupported` if there are tensors that the runtime does not have.
  package func refuse(_ names: [String]) throws(ModelError) {
    guard let first = names.first else { return }
    if let head = names.first(where: TensorNames.isTaskHead) {
      throw ModelError(
        .unsupported, "\(model) has no head for classification or values",
        tensor: head, expected: "\(TensorNames.head).weight, or no head", found: head,
        hint: "write another format, such as --to safetensors")
    }
    let found = names.count > 1 ? "\(first) and \(names.count - 1) more" : first
    if let key = biasKey(of: first), config[key]?.bool != true {
      throw ModelError(
        .malformed, "config.json says that the layer has no bias", tensor: first,
        expected: "\(key) true, or no bias", found: found,
        hint: "set \(key) to true in config.json if the biases belong to the model")
    }
    throw ModelError(
      .unsupported, "\(model) has no such tensor", tensor: first,
      expected: "names as in \(architecture.modelTypes[0]) models", found: found)
  }

  /// The key of the config that says whether the model has a bias; nil for other tensors.
  private func biasKey(of name: String) -> String? {
    guard name.hasSuffix(".bias"), let place = architecture.place(ofHuggingFaceName: name) else {
      return nil
    }
    return architecture.traits.biasKeys.first { $0.tensors.contains(place.names.gguf) }?.key
  }

  /// Throws `malformed` if a tensor is missing.
  package func checkIsComplete(
    _ families: TensorFamilies, _ sizes: ModelSizes
  ) throws(ModelError) {
    let count = families.tensors.count
    let layerCount = sizes.layerCount
    let expertCount = sizes.expertCount ?? 0
    let isStacked = families.representatives.contains { architecture.isStack($0.name) }
    // Each layer and expert has at least one tensor. This bounds the list of required names.
    let tensorCount = isStacked || architecture.expertNames.isEmpty ? 1 : max(1, expertCount)
    let allLayerCount = layerCount + sizes.predictionLayerCount
    let hasExpertKind = architecture.kindNames[.experts] != nil
    let expertLayerCount =
      hasExpertKind ? max(1, sizes.layerKinds.count { $0 == .experts }) : allLayerCount
    guard allLayerCount <= count, tensorCount <= count / expertLayerCount else {
      throw ModelError(
        .malformed, "the model has fewer tensors than config.json requires",
        expected: expertCount > 0
          ? "\(allLayerCount) layers of \(expertCount) experts" : "\(allLayerCount) layers",
        found: "\(count) tensors")
    }
    let weights =
      architecture.requiredPatterns(
        layerCount: layerCount, hasExperts: expertCount > 0,
        leadingCount: sizes.leadingCount, expertInterval: sizes.experts?.interval ?? 1,
        sharedCount: sizes.experts?.sharedCount, predictionCount: sizes.predictionLayerCount,
        isStacked: isStacked, layerKinds: sizes.layerKinds, varied: sizes.varied)
      + architecture.optionalNames(in: config, layerCount: allLayerCount)
    let required =
      weights
      + architecture.biasNames(
        of: requiredBiases, layerCount: layerCount, layerKinds: sizes.layerKinds)
    let missing = PresentNames(families, architecture).missing(of: required, expertCount)
    if let first = missing.first {
      let requiredCount = required.reduce(0) {
        $0 + (Architecture.isPattern($1) ? expertCount : 1)
      }
      throw ModelError(
        .malformed, "the model lacks a tensor that config.json requires", tensor: first,
        expected: "\(requiredCount) tensors", found: "\(missing.count) are missing",
        hint: "add the missing files, or correct config.json if the model has fewer layers")
    }
    let key = "tie_word_embeddings"
    let isTied = TextConfig.tiesEmbeddings(whole) ?? architecture.defaults[key]?.bool
    guard needsHead, !hasHead(families), isTied == false else { return }
    throw ModelError(
      .malformed,
      "the model has no head, and config.json says that the embeddings are not the head",
      tensor: "\(TensorNames.head).weight", expected: "a head, or \(key) true",
      found: config[key] == nil ? "no \(key), which means false" : "\(key) false",
      hint: "restore the head, or correct config.json if the embeddings are the head")
  }

  private func hasHead(_ families: TensorFamilies) -> Bool {
    families.representatives.contains { TensorNames.isTextHead($0.name) }
  }

  /// Whether the model predicts tokens; models that only embed texts do not.
  private var needsHead: Bool {
    !architecture.isEncoder && TextConfig.predictsTokens(whole) ?? true
  }

  /// Notes about a config that does not describe the tensors, though the output does.
  func notes(_ tensors: [TensorInfo], tokenCount: Int) -> [String] {
    guard let stated = config["vocab_size"]?.int, stated != tokenCount else { return [] }
    return [
      "config.json states a vocab_size of \(stated), but the embeddings have \(tokenCount) rows: the "
        + "output has \(tokenCount) tokens"
    ]
  }
}

/// The names of the tensors of a checkpoint, as those of a model of text alone.
private struct PresentNames {
  private var names: Set<ExactName> = []
  /// The numbers of the experts that have a tensor, by its name with `*` for the number.
  private var experts: [ExactName: Set<Int>] = [:]

  init(_ families: TensorFamilies, _ architecture: Architecture) {
    let keys = families.families.map { ExactName(architecture.plainName($0.pattern)) }
    for (index, expert) in families.members {
      if let expert {
        experts[keys[index], default: []].insert(expert)
      } else {
        names.insert(keys[index])
      }
    }
  }

  /// The tensors that are not there, of those that must be; names with `*` are those of all experts.
  func missing(of required: [String], _ expertCount: Int) -> [String] {
    required.flatMap { name -> [String] in
      let key = ExactName(name)
      guard Architecture.isPattern(name) else { return names.contains(key) ? [] : [name] }
      let found = experts[key] ?? []
      guard found.count(where: { $0 < expertCount }) < expertCount else { return [] }
      return Architecture.expanded(name, expertCount: expertCount).enumerated()
        .filter { !found.contains($0.offset) }.map(\.element)
    }
  }
}
