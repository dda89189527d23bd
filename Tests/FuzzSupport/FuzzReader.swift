/// A reader that is tried with bytes of any kind.
package enum FuzzReader: String, CaseIterable, Sendable {
  /// A file of tensors, and what PEFT and mlx-lm would say of their names.
  case safetensors
  /// An index of three shards that are there.
  case safetensorsIndex = "safetensors-index"
  /// The first file of a model, alone or with two more that are there.
  case gguf
  /// A whole file.
  case pleat
  /// `config.json` beside weights in groups as MLX has them.
  case mlx
  /// `config.json` beside weights as GPTQ has them.
  case gptq
  /// `config.json` beside weights as AWQ has them.
  case awq
  /// `config.json` beside weights as compressed-tensors has them.
  case compressedTensors = "compressed-tensors"
  /// `adapter_config.json` beside tensors of PEFT, which are folded.
  case peft
  /// `adapter_config.json` beside tensors of mlx-lm, which are folded.
  case mlxAdapter = "mlx-adapter"
  /// `tokenizer.model`.
  case sentencePiece = "sentencepiece"
  /// `tokenizer.json`.
  case tokenizer
  /// The small files beside it.
  case tokenizerConfig = "tokenizer-config"
  /// `config.json` of a model that becomes one of llama.cpp.
  case architecture
  /// What `quantize --recipe` reads.
  case recipe
  /// Any JSON.
  case json

  /// What the file that takes the bytes is called, where the reader takes a path.
  var fileName: String? {
    switch self {
    case .safetensors: "input.safetensors"
    case .safetensorsIndex: "model.safetensors.index.json"
    case .gguf: "model-00001-of-00003.gguf"
    case .pleat: "input.pleat"
    case .mlx, .gptq, .awq, .compressedTensors: "config.json"
    case .peft, .mlxAdapter: "adapter_config.json"
    case .sentencePiece, .tokenizer, .tokenizerConfig, .architecture, .recipe, .json: nil
    }
  }
}
