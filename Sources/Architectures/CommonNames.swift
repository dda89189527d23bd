/// The tensor names that several architectures share.
enum CommonNames {
  typealias NamePairs = [Architecture.NamePair]

  /// The token embeddings and the last norm.
  static let ends: NamePairs = [
    ("model.embed_tokens", "token_embd"),
    ("model.norm", "output_norm"),
  ]

  /// The output head, which computes logits.
  static let head: NamePairs = [("lm_head", "output")]

  /// Attention with separate matrices for queries, keys and values.
  static let attention: NamePairs = [
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
  ]

  /// Norms of queries and keys.
  static let attentionNorms: NamePairs = [
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
  ]

  /// A gated feed-forward network.
  static let feedForward: NamePairs = [
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
  ]

  /// Norms before attention and before the feed-forward network.
  static let normsBefore: NamePairs = [
    ("input_layernorm", "attn_norm"),
    ("post_attention_layernorm", "ffn_norm"),
  ]

  /// Norms before and after attention and the feed-forward network.
  ///
  /// Here `post_attention_layernorm` is really the norm after attention.
  static let normsAround: NamePairs = [
    ("input_layernorm", "attn_norm"),
    ("post_attention_layernorm", "post_attention_norm"),
    ("pre_feedforward_layernorm", "ffn_norm"),
    ("post_feedforward_layernorm", "post_ffw_norm"),
  ]

  /// Norms after attention and the feed-forward network, and none before.
  static let normsAfter: NamePairs = [
    ("post_attention_layernorm", "post_attention_norm"),
    ("post_feedforward_layernorm", "post_ffw_norm"),
  ]

  /// A feed-forward network without a gate.
  static let plainFeedForward: NamePairs = feedForward.filter { $0.gguf != "ffn_gate" }

  /// What layers have besides that predict several tokens at once.
  static let prediction: NamePairs = [
    ("eh_proj", "nextn.eh_proj"), ("enorm", "nextn.enorm"), ("hnorm", "nextn.hnorm"),
    ("embed_tokens", "nextn.embed_tokens"), ("shared_head.head", "nextn.shared_head_head"),
    ("shared_head.norm", "nextn.shared_head_norm"),
  ]

  /// The inputs of all layers, which tokens have besides their embeddings.
  static let modelInputs: NamePairs = [
    ("model.embed_tokens_per_layer", "per_layer_token_embd"),
    ("model.per_layer_model_projection", "per_layer_model_proj"),
    ("model.per_layer_projection_norm", "per_layer_proj_norm"),
  ]

  /// How each layer uses its own inputs.
  static let layerInputs: NamePairs = [
    ("per_layer_input_gate", "inp_gate"), ("per_layer_projection", "proj"),
    ("post_per_layer_input_norm", "post_norm"),
  ]

  /// The router that chooses experts.
  static let router: NamePairs = [("mlp.gate", "ffn_gate_inp")]

  /// An expert that all tokens use, and what its outputs are weighed by.
  static let sharedExpert: NamePairs = [
    ("mlp.shared_expert_gate", "ffn_gate_inp_shexp"),
    ("mlp.shared_expert.gate_proj", "ffn_gate_shexp"),
    ("mlp.shared_expert.up_proj", "ffn_up_shexp"),
    ("mlp.shared_expert.down_proj", "ffn_down_shexp"),
  ]

  /// The stacks of experts in newer versions of transformers.
  static let stacks: [(huggingFace: String, gguf: [String])] = [
    ("mlp.experts.gate_up_proj", ["ffn_gate_exps.weight", "ffn_up_exps.weight"]),
    ("mlp.experts.down_proj", ["ffn_down_exps.weight"]),
  ]

  /// A feed-forward network of experts that all tokens use.
  static let sharedExperts: NamePairs = [
    ("mlp.shared_experts.gate_proj", "ffn_gate_shexp"),
    ("mlp.shared_experts.up_proj", "ffn_up_shexp"),
    ("mlp.shared_experts.down_proj", "ffn_down_shexp"),
  ]

  /// The same as a part of the feed-forward network.
  static let sharedNetwork: NamePairs = [
    ("mlp.shared_mlp.gate_proj", "ffn_gate_shexp"),
    ("mlp.shared_mlp.up_proj", "ffn_up_shexp"),
    ("mlp.shared_mlp.down_proj", "ffn_down_shexp"),
  ]

  /// The feed-forward network of each expert.
  static let experts: NamePairs = [
    ("mlp.experts.*.gate_proj", "ffn_gate_exps"),
    ("mlp.experts.*.up_proj", "ffn_up_exps"),
    ("mlp.experts.*.down_proj", "ffn_down_exps"),
  ]
}
