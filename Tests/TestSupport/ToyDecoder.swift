import TensorModel

/// A small random checkpoint of an architecture: its config, and the shapes of its tensors.
package struct ToyDecoder: Sendable, CustomStringConvertible {
  package let modelType: String
  private var config: [String]
  private var tensors: [(name: String, shape: [Int])] = []

  package var description: String { modelType }

  /// The width, the number of tokens, and the inner width of all of them.
  package static let (width, tokenCount, inner) = (32, 40, 24)

  init(_ modelType: String, _ config: String, layerCount: Int = 2) {
    self.modelType = modelType
    self.config = [
      #""model_type":"\#(modelType)","vocab_size":\#(Self.tokenCount)"#,
      #""hidden_size":\#(Self.width),"intermediate_size":\#(Self.inner)"#,
      #""num_attention_heads":2,"num_hidden_layers":\#(layerCount),"max_position_embeddings":64"#,
      #""rms_norm_eps":1e-5,"rope_theta":10000"#, config,
    ]
    add("model.embed_tokens.weight", [Self.tokenCount, Self.width])
  }

  /// Writes it as a folder, and returns its path.
  package func write(to scratch: Scratch) throws -> String {
    try scratch.write("{\(config.joined(separator: ","))}", as: "\(modelType)/config.json")
    let toys = tensors.enumerated().map { index, tensor in
      // Weights of norms are near 1, so that activations keep their size.
      let isNorm = tensor.name.contains("norm")
      var random = Seeded(UInt64(index + 900))
      let values = random.weights(tensor.shape.reduce(1, *)).map { isNorm ? 1 + 0.1 * $0 : $0 }
      return Toy(tensor.name, .f32, tensor.shape, values)
    }
    try scratch.write(
      ToyFiles.safetensors(toys), as: "\(modelType)/model.safetensors")
    return scratch.path(modelType)
  }

  mutating func add(_ name: String, _ shape: [Int]) { tensors.append((name, shape)) }

  mutating func add(layer: Int, _ shapes: [(name: String, shape: [Int])]) {
    for (name, shape) in shapes { add("model.layers.\(layer).\(name)", shape) }
  }

  mutating func addEnds(norm: String? = "model.norm.weight") {
    if let norm { add(norm, [Self.width]) }
    add("lm_head.weight", [Self.tokenCount, Self.width])
  }

  static func gated(_ path: String, _ names: [String]) -> [(name: String, shape: [Int])] {
    [
      ("\(path).\(names[0]).weight", [inner, width]),
      ("\(path).\(names[1]).weight", [inner, width]),
      ("\(path).\(names[2]).weight", [width, inner]),
    ]
  }

  static let projections = ["gate_proj", "up_proj", "down_proj"]

  /// Projections of two heads of 16 numbers, with one head of keys.
  static let attention: [(name: String, shape: [Int])] = [
    ("self_attn.q_proj.weight", [width, width]), ("self_attn.k_proj.weight", [16, width]),
    ("self_attn.v_proj.weight", [16, width]), ("self_attn.o_proj.weight", [width, width]),
  ]
  static let headNorms: [(name: String, shape: [Int])] = [
    ("self_attn.q_norm.weight", [16]), ("self_attn.k_norm.weight", [16]),
  ]

  static func norms(_ names: [String]) -> [(name: String, shape: [Int])] {
    names.map { ("\($0).weight", [width]) }
  }

  static func experts() -> [(name: String, shape: [Int])] {
    (0..<4).flatMap { gated("mlp.experts.\($0)", projections) }
  }

  /// One of each kind of layer that differs from those of Llama.
  package static let all = [
    gptOSS, deepSeek, lfm2, olmo, apertus, afmoe, llama4, gemma4, gemma3n, qwen35, qwen3Next,
    graniteStates, falcon,
  ]

  /// Whether some of its layers have states.
  package var hasStates: Bool { tensors.contains { $0.name.hasSuffix(".A_log") } }

  /// Sinks, windows, and experts whose stacks are transposed.
  private static var gptOSS: ToyDecoder {
    var toy = ToyDecoder(
      "gpt_oss",
      #""num_key_value_heads":1,"head_dim":16,"num_local_experts":4,"num_experts_per_tok":2,"#
        + #""sliding_window":8,"attention_bias":true,"tie_word_embeddings":false"#)
    for layer in 0..<2 {
      toy.add(layer: layer, norms(["input_layernorm", "post_attention_layernorm"]) + attention)
      toy.add(
        layer: layer,
        [
          ("self_attn.q_proj.bias", [width]), ("self_attn.k_proj.bias", [16]),
          ("self_attn.v_proj.bias", [16]), ("self_attn.o_proj.bias", [width]),
          ("self_attn.sinks", [2]), ("mlp.router.weight", [4, width]), ("mlp.router.bias", [4]),
          ("mlp.experts.gate_up_proj", [4, width, 2 * inner]),
          ("mlp.experts.gate_up_proj_bias", [4, 2 * inner]),
          ("mlp.experts.down_proj", [4, inner, width]), ("mlp.experts.down_proj_bias", [4, width]),
        ])
    }
    toy.addEnds()
    return toy
  }

  /// Latent attention, and experts in groups after a layer without experts.
  private static var deepSeek: ToyDecoder {
    var toy = ToyDecoder(
      "deepseek_v3",
      #""q_lora_rank":16,"kv_lora_rank":16,"qk_nope_head_dim":8,"qk_rope_head_dim":8,"#
        + #""v_head_dim":12,"n_routed_experts":4,"num_experts_per_tok":2,"n_shared_experts":1,"#
        + #""moe_intermediate_size":24,"first_k_dense_replace":1,"n_group":2,"topk_group":1,"#
        + #""routed_scaling_factor":1.5,"norm_topk_prob":true,"tie_word_embeddings":false"#)
    for layer in 0..<2 {
      toy.add(layer: layer, norms(["input_layernorm", "post_attention_layernorm"]))
      toy.add(
        layer: layer,
        [
          ("self_attn.q_a_proj.weight", [16, width]), ("self_attn.q_a_layernorm.weight", [16]),
          ("self_attn.q_b_proj.weight", [32, 16]),
          ("self_attn.kv_a_proj_with_mqa.weight", [24, width]),
          ("self_attn.kv_a_layernorm.weight", [16]), ("self_attn.kv_b_proj.weight", [40, 16]),
          ("self_attn.o_proj.weight", [width, 24]),
        ])
    }
    toy.add(layer: 0, gated("mlp", projections))
    toy.add(layer: 1, experts() + gated("mlp.shared_experts", projections))
    toy.add(
      layer: 1, [("mlp.gate.weight", [4, width]), ("mlp.gate.e_score_correction_bias", [4])])
    toy.addEnds()
    return toy
  }

  /// A short convolution.
  private static var lfm2: ToyDecoder {
    var toy = ToyDecoder(
      "lfm2",
      #""num_key_value_heads":1,"layer_types":["conv","full_attention"],"norm_eps":1e-5,"#
        + #""block_auto_adjust_ff_dim":false,"conv_L_cache":3,"tie_word_embeddings":true"#)
    for layer in 0..<2 {
      toy.add(
        layer: layer,
        norms(["operator_norm", "ffn_norm"]) + gated("feed_forward", ["w1", "w3", "w2"]))
    }
    toy.add(
      layer: 0,
      [
        ("conv.conv.weight", [width, 1, 3]), ("conv.in_proj.weight", [3 * width, width]),
        ("conv.out_proj.weight", [width, width]),
      ])
    toy.add(
      layer: 1,
      attention.map { ($0.name.replacing("o_proj", with: "out_proj"), $0.shape) } + [
        ("self_attn.q_layernorm.weight", [16]), ("self_attn.k_layernorm.weight", [16]),
      ])
    toy.add("model.embedding_norm.weight", [width])
    return toy
  }

  /// Norms without weights, and queries, keys and values that are limited.
  private static var olmo: ToyDecoder {
    var toy = ToyDecoder(
      "olmo", #""num_key_value_heads":1,"clip_qkv":0.5,"tie_word_embeddings":false"#)
    for layer in 0..<2 { toy.add(layer: layer, attention + gated("mlp", projections)) }
    toy.addEnds(norm: nil)
    return toy
  }

  /// An activation with numbers of each layer.
  private static var apertus: ToyDecoder {
    var toy = ToyDecoder(
      "apertus", #""num_key_value_heads":1,"hidden_act":"xielu","tie_word_embeddings":false"#)
    for layer in 0..<2 {
      toy.add(
        layer: layer,
        norms(["attention_layernorm", "feedforward_layernorm"]) + attention + headNorms + [
          ("mlp.up_proj.weight", [inner, width]), ("mlp.down_proj.weight", [width, inner]),
          ("mlp.act_fn.alpha_p", [1]), ("mlp.act_fn.alpha_n", [1]), ("mlp.act_fn.beta", []),
          ("mlp.act_fn.eps", []),
        ])
    }
    toy.addEnds()
    return toy
  }

  /// Gates after attention, which only rotates in a window.
  private static var afmoe: ToyDecoder {
    var toy = ToyDecoder(
      "afmoe",
      #""num_key_value_heads":1,"head_dim":16,"num_experts":4,"num_experts_per_tok":2,"#
        + #""num_shared_experts":1,"moe_intermediate_size":24,"num_dense_layers":1,"#
        + #""sliding_window":8,"mup_enabled":true,"route_scale":2.5,"tie_word_embeddings":false"#)
    for layer in 0..<2 {
      toy.add(
        layer: layer,
        norms([
          "input_layernorm", "post_attention_layernorm", "pre_mlp_layernorm", "post_mlp_layernorm",
        ]) + attention + headNorms + [("self_attn.gate_proj.weight", [width, width])])
    }
    toy.add(layer: 0, gated("mlp", projections))
    toy.add(layer: 1, experts() + gated("mlp.shared_experts", projections))
    toy.add(layer: 1, [("mlp.router.gate.weight", [4, width]), ("mlp.expert_bias", [4])])
    toy.addEnds()
    return toy
  }

  /// Norms after the rotation, layers without it, and experts whose inputs are multiplied.
  private static var llama4: ToyDecoder {
    var toy = ToyDecoder(
      "llama4_text",
      #""num_key_value_heads":1,"head_dim":16,"num_local_experts":4,"num_experts_per_tok":2,"#
        + #""interleave_moe_layer_step":1,"intermediate_size_mlp":24,"tie_word_embeddings":false"#)
    for layer in 0..<2 {
      toy.add(layer: layer, norms(["input_layernorm", "post_attention_layernorm"]) + attention)
      toy.add(
        layer: layer,
        gated("feed_forward.shared_expert", projections) + [
          ("feed_forward.router.weight", [4, width]),
          ("feed_forward.experts.gate_up_proj", [4, width, 2 * inner]),
          ("feed_forward.experts.down_proj", [4, inner, width]),
        ])
    }
    toy.addEnds()
    return toy
  }

  /// Heads by the kind of layer, keys as values, shared keys, inputs of layers, and experts beside
  /// the network.
  private static var gemma4: ToyDecoder {
    var toy = ToyDecoder(
      "gemma4_text",
      #""num_key_value_heads":1,"head_dim":16,"global_head_dim":24,"sliding_window":8,"#
        + #""layer_types":["sliding_attention","full_attention","sliding_attention","#
        + #""full_attention"],"num_kv_shared_layers":2,"use_double_wide_mlp":true,"#
        + #""attention_k_eq_v":true,"hidden_size_per_layer_input":8,"#
        + #""vocab_size_per_layer_input":40,"enable_moe_block":true,"num_experts":4,"#
        + #""top_k_experts":2,"moe_intermediate_size":24,"final_logit_softcapping":30,"#
        + #""tie_word_embeddings":true"#, layerCount: 4)
    for layer in 0..<4 {
      let (isFull, isShared) = (layer % 2 == 1, layer >= 2)
      let size = isFull ? 24 : 16
      toy.add(
        layer: layer,
        norms([
          "input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm",
          "post_feedforward_layernorm", "pre_feedforward_layernorm_2",
          "post_feedforward_layernorm_1", "post_feedforward_layernorm_2",
          "post_per_layer_input_norm",
        ]) + [
          ("self_attn.q_proj.weight", [2 * size, width]), ("self_attn.q_norm.weight", [size]),
          ("self_attn.o_proj.weight", [width, 2 * size]), ("layer_scalar", [1]),
          ("per_layer_input_gate.weight", [8, width]), ("per_layer_projection.weight", [width, 8]),
          ("router.proj.weight", [4, width]), ("router.scale", [width]),
          ("router.per_expert_scale", [4]), ("experts.gate_up_proj", [4, 2 * inner, width]),
          ("experts.down_proj", [4, width, inner]),
        ])
      let rows = isShared ? 2 * inner : inner
      toy.add(
        layer: layer,
        [
          ("mlp.gate_proj.weight", [rows, width]), ("mlp.up_proj.weight", [rows, width]),
          ("mlp.down_proj.weight", [width, rows]),
        ])
      if isShared { continue }
      toy.add(
        layer: layer,
        [("self_attn.k_proj.weight", [size, width]), ("self_attn.k_norm.weight", [size])])
      if !isFull { toy.add(layer: layer, [("self_attn.v_proj.weight", [size, width])]) }
    }
    toy.add("model.embed_tokens_per_layer.weight", [tokenCount, 32])
    toy.add("model.per_layer_model_projection.weight", [32, width])
    toy.add("model.per_layer_projection_norm.weight", [8])
    toy.add("model.norm.weight", [width])
    return toy
  }

  /// Several states of a token, a way around attention, and activations of which most are 0.
  private static var gemma3n: ToyDecoder {
    var toy = ToyDecoder(
      "gemma3n_text",
      #""num_key_value_heads":1,"head_dim":16,"sliding_window":8,"num_kv_shared_layers":2,"#
        + #""layer_types":["sliding_attention","full_attention","sliding_attention","#
        + #""full_attention"],"activation_sparsity_pattern":[0.95,0,0.95,0],"#
        + #""hidden_size_per_layer_input":8,"vocab_size_per_layer_input":40,"altup_num_inputs":4,"#
        + #""final_logit_softcapping":30,"tie_word_embeddings":true"#, layerCount: 4)
    for layer in 0..<4 {
      toy.add(
        layer: layer,
        norms([
          "input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm",
          "post_feedforward_layernorm", "post_per_layer_input_norm", "altup.router_norm",
          "laurel.post_laurel_norm",
        ]) + attention.filter { layer < 2 || !$0.name.contains(/[kv]_proj/) }
          + headNorms.filter { layer < 2 || !$0.name.contains("k_norm") }
          + gated("mlp", projections) + [
            ("altup.correction_coefs.weight", [4, 4]), ("altup.prediction_coefs.weight", [16, 4]),
            ("altup.modality_router.weight", [4, width]), ("altup.correct_output_scale", [width]),
            ("laurel.linear_left.weight", [64, width]),
            ("laurel.linear_right.weight", [width, 64]),
            ("per_layer_input_gate.weight", [8, width]),
            ("per_layer_projection.weight", [width, 8]),
          ])
    }
    for index in 0..<3 {
      toy.add("model.altup_projections.\(index).weight", [width, width])
      toy.add("model.altup_unembed_projections.\(index).weight", [width, width])
    }
    toy.add("model.embed_tokens_per_layer.weight", [tokenCount, 32])
    toy.add("model.per_layer_model_projection.weight", [32, width])
    toy.add("model.per_layer_projection_norm.weight", [8])
    toy.add("model.norm.weight", [width])
    return toy
  }
}
