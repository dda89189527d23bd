internal import Bytes
internal import TensorModel

/// The sizes of latent attention (MLA, arXiv 2405.04434), which compresses queries, keys and values.
package struct LatentAttentionSizes: Sendable, Hashable {
  /// The rank of the matrix for queries: `q_lora_rank`; nil if queries are not compressed.
  package let queryRank: Int?
  /// The rank of the matrix for keys and values: `kv_lora_rank`.
  package let keyValueRank: Int
  /// The rows of a head of queries and keys that are not rotated: `qk_nope_head_dim`.
  package let plainSize: Int
  /// The rows of a head of queries and keys that are rotated: `qk_rope_head_dim`.
  package let rotatedSize: Int
  /// The rows of a head of values: `v_head_dim`.
  package let valueSize: Int

  /// The rows of a head of queries and keys.
  package var headSize: Int { plainSize + rotatedSize }

  /// Reads the sizes that a config states.
  ///
  /// Throws `malformed` for values that are missing or invalid, and `limit` for those that are too
  /// large.
  init(_ values: ConfigValues) throws(ModelError) {
    queryRank = try values["q_lora_rank"] == nil ? nil : values.extent("q_lora_rank")
    keyValueRank = try values.extent("kv_lora_rank")
    plainSize = try values.extent("qk_nope_head_dim")
    rotatedSize = try values.extent("qk_rope_head_dim")
    valueSize = try values.extent("v_head_dim")
  }

  /// Reads the sizes that the metadata of a GGUF file states.
  ///
  /// Throws `malformed` for values that are missing or invalid, as in files whose keys and values are
  /// one matrix, and `limit` for those that are too large.
  init(_ values: GGUFValues) throws(ModelError) {
    queryRank = try values.count("attention.q_lora_rank")
    keyValueRank = try values.extent("attention.kv_lora_rank")
    rotatedSize = try values.extent("rope.dimension_count")
    valueSize = try values.extent("attention.value_length_mla")
    let headSize = try values.extent("attention.key_length_mla")
    plainSize = headSize - rotatedSize
    guard plainSize > 0 else {
      throw ModelError(
        .malformed, "all rows of a head are rotated", tensor: "attention.key_length_mla",
        expected: "more than \(rotatedSize)", found: "\(headSize)")
    }
  }
}
