import Pleat
import TestSupport
import Testing

/// Which tensors of real models are quantized without rules.
@Suite struct RoleTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  static let quantized = "4-bit, groups of 32, F16 scale and bias"
  private static let square = [64, 64]
  private static let stack = [2, 64, 64]
  private static let vector = [64]

  /// Names and shapes of tensors, with the decision for a pleat file.
  static let models: [(String, [(String, [Int], String)])] = [
    (
      "llama",
      [
        ("model.embed_tokens.weight", square, "token embeddings"),
        ("model.layers.0.self_attn.q_proj.weight", square, quantized),
        ("model.layers.0.self_attn.k_proj.weight", square, quantized),
        ("model.layers.0.self_attn.o_proj.weight", square, quantized),
        ("model.layers.0.self_attn.q_proj.bias", vector, "a vector"),
        ("model.layers.0.self_attn.rotary_emb.inv_freq", vector, "a vector"),
        ("model.layers.0.mlp.gate_proj.weight", square, quantized),
        ("model.layers.0.mlp.down_proj.weight", square, quantized),
        ("model.layers.0.input_layernorm.weight", vector, "a vector"),
        ("model.norm.weight", vector, "a vector"),
        ("lm_head.weight", square, "the output head"),
      ]
    ),
    (
      "mixtral",
      [
        ("model.layers.0.block_sparse_moe.gate.weight", [8, 64], "a router"),
        ("model.layers.0.block_sparse_moe.experts.0.w1.weight", square, quantized),
        ("model.layers.0.block_sparse_moe.experts.7.w2.weight", square, quantized),
      ]
    ),
    (
      "qwen-moe",
      [
        ("model.layers.0.mlp.gate.weight", [8, 64], "a router"),
        ("model.layers.0.mlp.shared_expert_gate.weight", [1, 64], "a router"),
        ("model.layers.0.mlp.shared_expert.gate_proj.weight", square, quantized),
        ("model.layers.0.mlp.experts.3.up_proj.weight", square, quantized),
        ("model.layers.0.mlp.experts.gate_up_proj", stack, quantized),
        ("model.layers.0.self_attn.q_norm.weight", vector, "a vector"),
        ("model.layers.0.norm_table.weight", square, "a norm"),
      ]
    ),
    (
      "gpt2",
      [
        ("transformer.wte.weight", square, "token embeddings"),
        ("transformer.wpe.weight", square, "position embeddings"),
        ("transformer.h.0.attn.c_attn.weight", [64, 192], quantized),
        ("transformer.h.0.attn.bias", [1, 1, 64, 64], "4 dimensions"),
        ("transformer.h.0.mlp.c_fc.weight", square, quantized),
        ("transformer.h.0.ln_1.weight", vector, "a vector"),
        ("transformer.h.0.attn.masked_bias", [], "a vector"),
      ]
    ),
    (
      "bert",
      [
        ("bert.embeddings.word_embeddings.weight", square, "token embeddings"),
        ("bert.embeddings.position_embeddings.weight", square, "position embeddings"),
        ("bert.embeddings.token_type_embeddings.weight", [2, 64], "token type embeddings"),
        ("bert.encoder.layer.0.attention.self.query.weight", square, quantized),
      ]
    ),
    (
      "mamba",
      [
        ("backbone.layers.0.mixer.conv1d.weight", [64, 1, 4], "a convolution"),
        ("backbone.layers.0.mixer.A_log", square, "not a weight of a linear layer"),
        ("backbone.layers.0.mixer.in_proj.weight", square, quantized),
      ]
    ),
    (
      "gguf names",
      [
        ("token_embd.weight", square, "token embeddings"),
        ("blk.0.attn_q.weight", square, quantized),
        ("blk.0.attn_norm.weight", vector, "a vector"),
        ("blk.0.ffn_down.weight", square, quantized),
        ("blk.0.ffn_gate_inp.weight", [8, 64], "a router"),
        ("blk.0.ffn_gate_inp_shexp.weight", square, "a router"),
        ("blk.0.ffn_gate_exps.weight", stack, quantized),
        ("blk.0.attn_q.bias", square, "a bias"),
        ("rope_freqs.weight", square, "a rotary table"),
        ("position_embd.weight", square, "position embeddings"),
        ("output_norm.weight", square, "a norm"),
        ("output.weight", square, "the output head"),
        ("blk.1.ffn_norm.weight", [1, 96], "a norm"), ("blk.1.scale.weight", [1, 96], "a vector"),
        ("blk.1.scale_b.weight", [96, 1], "a vector"),
        ("blk.1.lerp_x.weight", [1, 1, 96], "a vector"),
        ("blk.1.lerp_y.weight", [96, 1, 1], "a vector"),
      ]
    ),
    (
      "routers",
      [
        ("a.ffn.router.layer.weight", square, "a router"),
        ("b.block_sparse_moe.primary_router.weight", square, "a router"),
        ("c.mlp.router.gate.weight", square, "a router"),
        ("d.router.classifier.weight", square, "a router"),
        ("e.mlp.gate.wg.weight", square, "a router"),
        ("blk.0.ffn_gate_tid2eid.weight", square, "a router"),
        ("f.mlp.experts.gate_up_proj_bias", [4, 128], "a bias"),
        ("f.mlp.experts.gate_up_proj", stack, quantized),
      ]
    ),
    (
      "rwkv",
      [
        ("blk.2.time_mix_w1.weight", [96, 64], "a time mix of RWKV"),
        ("blk.2.time_mix_g2.weight", square, "a time mix of RWKV"),
        ("blk.2.time_mix_decay_w2.weight", square, "a time mix of RWKV"),
        ("blk.2.time_mix_first.weight", [2, 32], "a time mix of RWKV"),
        ("blk.2.time_mix_key.weight", square, quantized),
        ("blk.2.channel_mix_key.weight", square, quantized),
        ("model.layers.2.attn.w_lora.lora.0.weight", square, "a time mix of RWKV"),
        ("model.layers.2.attention.a1.weight", square, "a time mix of RWKV"),
        ("model.layers.2.feed_forward.w1.weight", square, quantized),
      ]
    ),
    (
      "positions and convolutions",
      [
        ("enc.blk.0.attn_rel_b.weight", [32, 32], "relative position biases"),
        (
          "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", [32, 32],
          "relative position biases"
        ),
        ("deberta.encoder.rel_embeddings.weight", square, "position embeddings"),
        ("token_types.weight", [3, 64], "token type embeddings"),
        ("blk.0.ssm_conv1d_q.weight", [64, 32], "a convolution"),
        ("blk.0.shortconv.conv.weight", [64, 32], "a convolution"),
        ("blk.0.shortconv.in_proj.weight", square, quantized),
        ("blk.0.indexer.k_proj.weight", square, "an indexer"),
        ("blk.0.indexer.attn_k.weight", square, quantized),
      ]
    ),
    (
      "gemma3n",
      [
        ("altup_unembd_proj.weight", stack, "a part of AltUp"),
        ("model.language_model.altup_projections.1.weight", square, "a part of AltUp"),
        ("blk.0.altup_router.weight", [32, 64], "a router"),
        ("blk.0.laurel_r.weight", square, "a part of LAuReL"),
        (
          "model.language_model.layers.1.laurel.linear_left.weight", square, "a part of LAuReL"
        ),
        ("per_layer_model_proj.weight", square, "a projection to per-layer inputs"),
        (
          "model.language_model.per_layer_model_projection.weight", square,
          "a projection to per-layer inputs"
        ),
        ("per_layer_token_embd.weight", square, "token embeddings"),
        ("blk.0.inp_gate.weight", square, quantized),
      ]
    ),
    (
      "other embeddings",
      [
        ("gpt_neox.embed_in.weight", square, "token embeddings"),
        ("backbone.embeddings.weight", square, "token embeddings"),
        ("shared.weight", square, "token embeddings"),
        ("lm_head.weight", square, "the output head"),
        ("backbone.layers.0.mixer.in_proj.weight", square, quantized),
      ]
    ),
  ]

  @Test("a checkpoint may have a linear layer of one row, which gguf stores as a vector")
  func oneRow() throws {
    let names = [("a.weight", [1, 64]), ("b.weight", [64, 1]), ("c.weight", [64, 1, 1])]
    let plan = try Plan.quantizing(
      try Models.named(names, in: scratch, metadata: []), Recipe(),
      to: Destination(path: scratch.path("out.pleat"), format: .pleat))
    #expect(
      plan.decisions == [
        "a.weight": Self.quantized, "b.weight": "a vector", "c.weight": "a vector",
      ])
  }

  @Test("more matrices of glm5-next are kept than of other architectures") func glm() throws {
    let names = [("blk.0.hc_attn_up.weight", [64, 64]), ("blk.0.attn_k.weight", [64, 64])]
    for (architecture, isKept) in [("glm5-next", true), ("glm4", false)] {
      let plan = try Plan.quantizing(
        try Models.named(names, in: scratch, metadata: [("general.architecture", architecture)]),
        Recipe(), to: Destination(path: scratch.path("out.pleat"), format: .pleat))
      #expect(plan.jobs.map(\.target.isGrouped) == [!isKept, true])
    }
  }

  @Test("names and shapes decide which tensors are quantized", arguments: models)
  func decisions(model: String, tensors: [(String, [Int], String)]) throws {
    let source = try Models.named(tensors.map { ($0.0, $0.1) }, in: scratch)
    let plan = try Plan.quantizing(
      source, Recipe(), to: Destination(path: scratch.path("out.pleat"), format: .pleat))
    #expect(plan.jobs.map(\.source.name) == tensors.map(\.0))
    for (name, _, expected) in tensors {
      #expect(plan.decisions[name] == expected, "\(name)")
    }
  }

  @Test("in gguf, embeddings are quantized and the head gets 8 bits") func gguf() throws {
    let source = try Models.named(
      [
        ("token_embd.weight", [64, 64]), ("output.weight", [64, 64]),
        ("blk.0.up.weight", [64, 64]),
      ],
      in: scratch)
    let plan = try Plan.quantizing(
      source, Recipe(), to: Destination(path: scratch.path("out.gguf"), format: .gguf))
    #expect(
      plan.decisions == [
        "token_embd.weight": Self.quantized, "blk.0.up.weight": Self.quantized,
        "output.weight": "8-bit, groups of 32, F16 scale",
      ])
  }

  @Test("in gguf, tied embeddings get 8 bits") func tiedEmbeddings() throws {
    let source = try Models.named(
      [("token_embd.weight", [64, 64]), ("blk.0.up.weight", [64, 64])], in: scratch)
    let plan = try Plan.quantizing(
      source, Recipe(), to: Destination(path: scratch.path("out.gguf"), format: .gguf))
    #expect(plan.decisions["token_embd.weight"] == "8-bit, groups of 32, F16 scale")
  }
}
