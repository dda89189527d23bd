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
    _ metadata: Metadata, for tensors: @autoclosure () -> [TensorInfo]
  ) -> Metadata {
    guard metadata["general.architecture"] != nil else { return metadata }
    let stored = tensors().compactMap(stored)
    var metadata = metadata
    let current = metadata[key]?.integer.flatMap(UInt32.init(exactly:))
    if let type = mostCommonType(stored), let number = number(of: type, unless: current) {
      metadata[key] = .u32(number)
    }
    if stored.contains(where: { $0.role == .blocks }) { addVersion(to: &metadata) }
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

  /// The stored tensor that a tensor is, or would be, in a GGUF file; nil if GGUF cannot store it.
  private static func stored(_ tensor: TensorInfo) -> StoredTensor? {
    let codec = GGMLCodec()
    return codec.admission(of: tensor.encoding) == .exact ? codec.parts(of: tensor).first : nil
  }

  // Embeddings and the head often have another type, and are the larger part of small models.
  private static func mostCommonType(_ tensors: [StoredTensor]) -> String? {
    let matrices = tensors.filter { $0.shape.rank > 1 }
    let layers = matrices.filter {
      $0.name != TensorNames.ggufEmbeddings && $0.name != TensorNames.ggufHead
    }
    var counts: [String: Int] = [:]
    for tensor in layers.isEmpty ? matrices : layers {
      counts[tensor.encoding.description, default: 0] += tensor.shape.elementCount
    }
    return counts.max { ($0.value, $1.key) < ($1.value, $0.key) }?.key
  }
}
