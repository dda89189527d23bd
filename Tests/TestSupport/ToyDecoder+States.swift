/// Toys whose layers have states.
extension ToyDecoder {
  private static let linearSizes =
    #""num_key_value_heads":1,"head_dim":16,"linear_num_key_heads":2,"linear_num_value_heads":4,"#
    + #""linear_key_head_dim":8,"linear_value_head_dim":8,"linear_conv_kernel_dim":4,"#
    + #""full_attention_interval":2,"tie_word_embeddings":false"#

  /// What linear attention has in all models, with 2 heads of 8 keys and 4 of 8 values.
  private static let linear: [(name: String, shape: [Int])] = [
    ("linear_attn.conv1d.weight", [64, 1, 4]), ("linear_attn.A_log", [4]),
    ("linear_attn.dt_bias", [4]), ("linear_attn.norm.weight", [8]),
    ("linear_attn.out_proj.weight", [width, 32]),
  ]

  private mutating func addGatedAttention(layer: Int) {
    add(
      layer: layer,
      Self.attention.map { tensor in
        tensor.name.contains("q_proj") ? (tensor.name, [2 * Self.width, Self.width]) : tensor
      } + Self.headNorms)
  }

  /// Linear attention, whose heads of values take keys in turn, and gates beside queries.
  static var qwen35: ToyDecoder {
    var toy = ToyDecoder("qwen3_5_text", linearSizes)
    for layer in 0..<2 {
      toy.add(
        layer: layer,
        norms(["input_layernorm", "post_attention_layernorm"]) + gated("mlp", projections))
    }
    toy.add(
      layer: 0,
      linear + [
        ("linear_attn.in_proj_qkv.weight", [64, width]),
        ("linear_attn.in_proj_z.weight", [32, width]),
        ("linear_attn.in_proj_a.weight", [4, width]), ("linear_attn.in_proj_b.weight", [4, width]),
      ])
    toy.addGatedAttention(layer: 1)
    toy.addEnds()
    return toy
  }

  /// The same with fused projections, and with experts.
  static var qwen3Next: ToyDecoder {
    var toy = ToyDecoder(
      "qwen3_next",
      linearSizes + #","num_experts":4,"num_experts_per_tok":2,"moe_intermediate_size":24,"#
        + #""shared_expert_intermediate_size":24,"norm_topk_prob":true"#)
    for layer in 0..<2 {
      toy.add(
        layer: layer,
        norms(["input_layernorm", "post_attention_layernorm"]) + experts()
          + gated("mlp.shared_expert", projections) + [
            ("mlp.gate.weight", [4, width]), ("mlp.shared_expert_gate.weight", [1, width]),
          ])
    }
    toy.add(
      layer: 0,
      linear + [
        ("linear_attn.in_proj_qkvz.weight", [96, width]),
        ("linear_attn.in_proj_ba.weight", [8, width]),
      ])
    toy.addGatedAttention(layer: 1)
    toy.addEnds()
    return toy
  }

  /// The tensors of Mamba 2 with so many rows of states in 4 heads, which are in 2 groups with states
  /// of 8 numbers.
  private static func mamba(_ inner: Int) -> [(name: String, shape: [Int])] {
    [
      ("mamba.in_proj.weight", [2 * inner + 32 + 4, width]),
      ("mamba.conv1d.weight", [inner + 32, 1, 4]), ("mamba.conv1d.bias", [inner + 32]),
      ("mamba.A_log", [4]), ("mamba.D", [4]), ("mamba.dt_bias", [4]),
      ("mamba.norm.weight", [inner]), ("mamba.out_proj.weight", [width, inner]),
    ]
  }

  private static let mambaSizes =
    #","num_key_value_heads":1,"mamba_n_heads":4,"mamba_n_groups":2,"mamba_d_state":8,"#
    + #""mamba_d_conv":4,"tie_word_embeddings":false"#

  /// Mamba 2 in one layer, and attention that does not rotate in the other one.
  static var graniteStates: ToyDecoder {
    var toy = ToyDecoder(
      "granitemoehybrid",
      #""layer_types":["mamba","attention"],"num_local_experts":0,"num_experts_per_tok":0,"#
        + #""shared_intermediate_size":24,"mamba_expand":2,"embedding_multiplier":3.0,"#
        + #""logits_scaling":2.0,"residual_multiplier":0.5,"attention_multiplier":0.25"#
        + mambaSizes)
    for layer in 0..<2 {
      toy.add(
        layer: layer,
        norms(["input_layernorm", "post_attention_layernorm"]) + [
          ("shared_mlp.input_linear.weight", [2 * inner, width]),
          ("shared_mlp.output_linear.weight", [width, inner]),
        ])
    }
    toy.add(layer: 0, mamba(2 * width))
    toy.add(layer: 1, attention)
    toy.addEnds()
    return toy
  }

  /// Attention and Mamba 2 side by side, and factors of weights.
  static var falcon: ToyDecoder {
    var toy = ToyDecoder(
      "falcon_h1",
      #""head_dim":16,"mamba_d_ssm":48,"mamba_d_head":12,"mamba_rms_norm":true,"#
        + #""mamba_norm_before_gate":false,"key_multiplier":0.5,"attention_in_multiplier":1.25,"#
        + #""ssm_multipliers":[0.5,0.25,0.5,0.75,0.5]"# + mambaSizes)
    for layer in 0..<2 {
      toy.add(
        layer: layer,
        norms(["input_layernorm", "pre_ff_layernorm"]) + gated("feed_forward", projections)
          + attention + mamba(48))
    }
    toy.addEnds(norm: "model.final_layernorm.weight")
    return toy
  }
}
