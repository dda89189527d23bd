internal import Architectures
internal import Bytes
internal import TensorModel

/// The `config.json` of a checkpoint that a llama.cpp model was made from, as the user gave it.
///
/// It states what the metadata of the model may not tell. What both tell must agree.
struct GivenConfig {
  let architecture: Architecture
  let parameters: Hyperparameters
  /// The config of the text model, without what describes other parts or a quantization.
  let document: JSONValue

  static let hint = "name the folder of the checkpoint that the file was made from"

  /// Checks a config.
  ///
  /// Throws `mismatch` for a config of another model, `unsupported` for an architecture that Pleat
  /// does not translate, and what reading the config throws.
  init(
    _ config: JSONValue, _ metadata: Metadata, _ contents: CheckpointConfig.Contents
  ) throws(ModelError) {
    var stated = TextConfig.merged(config)
    let type = stated["model_type"]?.string ?? ""
    let name = metadata["general.architecture"]?.text ?? ""
    guard let named = Architectures.forConfig(stated), named.ggufName == name else {
      throw ModelError(
        .mismatch, "the config of --config-from is that of another architecture",
        expected: "a config whose model becomes \(name)", found: "model_type \(type)",
        hint: Self.hint)
    }
    if let text = Architectures.variants.first(where: { $0.isTextAlone && $0.ggufName == name }) {
      stated = Self.textAlone(stated, as: text)
    }
    architecture = try CheckpointBasis.architecture(
      metadata, type: stated["model_type"]?.string ?? "")
    // Configs of Qwen do not state how many layers predict several tokens at once.
    let key = "num_nextn_predict_layers"
    if named.predictionPrefix != nil, stated[key] == nil,
      let count = metadata["\(name).nextn_predict_layers"]?.integer
    {
      stated = stated.setting(key, to: JSONValue(count))
    }
    parameters = try Hyperparameters(
      architecture.withUsualKeys(stated), architecture, tokenCount: contents.tokenCount)
    document = Self.document(stated, architecture, contents)
    if let count = stated["vocab_size"]?.int, count != contents.tokenCount {
      throw Self.mismatch("vocab_size", "\(contents.tokenCount)", "\(count)")
    }
    try checkFactors(contents.factors)
  }

  private static func mismatch(
    _ key: String, _ expected: String, _ found: String
  ) -> ModelError {
    ModelError(
      .mismatch, "the config of --config-from states something else than the tensors",
      tensor: key, expected: expected, found: found, hint: hint)
  }

  /// The config of a model that sees pictures as that of its text model alone.
  ///
  /// Positions have no sections. What only the class of the larger model computes without a key is
  /// stated.
  private static func textAlone(
    _ stated: JSONValue, as architecture: Architecture
  ) -> JSONValue {
    var config = stated.setting("model_type", to: .string(architecture.modelTypes[0]))
    for key in ["rope_parameters", "rope_scaling"] {
      guard let members = config[key]?.members else { continue }
      let own = members.filter { !$0.key.hasPrefix("mrope_") && $0.value != "mrope" }
      config = config.setting(key, to: own.isEmpty ? .null : .object(own))
    }
    for value in architecture.defaults.members ?? []
    where config[value.key] == nil && config["rope_parameters"]?[value.key] == nil {
      config = config.setting(value.key, to: value.value)
    }
    return config
  }

  private static func document(
    _ stated: JSONValue, _ architecture: Architecture, _ contents: CheckpointConfig.Contents
  ) -> JSONValue {
    let factors = architecture.unitFactors.members ?? []
    let replaced =
      ["architectures", "dtype", "torch_dtype", "tie_word_embeddings"] + factors.map(\.key)
    let members = (stated.members ?? []).filter { member in
      // Those of towers and of quantizations.
      let isPart =
        member.key.hasSuffix("_config") && member.value.members != nil
        && member.key != "per_layer_config"
      return !isPart && !replaced.contains(member.key)
    }
    let isTied = !contents.names.contains(TensorNames.ggufHead)
    return .object(
      [.init("architectures", .array([.string(architecture.className ?? "")]))] + members
        + factors + [
          .init("tie_word_embeddings", .bool(isTied)), .init("dtype", .string(contents.dtype)),
        ])
  }

  /// Throws `mismatch` if the config leads to other divisors of rotary angles than the file has.
  private func checkFactors(_ found: [String: [Float]]) throws(ModelError) {
    var expected: [String: [Float]] = [:]
    expected["rope_freqs"] = parameters.rope.frequencyFactors(headSize: parameters.fullHeadSize)
    if case .longrope(let factors) = parameters.rope.scaling {
      expected["rope_factors_long"] = factors.long
      expected["rope_factors_short"] = factors.short
    }
    for name in CheckpointTranslation.factors {
      let (stated, stored) = (expected[name] ?? [], found[name] ?? [])
      guard stated.count == stored.count,
        zip(stated, stored).allSatisfy({ abs($0 - $1) <= 1e-5 * abs($1) })
      else {
        throw Self.mismatch(
          "\(name).weight", "\(stored.count) numbers up to \(stored.max() ?? 0)",
          "\(stated.count) numbers up to \(stated.max() ?? 0)")
      }
    }
  }
}
