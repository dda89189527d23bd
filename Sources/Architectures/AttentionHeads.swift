package import Bytes
package import TensorModel

/// The number and the size of attention heads.
package struct AttentionHeads: Sendable, Hashable {
  /// The number of heads of queries.
  package let queryCount: Int
  /// The number of heads of keys, and of values.
  package let keyValueCount: Int
  /// The number of rows of a head.
  package let size: Int

  /// Reads the heads from a `config.json`; nil if it does not state them.
  package init?(_ config: JSONValue) {
    guard let queries = config["num_attention_heads"]?.int, queries > 0,
      let size = config["head_dim"]?.int ?? config["hidden_size"]?.int.map({ $0 / queries })
    else { return nil }
    queryCount = queries
    keyValueCount = config["num_key_value_heads"]?.int ?? queries
    self.size = size
  }

  /// Reads the heads from the metadata of a GGUF file; nil if it does not state them.
  package init?(_ metadata: Metadata, _ architecture: String) {
    func value(_ key: String) -> Int? { metadata["\(architecture).\(key)"]?.integer }
    guard let queries = value("attention.head_count"), queries > 0,
      let size = value("attention.key_length") ?? value("embedding_length").map({ $0 / queries })
    else { return nil }
    queryCount = queries
    keyValueCount = metadata["\(architecture).attention.head_count_kv"]?.equalCounts ?? queries
    self.size = size
  }
}
