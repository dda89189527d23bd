internal import TensorModel

/// What the metadata of a quantized GGUF model says about its importance matrix.
package struct MatrixRecord: Sendable, Hashable {
  /// The file of the matrix, as the user named it.
  package var file: String
  /// The text on which it was measured; nil if the file does not say.
  package var dataset: String?
  /// The number of tensors for which it has weights.
  package var entryCount: Int
  /// The number of chunks of text; 0 if the file does not say.
  package var chunkCount: Int

  /// Creates a record.
  package init(file: String, dataset: String?, entryCount: Int, chunkCount: Int) {
    self.file = file
    self.dataset = dataset
    self.entryCount = entryCount
    self.chunkCount = chunkCount
  }

  /// llama-quantize stores texts of at most 127 bytes.
  private static let textLimit = 127

  /// The metadata entries.
  var entries: [Metadata.Entry] {
    var entries: [Metadata.Entry] = []
    func add(_ key: String, _ value: MetadataValue) {
      entries.append(Metadata.Entry(key: "quantize.imatrix." + key, value: value))
    }
    func text(_ text: String) -> MetadataValue { .string(Array(text.utf8.prefix(Self.textLimit))) }
    add("file", text(file))
    if let dataset { add("dataset", text(dataset)) }
    add("entries_count", .u32(UInt32(clamping: entryCount)))
    if chunkCount > 0 { add("chunks_count", .u32(UInt32(clamping: chunkCount))) }
    return entries
  }
}
