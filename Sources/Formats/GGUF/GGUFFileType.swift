internal import Architectures
internal import Kernels
package import TensorModel

/// `general.file_type`: llama.cpp's number for the type of most weights of a model.
package enum GGUFFileType {
  /// The key in the metadata.
  package static let key = "general.file_type"
  private static let versionKey = "general.quantization_version"

  /// The numbers of file types without blocks.
  private static let plainNumbers: [String: UInt32] = ["F32": 0, "F16": 1, "BF16": 32]

  /// llama.cpp's name for a number; nil for removed and future numbers.
  package static func name(of number: UInt32) -> String? {
    Mix.withFileType(number)?.name
      ?? plainNumbers.first { $0.value == number }?.key
      ?? Mix.unwritten.first { $0.fileType == number }?.name
  }

  /// The number of a model most of whose weights have a type; nil if the type has none.
  ///
  /// A mix of the type stays what it is. Otherwise the number is the one that llama.cpp assumes for
  /// a file without a number.
  private static func number(of type: String, unless current: UInt32?) -> UInt32? {
    if let number = plainNumbers[type] { return number }
    let mixes = Mix.all.filter { $0.base.name == type }
    let same = mixes.first { $0.fileType == current }
    let mix =
      same ?? mixes.first { $0.name == type } ?? mixes.first { $0.name == type + "_M" }
      ?? mixes.first
    // Blocks that Pleat only rearranges.
    return mix?.fileType
      ?? (current == nil ? Mix.unwritten.first { $0.name == type }?.fileType : nil)
  }

  /// Updates the metadata of a GGUF model whose weights get other types.
  ///
  /// The file type becomes that of most elements in layers. It does not change if it is a mix of
  /// that type, or if the type has no number. Metadata of models without `general.architecture` does
  /// not change.
  package static func updated(
    _ metadata: Metadata, for tensors: some Sequence<TensorInfo>
  ) -> Metadata {
    guard metadata["general.architecture"] != nil else { return metadata }
    var counts = TypeCounts()
    for tensor in tensors { counts.add(tensor) }
    var metadata = metadata
    let current = metadata[key]?.integer.flatMap(UInt32.init(exactly:))
    if let type = counts.mostCommonType, let number = number(of: type, unless: current) {
      metadata[key] = .u32(number)
    }
    if counts.haveBlocks { addVersion(to: &metadata) }
    return metadata
  }

  /// Updates the metadata of a GGUF model that a mix quantizes, with entries in the order of
  /// llama-quantize.
  ///
  /// - Parameters:
  ///   - metadata: The metadata of the source.
  ///   - mix: The mix.
  ///   - matrix: The importance matrix that was used; nil without one.
  /// - Returns: The metadata of the output.
  package static func updated(
    _ metadata: Metadata, for mix: Mix, matrix: MatrixRecord? = nil
  ) -> Metadata {
    var metadata = metadata
    // An entry that is removed and set again becomes the last one, as in llama-quantize.
    for name in GGUFSplit.keys + [versionKey, key] { metadata[name] = nil }
    addVersion(to: &metadata)
    metadata[key] = .u32(mix.fileType)
    for entry in matrix?.entries ?? [] {
      metadata[entry.key] = nil
      metadata[entry.key] = entry.value
    }
    return metadata
  }

  /// Adds the version of the block layouts of quantized types.
  static func addVersion(to metadata: inout Metadata) { metadata[versionKey] = .u32(2) }

  /// How many elements of matrices have each type of GGUF.
  private struct TypeCounts {
    /// Whether a tensor consists of blocks.
    private(set) var haveBlocks = false
    private var layers: [String: Int] = [:]
    // Embeddings and the head often have another type, and are the larger part of small models.
    private var others: [String: Int] = [:]
    // What tensors of a form are stored as; many have the same.
    private var known: [TensorForm: StoredTensor?] = [:]

    /// Counts a tensor, as it is, or would be, in a GGUF file; one that GGUF cannot store does not
    /// count.
    mutating func add(_ tensor: TensorInfo) {
      guard let stored = stored(tensor) else { return }
      if stored.role == .blocks { haveBlocks = true }
      guard stored.shape.rank > 1 else { return }
      let (type, count) = (stored.encoding.description, stored.shape.elementCount)
      if tensor.name == TensorNames.ggufEmbeddings || tensor.name == TensorNames.ggufHead {
        others[type, default: 0] += count
      } else {
        layers[type, default: 0] += count
      }
    }

    /// The type of most elements in layers; nil without matrices.
    var mostCommonType: String? {
      (layers.isEmpty ? others : layers).max { ($0.value, $1.key) < ($1.value, $0.key) }?.key
    }

    private mutating func stored(_ tensor: TensorInfo) -> StoredTensor? {
      if let stored = known[tensor.form] { return stored }
      let codec = GGMLCodec()
      let isExact = codec.admission(of: tensor.encoding) == .exact
      let stored = isExact ? codec.parts(of: tensor).first : nil
      known[tensor.form] = stored
      return stored
    }
  }
}
