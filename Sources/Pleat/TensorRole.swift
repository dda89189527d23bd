internal import TensorModel

/// What a tensor is for, as its name tells; decides what is quantized when no rule says.
enum TensorRole: Sendable, Hashable {
  /// A matrix, or a stack of matrices, that inputs are multiplied with.
  case linear
  /// The table of token embeddings.
  case embedding
  /// The matrix that makes logits.
  case head
  /// Everything else, for the reason given.
  case other(String)

  /// The role of a tensor, by the names of Hugging Face and of llama.cpp.
  init(of info: TensorInfo) {
    let name = info.name.lowercased()
    let words = name.split(separator: ".").map(String.init)
    if let reason = Self.exclusion(name, words, info.shape) {
      self = .other(reason)
    } else if Self.names(
      words, ["embed_tokens", "token_embd", "wte", "word_embeddings", "tok_embeddings"])
    {
      self = .embedding
    } else if Self.names(words, ["lm_head", "embed_out"]) || name == "output.weight" {
      self = .head
    } else if words.last == "weight" || words.contains("experts") {
      self = .linear
    } else {
      self = .other("not a weight of a linear layer")
    }
  }

  private static func exclusion(_ name: String, _ words: [String], _ shape: Shape) -> String? {
    switch true {
    case shape.rank < 2: "a vector"
    case shape.rank > 3: "\(shape.rank) dimensions"
    case words.last == "bias": "a bias"
    case words.contains { $0.contains("norm") || $0.hasPrefix("ln_") }: "a norm"
    case name.contains("rotary") || name.contains("inv_freq") || name.contains("rope_"):
      "a rotary table"
    case names(
      words, ["wpe", "embed_positions", "position_embeddings", "position_embd", "pos_embed"]):
      "position embeddings"
    case names(words, ["token_types", "token_type_embeddings"]): "token type embeddings"
    // "gate" alone routes to experts; "gate_proj" is half of a feed-forward layer.
    case names(
      words, ["gate", "router", "ffn_gate_inp", "ffn_gate_inp_shexp", "shared_expert_gate"]):
      "a router"
    case words.contains { $0.hasPrefix("conv") || $0.hasPrefix("ssm_conv") || $0 == "conv1d" }:
      "a convolution"
    default: nil
    }
  }

  private static func names(_ words: [String], _ names: Set<String>) -> Bool {
    words.contains { names.contains($0) }
  }
}
