internal import Architectures
internal import TensorModel

/// Writes hyperparameters as GGUF metadata, in the order of llama.cpp's converter.
enum GGUFHyperparameters {
  /// The metadata for the hyperparameters of a model.
  static func metadata(of parameters: Hyperparameters, _ architecture: Architecture) -> Metadata {
    var writer = Writer(prefix: architecture.ggufName)
    writer.write("block_count", parameters.layerCount)
    writer.write("context_length", parameters.contextLength)
    writer.write("embedding_length", parameters.hiddenSize)
    writer.write("feed_forward_length", parameters.feedForwardSize)
    writer.write("attention.head_count", parameters.headCount)
    writer.write("attention.head_count_kv", parameters.keyValueHeadCount)
    writer.write("attention.layer_norm_rms_epsilon", parameters.normEpsilon)
    write(parameters.rope, to: &writer)
    if parameters.statesHeadSize {
      writer.write("attention.key_length", parameters.headSize)
      writer.write("attention.value_length", parameters.headSize)
    }
    if !parameters.isCausal { writer.write("attention.causal", false) }
    for key in architecture.hyperparameters { write(key, of: parameters, to: &writer) }
    return writer.metadata
  }

  private static func write(
    _ key: Hyperparameters.Key, of parameters: Hyperparameters, to writer: inout Writer
  ) {
    switch key {
    case .vocabularySize: writer.write("vocab_size", parameters.vocabularySize)
    case .rotatedCount: writer.write("rope.dimension_count", parameters.rope.rotatedCount)
    case .originalContextLength:
      writer.write(
        "rope.scaling.original_context_length",
        parameters.rope.originalContextLength ?? parameters.contextLength)
    case .attentionSoftcap: writer.write("attn_logit_softcapping", parameters.attentionSoftcap)
    case .finalSoftcap: writer.write("final_logit_softcapping", parameters.finalSoftcap)
    case .slidingWindow: writer.write("attention.sliding_window", parameters.slidingWindow)
    case .slidingWindowOrZero:
      writer.write("attention.sliding_window", parameters.slidingWindow ?? 0)
    case .slidingLayers:
      writer.write("attention.sliding_window_pattern", parameters.slidingLayers)
    case .ropeAttentionFactor:
      writer.write("rope.scaling.attn_factor", parameters.rope.attentionFactor)
    case .expertCount: writer.write("expert_count", parameters.expertCount)
    case .usedExpertCount: writer.write("expert_used_count", parameters.usedExpertCount)
    }
  }

  private static func write(_ rope: RopeParameters, to writer: inout Writer) {
    switch rope.scaling {
    // Llama 3 and longrope scale by factors in tensors.
    case .none, .dynamic, .llama3, .longrope, .unknown: break
    case .linear(let factor):
      writer.write("rope.scaling.type", "linear")
      writer.write("rope.scaling.factor", factor)
    case .yarn(let yarn) where !yarn.hasDefaultLimits:
      // Factors in a tensor scale the angles.
      writer.write("rope.scaling.attn_factor", yarn.wholeAttentionFactor)
    case .yarn(let yarn):
      writer.write("rope.scaling.type", "yarn")
      writer.write("rope.scaling.factor", yarn.factor)
      writer.write("rope.scaling.original_context_length", rope.originalContextLength)
      writer.write("rope.scaling.yarn_ext_factor", yarn.extrapolationFactor)
      writer.write("rope.scaling.yarn_beta_fast", yarn.betaFast)
      writer.write("rope.scaling.yarn_beta_slow", yarn.betaSlow)
      // llama.cpp computes the default factor of attention itself, and multiplies it by this.
      let factor = yarn.relativeAttentionFactor
      if factor != 1 { writer.write("rope.scaling.attn_factor", factor) }
    }
    writer.write("rope.freq_base", rope.base)
    writer.write("rope.freq_base_swa", rope.slidingBase)
  }

  /// Writes values under the keys of an architecture; nil writes nothing.
  private struct Writer {
    let prefix: String
    private(set) var metadata = Metadata()

    init(prefix: String) { self.prefix = prefix }

    mutating func write(_ key: String, _ count: Int?) {
      guard let count else { return }
      metadata["\(prefix).\(key)"] = .u32(UInt32(clamping: count))
    }

    mutating func write(_ key: String, _ number: Double?) {
      guard let number else { return }
      metadata["\(prefix).\(key)"] = .float(Float(number))
    }

    mutating func write(_ key: String, _ flag: Bool) { metadata["\(prefix).\(key)"] = .bool(flag) }

    mutating func write(_ key: String, _ flags: [Bool]?) {
      guard let flags else { return }
      metadata["\(prefix).\(key)"] = .array(
        MetadataArray(
          elementType: .bool, count: flags.count, bytes: flags.map { $0 ? 1 : 0 }))
    }

    mutating func write(_ key: String, _ text: String) {
      metadata["\(prefix).\(key)"] = .text(text)
    }
  }
}
