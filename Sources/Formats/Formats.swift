public import TensorModel

/// The formats that Pleat knows; everything that lists formats derives from here.
public enum Formats {
  /// Every format, in the order of documentation.
  public static let all: [Format] = [
    .safetensors, .gguf, .mlx, .gptq, .gptqV1, .awq, .compressedTensors, .pleat,
  ]

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

  /// Checkpoints of GPTQ, zero points stored as they are.
  public static let gptq = gptq(
    "gptq", "a GPTQ checkpoint that gptqmodel and vLLM load", GPTQSpelling())

  /// Checkpoints of GPTQ as older tools read them, zero points stored less one.
  public static let gptqV1 = gptq(
    "gptq-v1", "a GPTQ checkpoint of the first version, for older tools",
    GPTQSpelling(isFirstVersion: true))

  private static func gptq(_ name: String, _ summary: String, _ spelling: GPTQSpelling) -> Format {
    Format(
      name: name, summary: summary, bits: GPTQSpelling.bits, groupSizes: [128, 32, 64, 16, 256],
      allowsRowGroups: true, embeddings: .keep, head: .keep, usesOneFloatType: true,
      container: SafetensorsContainer.self, spelling: spelling)
  }

  /// The folders of AutoAWQ.
  public static let awq = Format(
    name: "awq", summary: "a checkpoint in AWQ's layout that vLLM loads",
    bits: AWQSpelling.bits, groupSizes: AWQSpelling.groupSizes, allowsRowGroups: true,
    embeddings: .keep, head: .keep, usesOneFloatType: true,
    container: SafetensorsContainer.self, spelling: AWQSpelling())

  /// The folders of compressed-tensors.
  public static let compressedTensors = Format(
    name: "compressed-tensors", summary: "a packed checkpoint that vLLM and transformers load",
    bits: CompressedTensorsSpelling.bits, groupSizes: [128, 32, 16, 64, 256],
    allowsRowGroups: true, embeddings: .keep, head: .keep, usesOneFloatType: true,
    usualOffset: Grouping.Offset.none,
    container: SafetensorsContainer.self, spelling: CompressedTensorsSpelling())

  /// Pleat's own file.
  public static let pleat = Format(
    name: "pleat", summary: "one file with all that deployment needs",
    bits: Grouping.supportedBits, groupSizes: [32, 16, 64, 128, 256], allowsRowGroups: true,
    embeddings: .keep, head: .keep,
    container: PackedContainer.self, spelling: PackedSpelling())
}
