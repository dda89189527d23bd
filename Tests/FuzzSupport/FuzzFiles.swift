internal import Adapters
internal import Architectures
internal import Bytes
internal import Formats
internal import Pleat
internal import TensorModel
internal import TestSupport

/// The other files that a reader needs besides the fuzzed bytes.
enum FuzzFiles {
  private static let layer = "model.layers.0.self_attn.q_proj"
  private static let norm = Toy("model.norm.weight", .f16, [64], seed: 9)

  /// Writes the other files that a reader needs.
  ///
  /// Returns the base model for readers of adapters, nil for others.
  static func write(for reader: FuzzReader, in scratch: Scratch) throws -> Model? {
    let weights = "model.safetensors"
    switch reader {
    case .safetensorsIndex: try copy("golden/safetensors/sharded", ".safetensors", to: scratch)
    case .gguf: try copy("golden/gguf/split", ".gguf", to: scratch)
    case .mlx:
      let layers = [
        ToyMLX(layer, [8, 64], seed: 1),
        ToyMLX("lm_head", [4, 128], bits: 8, type: .bf16, seed: 2),
      ]
      try scratch.write(
        ToyFiles.safetensors(layers.flatMap(\.tensors) + [norm], metadata: [("format", "mlx")]),
        as: weights)
    case .gptq:
      let layers = [
        ToyGPTQ(layer, 32, 64, seed: 1),
        ToyGPTQ("lm_head", 32, 64, bits: 8, groupSize: 64, isSymmetric: true, seed: 2),
      ]
      try scratch.write(
        ToyFiles.safetensors(layers.flatMap(\.tensors) + [norm]), as: weights)
    case .awq:
      try scratch.write(
        ToyFiles.safetensors(ToyWords(layer, 32, 64, seed: 1).awq + [norm]), as: weights)
    case .compressedTensors:
      let layers =
        ToyWords(layer, 32, 64, seed: 1).compressed()
        + ToyWords("lm_head", 32, 64, hasZeros: false, seed: 2).compressed(isOld: true)
      try scratch.write(ToyFiles.safetensors(layers + [norm]), as: weights)
    case .peft, .mlxAdapter: return try writeAdapter(isMLX: reader == .mlxAdapter, in: scratch)
    default: break
    }
    return nil
  }

  private static func copy(_ folder: String, _ suffix: String, to scratch: Scratch) throws {
    for name in try Files.names(in: Fixtures.path(folder)) where name.hasSuffix(suffix) {
      try scratch.write(try Fixtures.bytes("\(folder)/\(name)"), as: name)
    }
  }

  private static func writeAdapter(isMLX: Bool, in scratch: Scratch) throws -> Model {
    let tensors: [Toy]
    if isMLX {
      tensors = [
        Toy("\(layer).lora_a", .f32, [64, 2], seed: 3),
        Toy("\(layer).lora_b", .f32, [2, 8], seed: 4),
      ]
    } else {
      tensors =
        ToyFactors(layer, 8, 64, seed: 3).tensors
        + [Toy("base_model.model.\(layer).lora_magnitude_vector", .f32, [8], seed: 5)]
    }
    try scratch.write(
      ToyFiles.safetensors(tensors),
      as: isMLX ? "adapters.safetensors" : "adapter_model.safetensors")
    let base = [Toy("\(layer).weight", .f16, [8, 64], seed: 6), norm]
    return try Model.open(try scratch.write(ToyFiles.safetensors(base), as: "base.safetensors"))
  }

  private static let peft: JSONValue = ["peft_type": "LORA", "r": 2, "lora_alpha": 6]
  private static let mlx: JSONValue = [
    "fine_tune_type": "lora", "num_layers": 1, "lora_parameters": ["rank": 2, "scale": 3],
  ]

  /// Reads tensors as an adapter of PEFT and of mlx-lm, and ignores errors.
  static func readAsAdapter(_ tensors: [TensorInfo]) throws(ModelError) {
    let contents = AdapterContents(path: "adapter", config: peft, tensors: tensors)
    _ = try? AdapterKind.peft.read(contents)
    _ = try? AdapterKind.mlx.read(
      AdapterContents(path: "adapter", config: mlx, tensors: tensors))
    _ = try? AdapterKind(contents).read(contents)
  }

  /// A small `tokenizer.json` of SentencePiece pieces.
  static let tokenizer: [UInt8] = {
    let digits = Array("0123456789ABCDEF")
    let bytes = (0..<256).map { "\"<0x\(digits[$0 / 16])\(digits[$0 % 16])>\":\($0 + 3)" }
    let vocabulary =
      ["\"<unk>\":0", "\"<s>\":1", "\"</s>\":2"] + bytes + ["\"▁\":259", "\"a\":260"]
    return Array(
      (#"{"added_tokens":[{"id":1,"content":"<s>","special":true}],"normalizer":"#
        + #"{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},"#
        + #"{"type":"Replace","pattern":{"String":" "},"content":"▁"}]},"pre_tokenizer":null,"#
        + #""model":{"type":"BPE","unk_token":"<unk>","byte_fallback":true,"vocab":{"#
        + vocabulary.joined(separator: ",") + #"},"merges":[]}}"#).utf8)
  }()

  /// A small `tokenizer.json` of bytes, as GPT-2 writes them, with two merges.
  static let byteLevelTokenizer: [UInt8] = {
    let printable = [33...126, 161...172, 174...255].joined()
    let others = (0..<256).filter { !printable.contains($0) }
    let letters =
      printable.map { Unicode.Scalar(UInt8($0)) }
      + others.indices.compactMap { Unicode.Scalar(UInt32(256 + $0)) }
    let words = letters.map { String(Character($0)) } + ["ab", "abc"]
    let vocabulary = JSONValue.object(
      words.enumerated().map { .init($1, JSONValue($0)) } + [.init("<s>", JSONValue(words.count))])
    let splits: JSONValue = ["type": "ByteLevel", "add_prefix_space": false, "use_regex": true]
    let model: JSONValue = [
      "type": "BPE", "vocab": vocabulary, "merges": [["a", "b"], ["ab", "c"]],
    ]
    let added: JSONValue = ["id": JSONValue(words.count), "content": "<s>", "special": true]
    let document: JSONValue = [
      "added_tokens": [added], "pre_tokenizer": splits, "model": model,
      "decoder": ["type": "ByteLevel"],
    ]
    return Array(JSONWriter.text(document).utf8)
  }()

  /// The tensors of a model with one layer and two experts, with the sizes of the seeds.
  static func tensors(of architecture: Architecture) -> [TensorInfo] {
    let names = architecture.requiredNames(layerCount: 1, expertCount: 2)
    let parameters = try? Hyperparameters(sizes, architecture, tokenCount: 64)
    return names.map { name in
      let expected = parameters.flatMap {
        architecture.expectedShape(ofHuggingFaceName: name, $0.sizes, tokenCount: 64)
      }
      let shape = expected.flatMap { Shape(validating: $0.dimensions) } ?? Shape(64, 64)
      return TensorInfo(name: name, shape: shape, encoding: .plain(.f16))
    }
  }

  private static let sizes: JSONValue = [
    "num_hidden_layers": 1, "max_position_embeddings": 512, "hidden_size": 64,
    "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 16,
    "rms_norm_eps": .number(1e-6), "num_local_experts": 2, "num_experts_per_tok": 2,
    "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32, "norm_topk_prob": true,
  ]
}
