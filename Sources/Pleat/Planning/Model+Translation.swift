internal import Architectures
internal import Bytes
internal import Formats
internal import SystemPackage
internal import TensorModel
internal import Weights

extension Model {
  /// The model with tensors as a destination arranges them: the same one if it does not change any.
  ///
  /// `type` is that of the numbers in the output; nil if they keep theirs. Throws what
  /// `arranged(for:)` throws for a format, and what `checkpointTranslation` throws.
  func arranged(
    for destination: Destination, numbers type: ScalarType? = nil
  ) throws(ModelError) -> Model {
    guard becomesCheckpoint(in: destination) else {
      return try arranged(for: destination.format, numbers: type)
    }
    let format = destination.format
    return try arrangedAsCheckpoint(config: destination.configDonor?.config, for: format)
  }

  /// A llama.cpp model with the tensors of a checkpoint in a format: the same one if it arranges none.
  ///
  /// The matrices of a stack are tensors of their own if the format stores no stacks of groups.
  /// Throws what `checkpointTranslation` throws.
  func arrangedAsCheckpoint(
    config: JSONValue?, for format: Format
  ) throws(ModelError) -> Model {
    guard isGGUF, !hasViews else { return self }
    do throws(ModelError) {
      let views = try CheckpointTranslation.views(
        catalog.tensors, catalog.metadata, config: config,
        for: format.usesMLXNames ? .mlxLM : .transformers,
        dividingStacks: !format.bits.isEmpty && !format.usesMLXNames,
        numbers: numbers(of: catalog.tensors))
      return try views.map { views throws(ModelError) in try viewed(views) } ?? self
    } catch {
      throw error.located(file: path)
    }
  }

  /// The model with tensors as a format arranges them: the same one if it does not change any.
  ///
  /// `type` is that of the numbers in the output; nil if they keep theirs. Throws `malformed` for
  /// tensors of other shapes than the config states, and `unsupported` for those that Pleat would
  /// have to decode and cannot.
  func arranged(
    for format: Format, numbers type: ScalarType? = nil
  ) throws(ModelError) -> Model {
    guard !isGGUF else { return self }
    if format.usesGGUFNames { return try views(for: .llamaCpp) ?? self }
    if format.usesMLXNames { return try views(for: .mlxLM, numbers: type) ?? self }
    guard format.carries(.scaled(.mxfp4)) != .exact else { return self }
    return try views(for: .transformers) ?? self
  }

  /// The model with tensors as a runtime arranges them; nil if it does not change any.
  ///
  /// Products that get another type than the `type` of numbers in the output are computed in F32.
  func views(for runtime: Runtime, numbers type: ScalarType? = nil) throws(ModelError) -> Model? {
    // Some views have the names of their sources.
    guard !hasViews, let config = try configuration().map(TextConfig.merged),
      let architecture = Architectures.forConfig(config)
    else { return nil }
    do throws(ModelError) {
      guard let views = try architecture.views(of: catalog.tensors, config, for: runtime)
      else { return nil }
      return try viewed(views.map { $0.multiplied(for: type) })
    } catch {
      throw error.located(file: path)
    }
  }

  /// The translation of tensors to the names of a runtime; nil if the destination needs none.
  ///
  /// `tensors` are those of the catalog, perhaps with more rows, then added ones. Throws
  /// `unsupported` and `malformed` for a model that cannot be translated, and what reading the
  /// tokenizer throws.
  func translation(
    for destination: Destination, of tensors: [TensorInfo], _ output: OutputTokenizer
  ) throws(ModelError) -> (any Translation)? {
    if becomesCheckpoint(in: destination) {
      let translation = try checkpointTranslation(
        of: tensors, config: destination.configDonor?.config)
      guard destination.format.usesMLXNames else { return translation }
      return try mlxTranslation(after: translation, of: tensors, output)
    }
    guard needsTranslation(to: destination.format) else {
      return try checkedMLXTranslation(to: destination.format, of: tensors, output)
    }
    return try translation(of: tensors, output) { (architecture, tokenCount) throws(ModelError) in
      try output.ggufTokenizer(architecture, tokenCount)
    }
  }

  /// The translation of the model to llama.cpp's names, without a tokenizer.
  ///
  /// Throws what `translation(for:)` throws, and `unsupported` if the model has no `config.json`.
  func translation() throws(ModelError) -> GGUFTranslation {
    try translation(of: catalog.tensors)
  }

  /// The same for tensors that are those of the catalog, perhaps with more rows, then added ones.
  func translation(of tensors: [TensorInfo]) throws(ModelError) -> GGUFTranslation {
    try translation(of: tensors, OutputTokenizer(of: self)) { (_, _) in nil }
  }

  private func translation(
    of tensors: [TensorInfo], _ output: OutputTokenizer,
    _ tokenizer: (Architecture, Int) throws(ModelError) -> GGUFTokenizer?
  ) throws(ModelError) -> GGUFTranslation {
    guard let config = try output.document("config.json") else {
      throw ModelError(
        .unsupported, "the model has no config.json, which gguf needs", file: path,
        expected: "a Hugging Face checkpoint, or a file made from one")
    }
    do throws(ModelError) {
      return try GGUFTranslation(
        tensors, config: config,
        generation: try output.document("generation_config.json"),
        modules: try output.modules(), name: displayName, numbers: numbers(of: tensors),
        tokenizer: tokenizer)
    } catch {
      throw error.located(file: path)
    }
  }

  /// Whether a llama.cpp model gets the names of Hugging Face, a config and tokenizer files.
  ///
  /// A safetensors file with the names of llama.cpp has no numbers in its metadata. A model with a
  /// `config.json` of its own keeps that.
  func becomesCheckpoint(in destination: Destination) -> Bool {
    isGGUF && format.container.features.contains(.typedMetadata) && destination.isCheckpointFolder
      && !catalog.companions.contains { $0.name == "config.json" }
  }

  /// The translation of a llama.cpp model to the names of Hugging Face.
  ///
  /// Without a config one is made from the metadata. Throws `unsupported` and `malformed` for a model
  /// that cannot be translated, and `mismatch` for a config that states something else.
  func checkpointTranslation(
    of tensors: [TensorInfo], config: JSONValue? = nil
  ) throws(ModelError) -> CheckpointTranslation {
    do throws(ModelError) {
      return try CheckpointTranslation(
        tensors, catalog.metadata, config: config, numbers: numbers(of: tensors))
    } catch {
      throw error.located(file: path)
    }
  }

  /// Reads all numbers of a small tensor by its index.
  func numbers(
    of tensors: [TensorInfo]
  ) -> (Int) throws(ModelError) -> [Float] {
    let reader = WeightReader(model: self)
    return { (index) throws(ModelError) in
      guard let tensor = reader.tensor(index) else { return [] }
      return try reader.values(of: tensor, rows: 0..<tensors[index].shape.rowCount)
    }
  }

  /// The translation of a llama.cpp model to the names of mlx-lm.
  ///
  /// Throws what checking the model for mlx-lm throws.
  private func mlxTranslation(
    after checkpoint: CheckpointTranslation, of tensors: [TensorInfo], _ output: OutputTokenizer
  ) throws(ModelError) -> any Translation {
    let config = try output.document("config.json") ?? checkpoint.config
    do throws(ModelError) {
      let renamed = CombinedTranslation.tensors(tensors, after: checkpoint)
      var mlx = try MLXTranslation(renamed, config: config)
      try mlx.check(renamed, config: config)
      return try CombinedTranslation(tensors, checkpoint, then: mlx)
    } catch {
      throw error.located(file: path)
    }
  }

  /// The same for comparing the model with one that mlx-lm loads and that has a config.
  func mlxTranslation(
    after checkpoint: CheckpointTranslation, of tensors: [TensorInfo], config: JSONValue
  ) throws(ModelError) -> any Translation {
    let renamed = CombinedTranslation.tensors(tensors, after: checkpoint)
    let mlx = try MLXTranslation(renamed, config: config)
    return try CombinedTranslation(tensors, checkpoint, then: mlx)
  }

  /// The translation of tensors to the names of mlx-lm; nil if the format has other names.
  ///
  /// Throws `malformed` for a model whose experts are incomplete, and what reading `config.json`
  /// throws.
  func mlxTranslation(
    to format: Format, of tensors: [TensorInfo]
  ) throws(ModelError) -> MLXTranslation? {
    guard format.usesMLXNames, let config = try configuration() else { return nil }
    return try MLXTranslation(tensors, config: config)
  }

  /// The same for an output that mlx-lm must load.
  ///
  /// Also throws `unsupported` for what mlx-lm does not compute, and `malformed` for tensors that
  /// contradict the config of the output.
  private func checkedMLXTranslation(
    to format: Format, of tensors: [TensorInfo], _ output: OutputTokenizer
  ) throws(ModelError) -> MLXTranslation? {
    guard var translation = try mlxTranslation(to: format, of: tensors),
      let config = try output.document("config.json")
    else { return nil }
    try translation.check(tensors, config: config)
    return translation
  }

  /// The name of the model: that of its file or folder.
  private var displayName: String {
    let name = FilePath(path).lexicallyNormalized().stem ?? "model"
    return name == "." ? "model" : name
  }
}

extension TensorView {
  /// The same view for an output with numbers of a type; nil if they keep theirs.
  fileprivate func multiplied(for type: ScalarType?) -> TensorView {
    guard let type, let productType, type != productType else { return self }
    var view = self
    view.productType = .f32
    return view
  }
}
