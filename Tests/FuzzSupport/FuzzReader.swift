/// A reader that is tested with arbitrary bytes.
package enum FuzzReader: String, CaseIterable, Sendable {
  /// A safetensors file, whose tensors are also read as adapters of PEFT and mlx-lm.
  case safetensors
  /// The index of a safetensors model whose three shards exist.
  case safetensorsIndex = "safetensors-index"
  /// The first file of a GGUF model, which is unsplit or has two further shards that exist.
  case gguf
  /// A pleat file.
  case pleat
  /// An importance matrix in either form.
  case importance
  /// `config.json` of an MLX model.
  case mlx
  /// `config.json` of a GPTQ model.
  case gptq
  /// `config.json` of an AWQ model.
  case awq
  /// `config.json` of a compressed-tensors model.
  case compressedTensors = "compressed-tensors"
  /// `adapter_config.json` of a PEFT adapter, which is folded.
  case peft
  /// `adapter_config.json` of an mlx-lm adapter, which is folded.
  case mlxAdapter = "mlx-adapter"
  /// `tokenizer.model`.
  case sentencePiece = "sentencepiece"
  /// `tokenizer.json`.
  case tokenizer
  /// The small files beside `tokenizer.json`.
  case tokenizerConfig = "tokenizer-config"
  /// `config.json` of a model that is converted to GGUF.
  case architecture
  /// The recipe of `quantize --recipe`.
  case recipe
  /// A file of log probabilities.
  case logits
  /// The sums of a calibration, without the first line and the checksum, which always fit.
  case sums
  /// Tokens in an array of NumPy.
  case tokenArray = "token-array"
  /// Tokens in JSON lines.
  case tokenLines = "token-lines"
  /// A text that is made into tokens.
  case text
  /// A JSON document.
  case json

  /// The name of the file that gets the bytes; nil if the reader takes bytes directly.
  var fileName: String? {
    switch self {
    case .safetensors: "input.safetensors"
    case .safetensorsIndex: "model.safetensors.index.json"
    case .gguf: "model-00001-of-00003.gguf"
    case .pleat: "input.pleat"
    case .importance: "imatrix"
    case .logits: "input.logits"
    case .sums: "input.sums"
    case .tokenArray: "input.npy"
    case .tokenLines: "input.jsonl"
    case .text: "input.txt"
    case .mlx, .gptq, .awq, .compressedTensors: "config.json"
    case .peft, .mlxAdapter: "adapter_config.json"
    case .sentencePiece, .tokenizer, .tokenizerConfig, .architecture, .recipe, .json: nil
    }
  }
}
