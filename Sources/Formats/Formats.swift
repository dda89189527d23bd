internal import SystemPackage
public import TensorModel

/// The formats that Pleat knows; every list of formats is derived from this one.
public enum Formats {
  /// Every format, in the order of the documentation.
  public static let all: [Format] = [
    .safetensors, .gguf, .mlx, .gptq, .gptqV1, .awq, .compressedTensors, .pleat,
  ]

  /// The format with a name.
  ///
  /// Throws `usage`, with all known names, if there is none.
  public static func named(_ name: String) throws(ModelError) -> Format {
    if let format = all.first(where: { $0.name == name }) { return format }
    throw ModelError(
      .usage, "unknown format '\(name)'",
      expected: all.map(\.name).joined(separator: ", "), found: name)
  }

  /// The first format whose files usually have the suffix of a path; nil if none has.
  public static func suggested(byPath path: String) -> Format? {
    guard let suffix = FilePath(path).extension?.lowercased() else { return nil }
    return all.first { $0.container.suffixes.contains(suffix) }
  }

  /// The suffixes of all formats, each with its dot.
  public static var suffixes: [String] {
    all.flatMap { $0.container.suffixes }.reduce(into: []) { suffixes, suffix in
      if !suffixes.contains("." + suffix) { suffixes.append("." + suffix) }
    }
  }
}

extension Format {
  /// Whether its files usually have the suffix of a path, or no format's files have.
  public func suits(path: String) -> Bool {
    guard let suffix = FilePath(path).extension?.lowercased(),
      Formats.suggested(byPath: path) != nil
    else { return true }
    return container.suffixes.contains(suffix)
  }
}

extension Format {
  /// Plain Hugging Face checkpoints.
  public static let safetensors = Format(
    name: "safetensors", summary: "a checkpoint that transformers loads",
    bits: [], groupSizes: [], allowsRowGroups: false, embeddings: .keep, head: .keep,
    container: SafetensorsContainer.self, codec: PlainCodec())

  /// GGUF files, as llama.cpp reads them.
  public static let gguf = Format(
    name: "gguf", summary: "a file that llama.cpp runs",
    bits: [4, 5, 8], groupSizes: [32], allowsRowGroups: false, embeddings: .quantize,
    head: .eightBits, usualMix: "Q4_K_M",
    usesGGUFNames: true, container: GGUFContainer.self, codec: GGMLCodec())

  /// MLX folders.
  public static let mlx = Format(
    name: "mlx", summary: "a folder that mlx-lm runs",
    bits: MLXCodec.bits, groupSizes: MLXCodec.groupSizes, allowsRowGroups: false,
    embeddings: .quantize, head: .quantize, usesOneFloatType: true, metadataMark: "mlx",
    usesMLXNames: true, container: SafetensorsContainer.self, codec: MLXCodec(),
    dialect: MLXDialect())

  /// GPTQ checkpoints of the second version, which store zero points unchanged.
  public static let gptq = gptq(
    "gptq", "a GPTQ checkpoint that gptqmodel and vLLM load", isFirstVersion: false)

  /// GPTQ checkpoints of the first version, which store zero points minus one, for older tools.
  public static let gptqV1 = gptq(
    "gptq-v1", "a GPTQ checkpoint of the first version, for older tools", isFirstVersion: true)

  private static func gptq(
    _ name: String, _ summary: String, isFirstVersion: Bool
  ) -> Format {
    Format(
      name: name, summary: summary, bits: GPTQCodec.bits, groupSizes: [128, 32, 64, 16, 256],
      allowsRowGroups: true, embeddings: .keep, head: .keep, usesOneFloatType: true,
      container: SafetensorsContainer.self, codec: GPTQCodec(isFirstVersion: isFirstVersion),
      dialect: GPTQDialect(isFirstVersion: isFirstVersion))
  }

  /// AWQ checkpoints, as AutoAWQ writes them.
  public static let awq = Format(
    name: "awq", summary: "a checkpoint in AWQ's layout that vLLM loads",
    bits: AWQCodec.bits, groupSizes: AWQCodec.groupSizes, allowsRowGroups: true,
    embeddings: .keep, head: .keep, usesOneFloatType: true,
    container: SafetensorsContainer.self, codec: AWQCodec(), dialect: AWQDialect())

  /// Checkpoints of compressed-tensors.
  public static let compressedTensors = Format(
    name: "compressed-tensors", summary: "a packed checkpoint that vLLM and transformers load",
    bits: CompressedTensorsCodec.bits, groupSizes: [128, 32, 16, 64, 256],
    allowsRowGroups: true, embeddings: .keep, head: .keep, usesOneFloatType: true,
    usualOffset: Grouping.Offset.none,
    container: SafetensorsContainer.self, codec: CompressedTensorsCodec(),
    dialect: CompressedTensorsDialect())

  /// Pleat's own file format.
  public static let pleat = Format(
    name: "pleat", summary: "one file with all that deployment needs",
    bits: Grouping.supportedBits, groupSizes: [32, 16, 64, 128, 256], allowsRowGroups: true,
    embeddings: .keep, head: .keep,
    container: PleatFileContainer.self, codec: PleatFileCodec())
}
