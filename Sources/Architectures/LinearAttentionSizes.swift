internal import TensorModel

/// The sizes of linear attention (gated delta networks, arXiv 2412.06464).
package struct LinearAttentionSizes: Sendable, Hashable {
  /// The number of heads of queries and of keys: `linear_num_key_heads`.
  package let keyHeadCount: Int
  /// The number of heads of values, a multiple of that: `linear_num_value_heads`.
  package let valueHeadCount: Int
  /// The number of rows of a head: `linear_key_head_dim`, which values have too in llama.cpp.
  package let headSize: Int
  /// The number of positions that the convolution sees: `linear_conv_kernel_dim`.
  package let kernelSize: Int

  /// The distance of layers with other attention: `full_attention_interval`.
  package let fullAttentionInterval: Int

  /// The heads of values for each head of keys.
  package var valuesPerKey: Int { valueHeadCount / keyHeadCount }
  /// The rows of keys of all heads.
  package var keyRowCount: Int { keyHeadCount * headSize }
  /// The rows of values of all heads.
  package var valueRowCount: Int { valueHeadCount * headSize }
  /// The rows of queries, keys and values, which are the channels of the convolution.
  package var channelCount: Int { 2 * keyRowCount + valueRowCount }

  static let usualInterval = 4

  /// Reads the sizes that a config states.
  ///
  /// Throws `malformed` for values that are missing or invalid, `limit` for those that are too large,
  /// and `unsupported` for heads of values of another size.
  init(_ values: ConfigValues) throws(ModelError) {
    keyHeadCount = try values.extent("linear_num_key_heads")
    valueHeadCount = try values.extent("linear_num_value_heads")
    headSize = try values.extent("linear_key_head_dim")
    fullAttentionInterval = try values.count("full_attention_interval") ?? Self.usualInterval
    kernelSize = try values.extent("linear_conv_kernel_dim")
    guard valueHeadCount % keyHeadCount == 0 else {
      throw ConfigValues.fault(
        "linear_num_value_heads", "a multiple of linear_num_key_heads, \(keyHeadCount)",
        values["linear_num_value_heads"])
    }
    let valueSize = try values.required("linear_value_head_dim")
    guard valueSize == headSize else {
      throw ModelError(
        .unsupported,
        "neither llama.cpp nor Pleat computes linear attention with two sizes of heads",
        tensor: "linear_value_head_dim", expected: "linear_key_head_dim, which is \(headSize)",
        found: "\(valueSize)", hint: "it can be converted, as with --to safetensors")
    }
  }

  /// Reads the sizes that the metadata of a GGUF file states.
  ///
  /// Throws `malformed` for values that are missing or invalid, and `limit` for those that are too
  /// large.
  init(_ values: GGUFValues) throws(ModelError) {
    keyHeadCount = try values.extent("ssm.group_count")
    valueHeadCount = try values.extent("ssm.time_step_rank")
    headSize = try values.extent("ssm.state_size")
    kernelSize = try values.extent("ssm.conv_kernel")
    fullAttentionInterval = try values.count("full_attention_interval") ?? Self.usualInterval
    guard valueHeadCount % keyHeadCount == 0 else {
      throw ModelError(
        .malformed, "the heads of values are no multiple of those of keys",
        tensor: "ssm.time_step_rank", expected: "a multiple of \(keyHeadCount)",
        found: "\(valueHeadCount)")
    }
  }
}
