internal import Architectures
package import TensorModel

/// The tensors that llama-quantize leaves as they are, whatever the mix.
package enum NeverQuantized {
  /// Why a tensor of a GGUF model keeps its type; nil if a mix may quantize it.
  package static func reason(_ tensor: TensorInfo, architecture: String) -> String? {
    // llama.cpp does not count outer dimensions of 1.
    let rank = tensor.shape.dimensions.drop { $0 == 1 }.count
    if rank < 2 { return "a vector" }
    // llama-quantize cannot write these: it encodes the first three dimensions only.
    if rank > 3 { return "\(rank) dimensions" }
    guard tensor.name.hasSuffix("weight") else { return "not a weight" }
    if let reason = names[tensor.name] { return reason }
    if let part = parts.first(where: { tensor.name.contains(bytes: $0.text) }) {
      return part.reason
    }
    return NeverRounded.reason(tensor.name, inGGUFOf: architecture)
  }

  /// Whether a tensor gets at least 8 bits, whatever the rules of the mix.
  static func needsEightBits(_ name: String, architecture: String) -> Bool {
    architecture == "glm5-next" && sensitive.contains { name.contains(bytes: $0) }
  }

  private static let sensitive = ["attn_q_a", "attn_q_b", "nextn.eh_proj"]

  private static let names = [
    "position_embd.weight": "position embeddings", "token_types.weight": "token type embeddings",
  ]

  private static let timeMix = "a time mix of RWKV"
  private static let indexer = "an indexer"
  private static let sam = "a part of SAM"

  private static let parts: [(text: String, reason: String)] =
    [
      ("_norm.weight", "a norm"), ("ffn_gate_inp.weight", "a router"),
      ("ffn_gate_tid2eid.weight", "a router"), ("altup", "a part of AltUp"),
      ("laurel", "a part of LAuReL"),
      ("per_layer_model_proj", "a projection to per-layer inputs"),
      ("ssm_conv1d", "a convolution"), ("shortconv.conv.weight", "a convolution"),
      ("indexer.k_proj.weight", indexer), ("indexer.q_proj.weight", indexer),
      ("attn_rel_b.weight", "relative position biases"),
      (".position_embd", "position embeddings"), (".rel_pos", "position embeddings"),
      (".patch_embd", "patch embeddings"), (".patch_merger", "a patch merger"),
      ("sam.pos_embd", sam), ("sam.neck.", sam), ("sam.net_", sam),
      ("a.rvq.codebook", "a codebook"), ("mm.a.code_embd", "a codebook"),
    ]
    + [
      "first", "w0", "w1", "w2", "v0", "v1", "v2", "a0", "a1", "a2", "g1", "g2", "decay_w1",
      "decay_w2", "lerp_fused",
    ].map { ("time_mix_\($0).weight", timeMix) }
}
