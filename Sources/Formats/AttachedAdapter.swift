package import Bytes

/// An adapter that a model carries, and that has not changed its weights.
package struct AttachedAdapter: Sendable {
  /// The name by which it is chosen; no two of a model are equal.
  package var name: String
  /// Whose names and layouts its tensors have: peft, mlx or gguf.
  package var kind: String
  /// The document that was beside the tensors, or what a GGUF file said of them.
  package var config: JSONValue
  /// How inputs were pooled, where the document does not tell.
  package var pooling: String?
  /// The CRC-32C of the file that it came from.
  package var checksum: String
  /// Its tensors among the stored ones, which follow those of the model.
  package var stored: Range<Int>

  package init(
    name: String, kind: String, config: JSONValue, pooling: String?, checksum: String,
    stored: Range<Int>
  ) {
    self.name = name
    self.kind = kind
    self.config = config
    self.pooling = pooling
    self.checksum = checksum
    self.stored = stored
  }
}
