package import Bytes

/// An adapter that is stored in a model without being folded into its weights.
package struct AttachedAdapter: Sendable {
  /// The name that selects the adapter; unique within a model.
  package var name: String
  /// The tool whose names and layouts its tensors have: peft, mlx or gguf.
  package var kind: String
  /// The document that was beside the tensors; for kind gguf, the metadata of the file.
  package var config: JSONValue
  /// How inputs were pooled; nil if no inputs are pooled or it is not known.
  package var pooling: String?
  /// The CRC-32C of the file that the tensors came from, or of all files in order.
  package var checksum: String
  /// The indices of its stored tensors, which follow those of the model.
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
