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
    guard let type = config["model_type"]?.string else { return config }
    let config = MLXConfigKey.completed(config, modelType: type)
    let head = tensors.first { TensorNames.isTextHead($0.name) }
    let hasEmbeddings = tensors.contains {
      TensorNames.isEmbedding($0.name) && !TensorNames.isTower($0.name)
    }
    guard hasEmbeddings, !isEncoder(config) else { return config }
    switch MLXHead(ofModelType: type) {
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
    return !classes.isEmpty && classes.allSatisfy { $0.hasSuffix("Model") }
  }

  // MARK: - Ties

  /// A config that states what the tensors say.
  ///
  /// Throws `malformed` if the config says that there is a head, and there is none.
  private static func stating(
    _ config: JSONValue, isTied: Bool, _ type: String
  ) throws(ModelError) -> JSONValue {
    let stated = (text(config) ?? config)[tie]?.bool
    if isTied, stated == false {
      throw ModelError(
        .malformed, "config.json states a head of its own, and the model has none",
        tensor: headName, expected: "\(headName), or \(tie) true", found: "\(tie) false")
    }
    // Where the config of the text model is tied and the whole model is not, the whole model counts.
    let isOverruled = !isTied && stated == true && config[tie]?.bool == false
    return stated == nil || isOverruled ? stating(config, isTied: isTied) : config
  }

  private static func stating(_ config: JSONValue, isTied: Bool) -> JSONValue {
    guard let text = text(config) else { return config.setting(tie, to: .bool(isTied)) }
    return config.setting("text_config", to: text.setting(tie, to: .bool(isTied)))
  }

  /// The config of the text model, if it is a part of a larger one.
  private static func text(_ config: JSONValue) -> JSONValue? {
    config["text_config"].flatMap { $0.members == nil ? nil : $0 }
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
