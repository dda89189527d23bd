package import Bytes
package import TensorModel

/// The `config.json` that mlx-lm needs for a model.
package enum MLXConfiguration {
  private static let tie = "tie_word_embeddings"

  /// A config with the keys that mlx-lm reads, for a model with these tensors.
  ///
  /// `tie_word_embeddings` is stated if the config lacks it, because the defaults of mlx-lm and
  /// transformers differ. Throws `unsupported` if mlx-lm takes the head from elsewhere, and
  /// `malformed` if the model has no head although the config states one.
  package static func completed(
    _ config: JSONValue, for tensors: [TensorInfo]
  ) throws(ModelError) -> JSONValue {
    let named = MLXModelTypes.named(config)
    guard let type = named["model_type"]?.string else { return config }
    let config = MLXConfigKey.completed(
      stating(headSizeOf: tensors, in: named), modelType: type)
    let head = tensors.first { TensorNames.isTextHead($0.name) }
    let hasEmbeddings = tensors.contains {
      TensorNames.isEmbedding($0.name) && !TensorNames.isTower($0.name)
    }
    guard hasEmbeddings else { return config }
    let origin = MLXHead(ofModelType: type)
    guard !isEncoder(config) else {
      // It needs no head, but mlx-lm always computes one.
      return head == nil && origin == .stated ? stating(config, isTied: true) : config
    }
    switch origin {
    case .own where head == nil: throw missingHead(type)
    case .tied:
      if let head { throw unusedHead(head, type) }
    case .own where type == "qwen3_vl_moe": return stating(config, isTied: false)
    case .stated: return try stating(config, isTied: head == nil, type)
    case .copied: return head == nil ? stating(config, isTied: false) : config
    case .own, .found: break
    }
    return config
  }

  /// Whether the model computes embeddings of texts, and so has no head.
  private static func isEncoder(_ config: JSONValue) -> Bool {
    let classes = (config["architectures"]?.array ?? []).compactMap(\.string)
    return !classes.isEmpty
      && classes.allSatisfy { $0.hasSuffix("Model") && !$0.hasSuffix("LMHeadModel") }
  }

  // MARK: - Ties

  /// A config that states what the tensors say.
  ///
  /// Throws `malformed` if the config says that there is a head, and there is none.
  private static func stating(
    _ config: JSONValue, isTied: Bool, _ type: String
  ) throws(ModelError) -> JSONValue {
    let stated = (config.textConfig ?? config)[tie]?.bool
    if isTied, TextConfig.tiesEmbeddings(config) == false {
      throw ModelError(
        .malformed, "config.json states a head of its own, and the model has none",
        tensor: headName, expected: "\(headName), or \(tie) true", found: "\(tie) false")
    }
    // Where the config of the text model states something else, the whole model counts.
    let isOverruled = stated == !isTied && config[tie]?.bool == isTied
    return stated == nil || isOverruled ? stating(config, isTied: isTied) : config
  }

  private static func stating(_ config: JSONValue, isTied: Bool) -> JSONValue {
    config.settingText(tie, to: .bool(isTied))
  }

  // MARK: - Heads of attention

  /// A config with `head_dim`, if the architecture has a default for it.
  ///
  /// Some programs leave it out where the weights have another size than the default.
  private static func stating(headSizeOf tensors: [TensorInfo], in config: JSONValue) -> JSONValue {
    let (text, key) = (TextConfig.merged(config), "head_dim")
    guard text[key] ?? .null == .null,
      let architecture = text["model_type"]?.string.flatMap(Architectures.forModelType),
      architecture.defaults[key] != nil,
      let sizes = try? ModelSizes(text, architecture, queryRowCount: tensors.queryRowCount)
    else { return config }
    return config.settingText(key, to: JSONValue(sizes.headSize))
  }

  // MARK: - Refusals

  private static let headName = TensorNames.head + ".weight"

  private static func missingHead(_ type: String) -> ModelError {
    ModelError(
      .unsupported, "mlx-lm needs a head of its own for \(type), and the model has none",
      tensor: headName, expected: headName, found: "embeddings that are the head",
      hint: "store a copy of the embeddings as \(headName), and set \(tie) to false")
  }

  private static func unusedHead(_ head: TensorInfo, _ type: String) -> ModelError {
    ModelError(
      .unsupported, "mlx-lm always uses the embeddings of \(type) as its head", tensor: head.name,
      found: "a head of its own",
      hint: "use --to safetensors, or remove the head if it equals the embeddings")
  }
}

extension [TensorInfo] {
  /// The number of rows of the projection to queries; nil if there is none.
  package var queryRowCount: Int? { first { $0.name.hasSuffix(".q_proj.weight") }?.shape.rowCount }
}
