internal import TensorModel

/// `general.file_type`: what most weights of a file are, as llama.cpp numbers it.
enum GGUFFileType {
  static let key = "general.file_type"
  static let versionKey = "general.quantization_version"

  /// The number for each type whose number does not depend on a mixture of others.
  private static let numbers: [String: UInt32] = [
    "F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "BF16": 32,
  ]

  /// Metadata that tells the truth about the tensors that are written with it.
  ///
  /// A mixture that Pleat did not make (`Q4_K_M`) keeps its number.
  static func updated(_ metadata: Metadata, for tensors: [StoredTensor]) -> Metadata {
    var metadata = metadata
    if let name = mostCommonType(tensors), let number = numbers[name] {
      metadata[key] = .u32(number)
    }
    if tensors.contains(where: { $0.role == .blocks }) { metadata[versionKey] = .u32(2) }
    return metadata
  }

  // Embeddings and the head often have a type of their own, and in small models are the larger part.
  private static func mostCommonType(_ tensors: [StoredTensor]) -> String? {
    let matrices = tensors.filter { $0.shape.rank > 1 }
    let layers = matrices.filter { $0.name != "token_embd.weight" && $0.name != "output.weight" }
    var counts: [String: Int] = [:]
    for tensor in layers.isEmpty ? matrices : layers {
      counts[tensor.encoding.description, default: 0] += tensor.shape.elementCount
    }
    return counts.max { ($0.value, $1.key) < ($1.value, $0.key) }?.key
  }
}
