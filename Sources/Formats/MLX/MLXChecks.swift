internal import Architectures
internal import Bytes
internal import TensorModel

/// Checks that mlx-lm loads a checkpoint, and computes what its config describes.
struct MLXChecks {
  private let families: TensorFamilies
  private var tensors: [TensorInfo] { families.tensors }
  /// The whole `config.json`.
  private let whole: JSONValue
  /// The config of the text model.
  private let config: JSONValue
  private let names: MLXNames

  /// Creates checks for the tensors of a checkpoint with a `config.json`.
  init(_ families: TensorFamilies, config: JSONValue) {
    self.families = families
    whole = MLXModelTypes.named(config)
    self.config = TextConfig.merged(whole)
    names = MLXNames.forConfig(whole)
  }

  /// Notes about what mlx-lm computes differently.
  ///
  /// Throws `unsupported` for what mlx-lm does not compute, and `malformed` for tensors that
  /// contradict the config.
  func notes() throws(ModelError) -> [String] {
    guard let type = whole["model_type"]?.string else {
      return ["config.json states no model_type, and mlx-lm needs one"]
    }
    guard MLXModelTypes.contains(type) else {
      return ["mlx-lm has no model type \(type): other programs for MLX may load the output"]
    }
    let notes = try MLXLimits.check(whole)
    if let architecture, let sizes = try sizes(architecture) {
      try check(architecture, sizes)
    } else {
      try checkLayerCount()
      try checkTable()
      try checkAreStated()
    }
    return notes
  }

  // MARK: - Known architectures

  /// The architecture, if Pleat knows all tensors that a model of it has in mlx-lm.
  private var architecture: Architecture? {
    guard let type = config["model_type"]?.string,
      let architecture = Architectures.forModelType(type), architecture.isArrangedForMLX,
      architecture.describesTensors(of: config)
    else { return nil }
    // Newer versions of transformers have other names for stacks of experts.
    let isKnown = families.representatives.contains { tensor in
      guard architecture.experts != nil, architecture.mayHaveExperts(config) else {
        return architecture.place(ofHuggingFaceName: tensor.name)?.layer != nil
      }
      return architecture.expertNames.isEmpty
        ? architecture.ggufNames(ofCompleteName: tensor.name).contains(where: isOfExperts)
        : architecture.expert(ofHuggingFaceName: tensor.name) != nil
    }
    return isKnown ? architecture : nil
  }

  private func isOfExperts(_ ggufName: String) -> Bool { ggufName.contains("_exps.") }

  /// The sizes of the model; nil if the config leaves required ones out.
  private func sizes(_ architecture: Architecture) throws(ModelError) -> ModelSizes? {
    let keys = ["num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads"]
    let stated = architecture.defaults.overridden(by: config)
    guard keys.allSatisfy({ stated[$0] != nil }) else { return nil }
    return try ModelSizes(
      architecture.withoutMissingLayers(config, tensors), architecture,
      queryRowCount: tensors.queryRowCount)
  }

  private func check(_ architecture: Architecture, _ sizes: ModelSizes) throws(ModelError) {
    let checks = CheckpointChecks(architecture, config: whole, for: .mlxLM)
    guard let table else {
      throw ModelError(
        .malformed, "the model has no token embeddings",
        expected: architecture.modelNames[0].huggingFace + ".weight")
    }
    var unknown: [String] = []
    var verdicts: [Bool?] = Array(repeating: nil, count: families.families.count)
    for (tensor, (family, _)) in zip(tensors, families.members) {
      var isKnown = verdicts[family] ?? isIgnored(tensor.name, architecture)
      if verdicts[family] == nil, !isKnown {
        isKnown = try checks.accepts(tensor, sizes, tokenCount: table.shape.rowCount)
      }
      verdicts[family] = isKnown
      if !isKnown { unknown.append(tensor.name) }
    }
    try checks.refuse(unknown)
    try checks.checkIsComplete(families, sizes)
    try checkTable()
  }

  /// Whether the tables need not have a tensor, because mlx-lm does not use it.
  private func isIgnored(_ name: String, _ architecture: Architecture) -> Bool {
    TensorNames.isTower(name) || names.leavesOut(name) || architecture.leavesOut(name)
      || architecture.layerNumber(ofHuggingFaceName: name) != nil
      || architecture.leavesOutHead && TensorNames.isTextHead(name)
  }

  /// Throws `malformed` if a key of the config says that the model lacks one of the tensors.
  private func checkAreStated() throws(ModelError) {
    guard let architecture = Architectures.forConfig(config) else { return }
    let checks = CheckpointChecks(architecture, config: whole, for: .mlxLM)
    for tensor in families.representatives where !TensorNames.isTower(tensor.name) {
      try checks.checkIsStated(tensor)
    }
  }

  // MARK: - Any architecture

  /// The token embeddings of the text model; nil if there are none, or several.
  private var table: TensorInfo? {
    let tables = families.representatives.filter { tensor in
      guard tensor.name.hasSuffix("embed_tokens.weight") || tensor.name.hasSuffix("wte.weight")
      else { return false }
      // Layers that predict several tokens at once have a table of their own.
      guard FusedLayers.split(tensor.name) == nil else { return false }
      let word = tensor.name.split(separator: ".").dropLast().last
      return (word == "embed_tokens" || word == "wte") && !TensorNames.isTower(tensor.name)
    }
    return tables.count == 1 ? tables[0] : nil
  }

  /// Throws `malformed` if the token embeddings do not have the size that the config states.
  private func checkTable() throws(ModelError) {
    guard let table, table.shape.rank == 2 else { return }
    for (key, found) in [
      ("vocab_size", table.shape.rowCount), ("hidden_size", table.shape.columnCount),
    ] {
      guard let stated = config[key]?.int, stated != found else { continue }
      throw ModelError(
        .malformed, "the embeddings do not have the size that config.json states",
        tensor: table.name,
        expected: "\(stated) \(key == "vocab_size" ? "rows" : "columns"), \(key)",
        found: "\(found)",
        hint: "correct \(key) in config.json; mlx-lm makes the embeddings by it")
    }
  }

  /// Throws `malformed` if the config states another number of layers than there are.
  private func checkLayerCount() throws(ModelError) {
    let key = ["num_hidden_layers", "n_layer"].first { config[$0]?.int != nil }
    // Where both are stated, layers have two parts each.
    guard let key, config["num_layers"] == nil, let stated = config[key]?.int else { return }
    let indices = families.representatives.compactMap { $0.name.textLayer }
    guard let last = indices.max(), Set(indices).count == last + 1, last + 1 < stated else {
      return
    }
    throw ModelError(
      .malformed, "the model has fewer layers than config.json states", tensor: key,
      expected: "\(stated)", found: "\(last + 1)",
      hint: "add the missing files, or correct \(key) in config.json")
  }
}

extension String {
  /// The number of the layer of a text model that a tensor belongs to; nil for other tensors.
  fileprivate var textLayer: Int? {
    guard !TensorNames.isTower(self) else { return nil }
    let words = TextPrefix.stripped(self).rest.split(separator: ".")
    guard words.count > 2, ["layers", "h"].contains(words[0]) else { return nil }
    return Int(words[1])
  }
}
