internal import Bytes
internal import TensorModel

extension CheckpointConfig {
  /// What a config states about linear attention, states, convolutions and latent attention.
  var mixerMembers: [JSONValue.Member] {
    var members: [JSONValue.Member] = []
    func write(_ key: String, _ count: Int?) {
      members.append(.init(key, count.map { JSONValue($0) } ?? .null))
    }
    if !parameters.layerKinds.isEmpty {
      let words = parameters.layerKinds.map { kind in
        JSONValue.string(architecture.layerKinds.first { $0.kind == kind }?.word ?? "")
      }
      members.append(.init("layer_types", .array(words)))
    }
    if let linear = parameters.linear {
      write("linear_num_key_heads", linear.keyHeadCount)
      write("linear_num_value_heads", linear.valueHeadCount)
      write("linear_key_head_dim", linear.headSize)
      write("linear_value_head_dim", linear.headSize)
      write("linear_conv_kernel_dim", linear.kernelSize)
      write("full_attention_interval", linear.fullAttentionInterval)
    }
    if let size = parameters.shortConvolutionSize { write("conv_L_cache", size) }
    members += stateMembers
    if architecture.hyperparameters.contains(.noExperts) {
      write("num_local_experts", 0)
      write("num_experts_per_tok", 0)
    }
    for values in [architecture.runtimeValues(parameters), architecture.unitFactors] {
      members += values.members ?? []
    }
    if let latent = parameters.latent {
      write("q_lora_rank", latent.queryRank)
      write("kv_lora_rank", latent.keyValueRank)
      write("qk_nope_head_dim", latent.plainSize)
      write("qk_rope_head_dim", latent.rotatedSize)
      write("v_head_dim", latent.valueSize)
    }
    return members
  }

  /// The sizes of layers with states.
  private var stateMembers: [JSONValue.Member] {
    guard let states = parameters.stateSpace, let keys = architecture.stateSpace else { return [] }
    var counts = [
      (keys.headCount, states.headCount), (keys.groupCount, states.groupCount),
      (keys.stateSize, states.stateSize), (keys.kernelSize, states.kernelSize),
    ]
    if let key = keys.headSize ?? keys.statedHeadSize {
      counts.append((key, states.innerSize / states.headCount))
    }
    let isLimited = architecture.traits.limits.contains { $0.key == keys.factor }
    if let key = keys.innerSize {
      counts.append((key, states.innerSize))
    } else if keys.headSize == nil, !isLimited {
      // Other sizes than a multiple are found when the config is read again.
      counts.append((keys.factor, states.innerSize / parameters.hiddenSize))
    }
    return counts.map { .init($0, JSONValue($1)) }
  }

  /// Rotary embeddings in one object, with the sections that positions of pictures have.
  func withSections(_ members: [JSONValue.Member]) -> JSONValue {
    let sections = parameters.rope.sections.map { Array($0.prefix(3)) } ?? [11, 11, 10]
    return .object(
      [.init("rope_type", "default")] + members + [
        .init("mrope_interleaved", true),
        .init("mrope_section", .array(sections.map { JSONValue($0) })),
      ])
  }
}
