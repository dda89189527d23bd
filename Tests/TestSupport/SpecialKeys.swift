package import Bytes

/// The keys of a `config.json` that some model types need, besides those that all have.
///
/// A model with experts has so many, and so many heads.
package func specialKeys(_ modelType: String, experts: Int, heads: Int) -> JSONValue {
  let count = JSONValue(experts)
  var members: [JSONValue.Member] = [
    .init("num_local_experts", count), .init("num_experts_per_tok", 2),
    .init("moe_intermediate_size", 48), .init("shared_expert_intermediate_size", 56),
    .init("norm_eps", .number(1e-5)), .init("norm_epsilon", .number(1e-5)),
    .init("layer_norm_eps", .number(1e-5)), .init("n_routed_experts", count),
    .init("n_shared_experts", 1), .init("routed_scaling_factor", .number(2.5)),
    .init("moe_num_experts", count), .init("moe_k", 2), .init("moe_layer_start_index", 0),
  ]
  if modelType == "qwen3_moe" { members.append(.init("norm_topk_prob", true)) }
  if modelType == "exaone4" { members.append(.init("sliding_window", .null)) }
  if ["olmoe", "dots1"].contains(modelType) {
    members.append(.init("num_key_value_heads", JSONValue(heads)))
  }
  return .object(members)
}
