package import TensorModel

/// `general.file_type`: what most weights of a model are, as llama.cpp numbers it.
package enum GGUFFileType {
  private static let key = "general.file_type"
  private static let versionKey = "general.quantization_version"

  /// The number for each type whose number does not depend on a mixture of others.
  private static let numbers: [String: UInt32] = [
    "F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "BF16": 32,
  ]

  /// Metadata of a GGUF model that tells the truth about weights which were encoded anew.
  ///
  /// A mixture that Pleat did not make (`Q4_K_M`) keeps its number, and so does everything in
  /// models of other formats.
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

  /// Says which layout the blocks of quantized types have.
  static func addVersion(to metadata: inout Metadata) { metadata[versionKey] = .u32(2) }

  /// How GGUF holds a tensor, or would hold it.
  private static func stored(_ tensor: TensorInfo) -> StoredTensor? {
    let spelling = GGMLSpelling()
    return spelling.admits(tensor) == .exact ? spelling.parts(of: tensor).first : nil
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
