internal import Bytes
internal import TensorModel

extension CheckpointConfig {
  /// What a config states about linear attention, convolutions and latent attention.
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
    let adjusts = "block_auto_adjust_ff_dim"
    if architecture.defaults[adjusts] != nil { members.append(.init(adjusts, false)) }
    if let latent = parameters.latent {
      write("q_lora_rank", latent.queryRank)
      write("kv_lora_rank", latent.keyValueRank)
      write("qk_nope_head_dim", latent.plainSize)
      write("qk_rope_head_dim", latent.rotatedSize)
      write("v_head_dim", latent.valueSize)
    }
    return members
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
