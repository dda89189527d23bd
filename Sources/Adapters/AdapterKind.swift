internal import Bytes
package import TensorModel

/// The tools whose adapter files Pleat reads; every list of them derives from this type.
public enum AdapterKind: String, Sendable, Hashable, CaseIterable {
  case peft
  case mlx
  case gguf

  /// Recognizes the tool by the config and the names of the tensors.
  ///
  /// Throws `unsupported` if the file is not an adapter of a known tool.
  package init(_ contents: AdapterContents) throws(ModelError) {
    let names = contents.tensors.map(\.name)
    if contents.config["general.type"]?.string == "adapter" {
      self = .gguf
    } else if contents.config["peft_type"] != nil
      || names.contains(where: { $0.contains(".lora_A") || $0.contains(".lora_embedding_A") })
    {
      self = .peft
    } else if contents.config["fine_tune_type"] != nil
      || names.contains(where: { $0.hasSuffix(".lora_a") })
    {
      self = .mlx
    } else {
      throw ModelError(
        .unsupported, "not an adapter that Pleat reads", file: contents.path,
        expected: "a LoRA adapter of PEFT, MLX or llama.cpp",
        found: names.first.map { "tensors such as '\($0)'" } ?? "no tensors")
    }
  }

  /// Interprets the contents of a file of this tool.
  ///
  /// Throws `malformed` and `mismatch`, and one `unsupported` for everything that is unsupported.
  package func read(_ contents: AdapterContents) throws(ModelError) -> Adapter {
    do throws(ModelError) {
      switch self {
      case .peft: return try PEFTReading(contents).adapter()
      case .mlx: return try MLXReading(contents).adapter()
      case .gguf: return try GGUFReading(contents).adapter()
      }
    } catch {
      throw error.located(file: contents.path)
    }
  }

  /// The name of the tool.
  public var tool: String {
    switch self {
    case .peft: "PEFT"
    case .mlx: "MLX"
    case .gguf: "llama.cpp"
    }
  }
}

/// Collects problems in order to report them in one error.
struct Problems {
  private var texts: [String] = []
  private var known: Set<String> = []

  mutating func add(_ text: String) {
    if known.insert(text).inserted { texts.append(text) }
  }

  /// Throws one `unsupported` error with all problems, if there are any.
  func check(
    _ what: String = "the adapter has parts that cannot be folded"
  ) throws(ModelError) {
    guard !texts.isEmpty else { return }
    let shown = texts.prefix(8).joined(separator: "; ")
    throw ModelError(
      .unsupported, what,
      found: shown + (texts.count > 8 ? "; and \(texts.count - 8) more" : ""))
  }
}
