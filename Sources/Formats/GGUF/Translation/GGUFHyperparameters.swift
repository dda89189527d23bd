internal import Architectures
internal import Bytes
internal import TensorModel

/// Writes hyperparameters as GGUF metadata, in the order of llama.cpp's converter.
enum GGUFHyperparameters {
  /// The metadata for the hyperparameters of a model.
  static func metadata(of parameters: Hyperparameters, _ architecture: Architecture) -> Metadata {
    var writer = Writer(prefix: architecture.ggufName)
    writer.write("block_count", parameters.layerCount + parameters.predictionLayerCount)
    // The number that llama.cpp's converter writes.
    let isUnlimited = architecture.hasUnlimitedContext
    writer.write("context_length", isUnlimited ? 1 << 20 : parameters.contextLength)
    writer.write("embedding_length", parameters.hiddenSize)
    writeWidths(parameters, architecture, to: &writer)
    writer.write("attention.head_count", architecture.hasNoAttention ? 0 : parameters.headCount)
    if architecture.listsKeyValueHeads {
      let counts = parameters.layerKinds.map { kind in
        kind == .attention ? parameters.keyValueHeadCount : 0
      }
      writer.write("attention.head_count_kv", each: counts)
    } else if !architecture.isEncoder, !architecture.hasNoAttention {
      writer.write("attention.head_count_kv", parameters.keyValueHeadCount)
    }
    writer.write(architecture.normEpsilon.ggufKey, parameters.normEpsilon)
    write(parameters.rope, architecture, to: &writer)
    if parameters.statesHeadSize, !architecture.hasNoAttention {
      writer.write("attention.key_length", parameters.fullHeadSize)
      writer.write("attention.value_length", parameters.fullHeadSize)
    }
    if !parameters.isCausal { writer.write("attention.causal", false) }
    for key in architecture.hyperparameters {
      write(key, of: parameters, architecture, to: &writer)
    }
    for (multiplier, value) in zip(architecture.multipliers, parameters.multipliers) {
      writer.write(multiplier.ggufKey, value)
    }
    for (flag, value) in zip(architecture.flags, parameters.flags)
    where value || architecture.statesFalseFlags {
      writer.write(flag.ggufKey, value)
    }
    return writer.metadata
  }

  private static func write(
    _ key: Hyperparameters.Key, of parameters: Hyperparameters, _ architecture: Architecture,
    to writer: inout Writer
  ) {
    switch key {
    case .vocabularySize: writer.write("vocab_size", parameters.vocabularySize)
    case .headCounts:
      let count = parameters.layerCount + parameters.predictionLayerCount
      writer.writeList("attention.head_count", parameters.headCount, count: count)
    case .attentionSoftcap: writer.write("attn_logit_softcapping", parameters.attentionSoftcap)
    case .attentionClamp: writer.write("attention.clamp_kqv", parameters.attentionClamp)
    case .finalSoftcap: writer.write("final_logit_softcapping", parameters.finalSoftcap)
    case .finalSoftcapOrZero:
      writer.write("final_logit_softcapping", parameters.finalSoftcap ?? 0)
    case .slidingWindow: writer.write("attention.sliding_window", parameters.slidingWindow)
    case .slidingWindowOrZero:
      writer.write("attention.sliding_window", parameters.slidingWindow ?? 0)
    case .slidingLayers:
      writer.write("attention.sliding_window_pattern", parameters.slidingLayers)
    case .deepstackCount: writer.write("n_deepstack_layers", parameters.deepstackCount)
    case .predictionLayers:
      writer.write("nextn_predict_layers", parameters.predictionLayerCount)
    case .predictionLayersIfAny:
      guard parameters.predictionLayerCount > 0 else { return }
      writer.write("nextn_predict_layers", parameters.predictionLayerCount)
    case .everySlidingLayer:
      guard parameters.slidingWindow != nil else { return }
      writer.write(
        "attention.sliding_window_pattern",
        parameters.slidingLayers ?? architecture.usualSlidingLayers(parameters.layerCount))
    case .linearAttention: write(parameters.sizes, to: &writer)
    case .stateSpace: write(parameters.stateSpace, to: &writer)
    case .shortConvolution: writer.write("shortconv.l_cache", parameters.shortConvolutionSize)
    case .latentAttention: write(parameters.latent, to: &writer)
    case .rmsEpsilonIfAny:
      writer.write("attention.layer_norm_rms_epsilon", parameters.rmsEpsilon)
    case .activation: writer.write("hidden_activation", parameters.activation)
    case .alternatingUpdates:
      writer.write("altup.active_idx", 0)
      writer.write("altup.num_inputs", VariedLayerSizes.updateCount)
      writer.write("activation_sparsity_scale", floats: sparsity(parameters.layerCount))
    case .variedLayers: writeVaried(parameters.sizes, architecture, to: &writer)
    case .rotatedCount, .slidingRotatedCount, .originalContextLength, .ropeSections,
      .slidingBase, .noRopeScaling, .ropeAttentionFactor, .noRotation, .ropeSectionsOfQwen,
      .queryGrowth, .yarnScaleOfAll:
      writeRope(key, of: parameters, to: &writer)
    case .expertCount, .usedExpertCount, .expertWidth, .sharedExpertCount,
      .sharedExpertCountIfAny, .sharedExpertWidth, .leadingCount, .noExperts, .expertGroups,
      .expertInterval, .oneExpertGroup, .sigmoidRouter, .routerFunction:
      writeExperts(key, of: parameters, to: &writer)
    }
  }

  /// Writes what some architectures state about rotary embeddings.
  private static func writeRope(
    _ key: Hyperparameters.Key, of parameters: Hyperparameters, to writer: inout Writer
  ) {
    switch key {
    case .rotatedCount: writer.write("rope.dimension_count", parameters.rope.rotatedCount)
    case .slidingRotatedCount:
      let whole = parameters.rope.slidingBase == nil ? nil : parameters.headSize
      writer.write("rope.dimension_count_swa", parameters.rope.slidingRotatedCount ?? whole)
    case .originalContextLength:
      writer.write(
        "rope.scaling.original_context_length",
        parameters.rope.originalContextLength ?? parameters.contextLength)
    case .ropeSections: writer.write("rope.dimension_sections", parameters.rope.sections)
    case .slidingBase:
      guard parameters.slidingWindow != nil else { return }
      writer.write("rope.freq_base_swa", parameters.rope.slidingBase ?? parameters.rope.base)
    case .noRopeScaling: writer.write("rope.scaling.type", "none")
    case .ropeAttentionFactor:
      writer.write("rope.scaling.attn_factor", parameters.rope.attentionFactor)
    case .noRotation: writer.write("rope.scaling.finetuned", false)
    case .ropeSectionsOfQwen:
      writer.write("rope.dimension_sections", parameters.rope.sections ?? [11, 11, 10])
    case .queryGrowth:
      writer.write("attention.temperature_scale", parameters.rope.queryGrowth)
    case .yarnScaleOfAll:
      guard case .yarn(let yarn) = parameters.rope.scaling else { return }
      writer.write("rope.scaling.yarn_log_multiplier", yarn.scaleOfAll)
    default: preconditionFailure("the key is not about rotary embeddings")
    }
  }

  /// Writes what some architectures state about experts.
  private static func writeExperts(
    _ key: Hyperparameters.Key, of parameters: Hyperparameters, to writer: inout Writer
  ) {
    switch key {
    case .expertCount: writer.write("expert_count", parameters.expertCount)
    case .usedExpertCount: writer.write("expert_used_count", parameters.usedExpertCount)
    case .expertWidth: writer.write("expert_feed_forward_length", parameters.experts?.width)
    case .sharedExpertCount:
      writer.write("expert_shared_count", parameters.experts?.sharedCount)
    case .sharedExpertCountIfAny:
      guard let count = parameters.experts?.sharedCount, count > 0 else { return }
      writer.write("expert_shared_count", count)
    case .sharedExpertWidth:
      writer.write("expert_shared_feed_forward_length", parameters.experts?.sharedWidth)
    case .leadingCount:
      writer.write("leading_dense_block_count", parameters.experts?.leadingCount)
    case .noExperts:
      writer.write("expert_count", 0)
      writer.write("expert_used_count", 0)
      writer.write("expert_shared_feed_forward_length", parameters.feedForwardSize)
    case .expertGroups:
      writer.write("expert_group_count", parameters.expertGroupCount)
      writer.write("expert_group_used_count", parameters.usedExpertGroupCount)
    case .expertInterval:
      writer.write("interleave_moe_layer_step", parameters.experts?.interval)
    case .oneExpertGroup:
      writer.write("expert_group_count", 1)
      writer.write("expert_group_used_count", 1)
    case .sigmoidRouter: writer.write("expert_gating_func", 2)
    case .routerFunction:
      writer.write("expert_gating_func", parameters.routersComputeSigmoids == true ? 2 : 1)
    default: preconditionFailure("the key is not about experts")
    }
  }

  /// Writes the inner width of feed-forward networks, for each layer if some have none.
  private static func writeWidths(
    _ parameters: Hyperparameters, _ architecture: Architecture, to writer: inout Writer
  ) {
    let key = "feed_forward_length"
    let kinds = architecture.kindNames
    if kinds[.feedForward] != nil || kinds[.experts] != nil {
      let widths = parameters.layerKinds.map { kind in
        switch kind {
        case .feedForward: parameters.feedForwardSize
        case .experts: parameters.experts?.width ?? parameters.feedForwardSize
        case .attention, .recurrent: 0
        }
      }
      writer.write(key, each: widths)
    } else if architecture.hasNoAttention {
      writer.write(key, 0)
    } else if parameters.statesFeedForwardSize {
      writer.write(key, parameters.feedForwardSize)
    }
  }

  private static func write(_ sizes: StateSpaceSizes?, to writer: inout Writer) {
    guard let sizes else { return }
    writer.write("ssm.conv_kernel", sizes.kernelSize)
    writer.write("ssm.inner_size", sizes.innerSize)
    writer.write("ssm.state_size", sizes.stateSize)
    writer.write("ssm.time_step_rank", sizes.headCount)
    writer.write("ssm.group_count", sizes.groupCount)
  }

  /// Writes the sizes of layers that differ, some of them in place of those of all layers.
  private static func writeVaried(
    _ sizes: ModelSizes, _ architecture: Architecture, to writer: inout Writer
  ) {
    guard let varied = sizes.varied else { return }
    writer.write("attention.shared_kv_layers", varied.sharedCount)
    writer.write("embedding_length_per_layer_input", varied.inputWidth)
    writer.write("attention.sliding_window_pattern", varied.slidingLayers)
    if varied.doublesSharedWidth || varied.listsWidths {
      writer.write("feed_forward_length", each: varied.feedForwardSizes(sizes.feedForwardSize))
    }
    guard architecture.variedLayers?.hasFullHeads ?? false else { return }
    writer.write("attention.key_length_swa", sizes.headSize)
    writer.write("attention.value_length_swa", sizes.headSize)
    if varied.fullKeyValueHeadCount != nil {
      writer.write(
        "attention.head_count_kv", each: varied.keyValueHeadCounts(sizes.keyValueHeadCount))
    }
    writer.write("rope.dimension_count", varied.fullHeadSize)
    writer.write("rope.dimension_count_swa", sizes.headSize)
  }

  /// How many standard deviations above the mean an activation of each layer must be; other values
  /// are refused.
  ///
  /// The first ten layers keep 5 % of their activations: 0.95 of a normal distribution is below.
  private static func sparsity(_ layerCount: Int) -> [Float] {
    (0..<layerCount).map { $0 < 10 ? 1.644853626951472 : -.infinity }
  }

  private static func write(_ sizes: ModelSizes, to writer: inout Writer) {
    guard let linear = sizes.linear else { return }
    writer.write("ssm.conv_kernel", linear.kernelSize)
    writer.write("ssm.state_size", linear.headSize)
    writer.write("ssm.group_count", linear.keyHeadCount)
    writer.write("ssm.time_step_rank", linear.valueHeadCount)
    writer.write("ssm.inner_size", linear.valueRowCount)
    let others = repeatElement(false, count: sizes.predictionLayerCount)
    writer.write("attention.recurrent_layers", sizes.layerKinds.map { $0 == .recurrent } + others)
    writer.write("full_attention_interval", linear.fullAttentionInterval)
  }

  /// Keys and values are those of one head, as long as the compressed ones and what is rotated.
  private static func write(_ sizes: LatentAttentionSizes?, to writer: inout Writer) {
    guard let sizes else { return }
    writer.write("attention.q_lora_rank", sizes.queryRank)
    writer.write("attention.kv_lora_rank", sizes.keyValueRank)
    writer.write("attention.key_length", sizes.keyValueRank + sizes.rotatedSize)
    writer.write("attention.value_length", sizes.keyValueRank)
    writer.write("attention.key_length_mla", sizes.headSize)
    writer.write("attention.value_length_mla", sizes.valueSize)
  }

  private static func write(
    _ rope: RopeParameters, _ architecture: Architecture, to writer: inout Writer
  ) {
    switch rope.scaling {
    // Llama 3, longrope and proportional angles have factors in tensors.
    case .none, .dynamic, .llama3, .longrope, .proportional, .unknown: break
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
      if architecture.hasLatentAttention {
        writer.write("rope.scaling.yarn_log_multiplier", yarn.scaleOfAll.map { 0.1 * $0 })
        break
      }
      // llama.cpp computes the default factor of attention itself, and multiplies it by this.
      let dividesByAll = architecture.hyperparameters.contains(.yarnScaleOfAll)
      let factor = dividesByAll ? yarn.scaledAttentionFactor : yarn.relativeAttentionFactor
      if factor != 1 { writer.write("rope.scaling.attn_factor", factor) }
    }
    writer.write("rope.freq_base", rope.base)
    if let base = rope.slidingBase { writer.write("rope.freq_base_swa", base) }
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

    /// Writes a list of equal numbers.
    mutating func writeList(_ key: String, _ number: Int, count: Int) {
      var bytes: [UInt8] = []
      for _ in 0..<count { bytes.append(littleEndian: UInt32(clamping: number)) }
      metadata["\(prefix).\(key)"] = .array(
        MetadataArray(elementType: .i32, count: count, bytes: bytes))
    }

    /// Writes four numbers; those that are missing are 0.
    mutating func write(_ key: String, _ numbers: [Int]?) {
      guard let numbers else { return }
      write(key, each: Array((numbers + [0, 0, 0, 0]).prefix(4)))
    }

    /// Writes a number for each layer.
    mutating func write(_ key: String, each numbers: [Int]) {
      var bytes: [UInt8] = []
      for number in numbers { bytes.append(littleEndian: UInt32(clamping: number)) }
      metadata["\(prefix).\(key)"] = .array(
        MetadataArray(elementType: .i32, count: numbers.count, bytes: bytes))
    }

    mutating func write(_ key: String, floats: [Float]) {
      var bytes: [UInt8] = []
      for number in floats { bytes.append(littleEndian: number.bitPattern) }
      metadata["\(prefix).\(key)"] = .array(
        MetadataArray(elementType: .f32, count: floats.count, bytes: bytes))
    }

    mutating func write(_ key: String, _ text: String?) {
      guard let text else { return }
      metadata["\(prefix).\(key)"] = .text(text)
    }
  }
}
