internal import Architectures
package import TensorModel

/// `general.file_type`: llama.cpp's number for the type of most weights of a model.
package enum GGUFFileType {
  private static let key = "general.file_type"
  private static let versionKey = "general.quantization_version"

  /// The numbers of file types that are named after a single tensor type.
  private static let numbers: [String: UInt32] = [
    "F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "BF16": 32,
  ]

  /// Updates the metadata of a GGUF model whose weights get other types.
  ///
  /// The file type becomes that of most elements in layers. It does not change if that type has no
  /// number here, as in mixtures that Pleat does not make (`Q4_K_M`). Metadata of models without
  /// `general.architecture` does not change.
  package static func updated(
    _ metadata: Metadata, for tensors: @autoclosure () -> [TensorInfo]
  ) -> Metadata {
    guard metadata["general.architecture"] != nil else { return metadata }
    let stored = tensors().compactMap(stored)
    var metadata = metadata
    if let name = mostCommonType(stored), let number = numbers[name] {
      metadata[key] = .u32(number)
    }
    if stored.contains(where: { $0.role == .blocks }) { addVersion(to: &metadata) }
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
