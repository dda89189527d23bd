package import Bytes

/// The keys of a `config.json` that some model types need, besides those that all have.
///
/// A model with experts has so many, and so many heads.
package func specialKeys(_ modelType: String, experts: Int, heads: Int) -> JSONValue {
  let count = JSONValue(experts)
  var members: [JSONValue.Member] = [
    .init("num_local_experts", count), .init("num_experts", count), .init("num_experts_per_tok", 2),
    .init("moe_intermediate_size", 48), .init("shared_expert_intermediate_size", 56),
    .init("norm_eps", .number(1e-5)), .init("norm_epsilon", .number(1e-5)),
    .init("layer_norm_eps", .number(1e-5)), .init("n_routed_experts", count),
    .init("n_shared_experts", 1), .init("routed_scaling_factor", .number(2.5)),
    .init("shared_intermediate_size", 56), .init("first_k_dense_replace", 0),
    .init("num_dense_layers", 0),
    .init("moe_num_experts", count), .init("moe_k", 2), .init("moe_layer_start_index", 0),
  ]
  if modelType == "qwen3_moe" { members.append(.init("norm_topk_prob", true)) }
  if modelType == "exaone4" { members.append(.init("sliding_window", .null)) }
  if ["olmoe", "dots1"].contains(modelType) {
    members.append(.init("num_key_value_heads", JSONValue(heads)))
  }
  if modelType == "granitemoehybrid" {
    members.removeAll { $0.key.hasSuffix("experts") }
    members += [
      .init("num_local_experts", 0), .init("position_embedding_type", "rope"),
      .init("layer_types", ["attention", "attention"]),
    ]
  }
  switch modelType {
  case "falcon_h1":
    members += [
      .init("mamba_d_ssm", 32), .init("mamba_n_heads", 4), .init("mamba_d_state", 4),
    ]
  case "nemotron_h":
    members += [
      .init("mamba_num_heads", 4), .init("mamba_head_dim", 8), .init("n_groups", 2),
      .init("ssm_state_size", 4), .init("layers_block_type", ["linear_attention", "mlp"]),
      .init("time_step_min", 0),
    ]
  case "mamba2":
    members += [.init("num_heads", 8), .init("n_groups", 2), .init("state_size", 4)]
  default: break
  }
  // llama.cpp does not scale what its experts compute.
  if ["lfm2_moe", "bailing_moe"].contains(modelType) {
    members.removeAll { $0.key == "routed_scaling_factor" }
  }
  if modelType == "mellum" {
    members.append(.init("layer_types", ["full_attention", "full_attention"]))
  }
  if modelType.hasPrefix("qwen3_5") || modelType == "qwen3_next" {
    members += [
      .init("layer_types", .null), .init("linear_num_key_heads", 2),
      .init("linear_num_value_heads", 4), .init("linear_key_head_dim", 4),
      .init("linear_value_head_dim", 4), .init("linear_conv_kernel_dim", 4),
    ]
  }
  if modelType.hasPrefix("deepseek") || ["kimi_k2", "glm4_moe_lite"].contains(modelType) {
    members += [
      .init("kv_lora_rank", 8), .init("qk_nope_head_dim", 4), .init("qk_rope_head_dim", 16),
      .init("v_head_dim", 4),
    ]
  }
  if modelType.hasPrefix("gemma4") {
    members += [
      .init("layer_types", .null), .init("hidden_size_per_layer_input", 0),
    ]
  }
  if modelType.hasPrefix("gemma3n") {
    members += [
      .init("layer_types", .null), .init("num_kv_shared_layers", 0),
      .init("activation_sparsity_pattern", [.number(0.95), .number(0.95)]),
      .init("final_logit_softcapping", 30),
    ]
  }
  if modelType.hasPrefix("qwen3_vl_moe") {
    members.append(.init("rope_parameters", ["mrope_section": [3, 3, 2]]))
  }
  if modelType.hasPrefix("llama4") {
    members.removeAll { $0.key == "num_experts_per_tok" }
    members += [
      .init("layer_types", .null), .init("intermediate_size_mlp", 72),
      .init("num_experts_per_tok", 1),
    ]
  }
  if modelType == "hunyuan_v1_moe" {
    members.removeAll { $0.key == "moe_intermediate_size" }
    members.append(.init("moe_topk", 2))
  }
  if modelType == "cohere2_moe" {
    members += [
      .init("layer_types", ["sliding_attention", "full_attention"]),
      .init("num_shared_experts", 1),
    ]
  }
  if modelType == "laguna" {
    let rope: JSONValue = ["rope_type": "default", "rope_theta": 10_000]
    members += [
      .init("layer_types", ["full_attention", "sliding_attention"]),
      .init("mlp_layer_types", ["sparse", "sparse"]),
      .init("rope_parameters", ["full_attention": rope, "sliding_attention": rope]),
    ]
  }
  // mlx-lm rotates whole heads of it.
  if modelType == "glm" { members.append(.init("partial_rotary_factor", 1)) }
  if modelType == "afmoe" {
    members += [.init("mup_enabled", true), .init("layer_types", .null)]
  }
  return .object(members)
}
