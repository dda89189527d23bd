public import TensorModel

/// The formats that Pleat knows; everything that lists formats derives from here.
public enum Formats {
  /// Every format, in the order of documentation.
  public static let all: [Format] = [.safetensors, .gguf, .mlx, .pleat]

  /// The format of a name.
  ///
  /// Throws `usage` with the names there are.
  public static func named(_ name: String) throws(ModelError) -> Format {
    if let format = all.first(where: { $0.name == name }) { return format }
    throw ModelError(
      .usage, "unknown format '\(name)'",
      expected: all.map(\.name).joined(separator: ", "), found: name)
  }
}

extension Format {
  /// Plain checkpoints of Hugging Face.
  public static let safetensors = Format(
    name: "safetensors", summary: "a checkpoint that transformers loads",
    bits: [], groupSizes: [], allowsRowGroups: false, embeddings: .keep, head: .keep,
    container: SafetensorsContainer.self, spelling: PlainSpelling())

  /// The files of llama.cpp.
  public static let gguf = Format(
    name: "gguf", summary: "a file that llama.cpp runs",
    bits: [4, 5, 8], groupSizes: [32], allowsRowGroups: false, embeddings: .quantize,
    head: .eightBits,
    container: GGUFContainer.self, spelling: GGMLSpelling())

  /// The folders of MLX.
  public static let mlx = Format(
    name: "mlx", summary: "a folder that mlx-lm runs",
    bits: MLXSpelling.bits, groupSizes: MLXSpelling.groupSizes, allowsRowGroups: false,
    embeddings: .quantize, head: .quantize, usesOneFloatType: true,
    container: SafetensorsContainer.self, spelling: MLXSpelling())

  /// Pleat's own file.
  public static let pleat = Format(
    name: "pleat", summary: "one file with all that deployment needs",
    bits: Grouping.supportedBits, groupSizes: [32, 16, 64, 128, 256], allowsRowGroups: true,
    embeddings: .keep, head: .keep,
    container: PackedContainer.self, spelling: PackedSpelling())
}
