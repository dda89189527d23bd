internal import Adapters
internal import Architectures
internal import Bytes
internal import Formats
internal import TensorModel
internal import Weights

extension Model {
  /// The tensors that adapters can change: those of the catalog, then others that are parts of them.
  ///
  /// The first of the others is the head, if it is not stored because the embeddings serve as it.
  /// Each tensor has its alias: the Hugging Face name for llama.cpp's, or the reverse. There are no
  /// aliases if the architecture is unknown. Throws `malformed` for impossible head counts or sizes,
  /// and what reading `config.json` throws.
  func baseTensors() throws(ModelError) -> [BaseTensor] {
    var plain = catalog.tensors.enumerated().map { BaseTensor(index: $0.offset, info: $0.element) }
    if let tie = try EmbeddingTie(self), tie.head == nil {
      plain.append(BaseTensor(index: unstoredHeadIndex, info: tie.headInfo))
    }
    let heads = try attentionHeads()
    let named = try named(plain, heads)
    let dividesStacks = try !transposedLayers().experts
    let tensors =
      named + FusedParts.parts(of: named, heads: heads, dividesStacks: dividesStacks)
      + expertParts(of: named)
    return tensors
      + FusedParts.layers(of: tensors, named: try mlxNames(), dividesStacks: dividesStacks)
  }

  /// How mlx-lm names the tensors of the model type.
  func mlxNames() throws(ModelError) -> MLXNames {
    if let name = catalog.metadata["general.architecture"]?.text {
      return .forArchitecture(name)
    }
    return .forConfig(try configuration() ?? .null)
  }

  /// The layers of the experts that a GGUF file stacks, under their Hugging Face names.
  private func expertParts(of tensors: [BaseTensor]) -> [BaseTensor] {
    guard let name = catalog.metadata["general.architecture"]?.text else { return [] }
    let architectures = Architectures.all.filter { $0.ggufName == name }
    return tensors.flatMap { tensor in
      // Architectures with the same name in GGUF may have the same experts.
      var patterns: [String] = []
      for pattern in architectures.flatMap({ $0.expertPatterns(ofGGUFName: tensor.info.name) })
      where !patterns.contains(pattern) {
        patterns.append(pattern)
      }
      return patterns.flatMap { FusedParts.experts([$0], of: tensor) }
    }
  }

  /// The attention heads that metadata or `config.json` states; nil if neither does.
  private func attentionHeads() throws(ModelError) -> AttentionHeads? {
    if let name = catalog.metadata["general.architecture"]?.text {
      return AttentionHeads(catalog.metadata, name)
    }
    return try configuration().flatMap { AttentionHeads(TextConfig.merged($0)) }
  }

  private func named(
    _ plain: [BaseTensor], _ heads: AttentionHeads?
  ) throws(ModelError) -> [BaseTensor] {
    if let name = catalog.metadata["general.architecture"]?.text {
      guard let architecture = Architectures.named(name) else { return plain }
      return try named(plain, architecture, heads: heads)
    }
    guard let architecture = try configuration().flatMap(Architectures.forConfig) else {
      return plain
    }
    return try named(plain, architecture, heads: heads)
  }

  /// The layers that are stored as inputs × outputs, by the model type.
  func transposedLayers() throws(ModelError) -> TransposedLayers {
    TransposedLayers(modelType: try configuration()?["model_type"]?.string)
  }

  /// llama.cpp's name of the architecture; nil if neither metadata nor `config.json` states it.
  func ggufArchitecture() throws(ModelError) -> String? {
    if let name = catalog.metadata["general.architecture"]?.text { return name }
    return try configuration().flatMap(Architectures.forConfig)?.ggufName
  }

  private func named(
    _ tensors: [BaseTensor], _ architecture: Architecture, heads: AttentionHeads?
  ) throws(ModelError) -> [BaseTensor] {
    var result: [BaseTensor] = []
    result.reserveCapacity(tensors.count)
    for tensor in tensors {
      var tensor = tensor
      let name = tensor.info.name
      let alias = isGGUF ? architecture.huggingFaceName(of: name) : architecture.ggufName(of: name)
      if let alias {
        // Without the head counts, the row order of queries and keys is unknown. So they get no
        // alias.
        let order =
          try architecture.rowOrder(
            ofHuggingFaceName: isGGUF ? alias : name, headCount: heads?.queryCount ?? 1,
            keyValueHeadCount: heads?.keyValueCount ?? 1, headSize: heads?.size ?? 2)
        let rows =
          tensor.info.shape.rank == 1
          ? tensor.info.shape.elementCount : tensor.info.shape.rowCount
        if order == nil || heads != nil && order?.rowCount == rows {
          tensor.alias = alias
          tensor.aliasRows = order.map { RowMap($0, fromInterleaved: isGGUF) }
          if architecture.addsOneToNorms, alias.contains("norm") {
            tensor.aliasDifference = "llama.cpp adds 1 to the weights of norms"
          }
          if architecture.isArranged(isGGUF ? alias : name) {
            tensor.aliasDifference = "llama.cpp arranges or multiplies its numbers"
          }
        }
      }
      result.append(tensor)
    }
    return result
  }
}
