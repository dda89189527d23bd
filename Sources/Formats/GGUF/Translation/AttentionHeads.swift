package import Bytes
package import TensorModel

/// How many heads attention has, and their size.
package struct AttentionHeads: Sendable, Hashable {
  /// The heads of queries.
  package let queryCount: Int
  /// The heads of keys and values.
  package let keyValueCount: Int
  /// Rows of a head.
  package let size: Int

  /// From a `config.json`; nil when it does not say.
  package init?(_ config: JSONValue) {
    guard let queries = config["num_attention_heads"]?.int, queries > 0,
      let size = config["head_dim"]?.int ?? config["hidden_size"]?.int.map({ $0 / queries })
    else { return nil }
    queryCount = queries
    keyValueCount = config["num_key_value_heads"]?.int ?? queries
    self.size = size
  }

  /// From the metadata of a GGUF file; nil when it does not say.
  package init?(_ metadata: Metadata, _ architecture: String) {
    func value(_ key: String) -> Int? { metadata["\(architecture).\(key)"]?.integer }
    guard let queries = value("attention.head_count"), queries > 0,
      let size = value("attention.key_length") ?? value("embedding_length").map({ $0 / queries })
    else { return nil }
    queryCount = queries
    keyValueCount = value("attention.head_count_kv") ?? queries
    self.size = size
  }
}
