package import TensorModel

/// The metadata keys of llama.cpp and their types.
///
/// They are those that the gguf package writes, without those of projectors (`clip.`).
package enum GGUFKeys {
  /// The type that llama.cpp gives to a key; nil if the key is unknown or holds an array.
  ///
  /// `architecture` is `general.architecture`, the first component of many keys.
  package static func type(of key: String, architecture: String?) -> MetadataType? {
    if key.hasPrefix(templatePrefix) { return .string }
    var components = key.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    if components[0] == architecture { components[0] = "*" }
    return table[components.map { Int($0) == nil ? $0 : "#" }.joined(separator: ".")]
  }

  /// Whether the value of a key is the number of a token.
  package static func isTokenID(_ key: String) -> Bool { key.hasSuffix("_token_id") }

  /// All known keys for an architecture, without those that contain a number.
  package static func known(architecture: String?) -> [String] {
    table.keys.filter { !$0.contains("#") }.compactMap { key in
      key.hasPrefix("*") ? architecture.map { $0 + key.dropFirst() } : key
    }.sorted()
  }

  /// The prefix of the keys of chat templates with names.
  private static let templatePrefix = "tokenizer.chat_template."

  // `*` stands for the architecture, `#` for a number.
  private static let table: [String: MetadataType] = Dictionary(
    uniqueKeysWithValues: [
      (
        MetadataType.string,
        """
        general.architecture general.type general.name general.author general.version \
        general.organization general.finetune general.basename general.description \
        general.quantized_by general.size_label general.license general.license.name \
        general.license.link general.url general.doi general.uuid general.repo_url \
        general.source.url general.source.doi general.source.uuid general.source.repo_url \
        general.base_model.#.name general.base_model.#.author general.base_model.#.version \
        general.base_model.#.organization general.base_model.#.description \
        general.base_model.#.url general.base_model.#.doi general.base_model.#.uuid \
        general.base_model.#.repo_url general.dataset.#.name general.dataset.#.author \
        general.dataset.#.version general.dataset.#.organization general.dataset.#.description \
        general.dataset.#.url general.dataset.#.doi general.dataset.#.uuid \
        general.dataset.#.repo_url general.sampling.sequence tokenizer.ggml.model \
        tokenizer.ggml.pre tokenizer.huggingface.json tokenizer.chat_template adapter.type \
        adapter.lora.task_name adapter.lora.prompt_prefix *.tensor_data_layout \
        *.rope.scaling.type
        """
      ),
      (
        .u32,
        """
        general.alignment general.file_type general.quantization_version \
        general.base_model.count general.dataset.count tokenizer.ggml.token_type_count \
        tokenizer.ggml.bos_token_id tokenizer.ggml.eos_token_id tokenizer.ggml.eot_token_id \
        tokenizer.ggml.eom_token_id tokenizer.ggml.unknown_token_id \
        tokenizer.ggml.seperator_token_id tokenizer.ggml.padding_token_id \
        tokenizer.ggml.mask_token_id tokenizer.ggml.fim_pre_token_id \
        tokenizer.ggml.fim_suf_token_id tokenizer.ggml.fim_mid_token_id \
        tokenizer.ggml.fim_pad_token_id tokenizer.ggml.fim_rep_token_id \
        tokenizer.ggml.fim_sep_token_id tokenizer.ggml.prefix_token_id \
        tokenizer.ggml.suffix_token_id tokenizer.ggml.middle_token_id *.vocab_size *.context_length *.embedding_length \
        *.embedding_length_out *.embedding_length_per_layer_input *.features_length \
        *.block_count *.leading_dense_block_count *.feed_forward_length \
        *.expert_feed_forward_length *.expert_shared_feed_forward_length \
        *.expert_chunk_feed_forward_length *.expert_count *.expert_used_count \
        *.expert_shared_count *.expert_group_count *.expert_group_used_count \
        *.expert_gating_func *.experts_per_group *.moe_every_n_layers *.moe_latent_size \
        *.nextn_predict_layers *.n_deepstack_layers *.pooling_type *.decoder_start_token_id \
        *.decoder_block_count *.rescale_every_n_layers *.time_mix_extra_dim \
        *.time_decay_extra_dim *.token_shift_count *.interleave_moe_layer_step \
        *.full_attention_interval *.altup.active_idx *.altup.num_inputs \
        *.attention.head_count *.attention.head_count_kv *.attention.key_length \
        *.attention.value_length *.attention.key_length_mla *.attention.value_length_mla \
        *.attention.key_length_swa *.attention.value_length_swa *.attention.group_norm_groups \
        *.attention.q_lora_rank *.attention.kv_lora_rank *.attention.decay_lora_rank \
        *.attention.iclr_lora_rank *.attention.value_residual_mix_lora_rank \
        *.attention.gate_lora_rank *.attention.relative_buckets_count \
        *.attention.sliding_window *.attention.temperature_length *.attention.shared_kv_layers \
        *.attention.indexer.head_count *.attention.indexer.key_length \
        *.attention.indexer.top_k *.rope.dimension_count *.rope.dimension_count_swa \
        *.rope.scaling.original_context_length *.ssm.conv_kernel *.ssm.inner_size \
        *.ssm.state_size *.ssm.time_step_rank *.ssm.group_count *.kda.head_dim *.wkv.head_size \
        *.posnet.embedding_length *.posnet.block_count *.convnext.embedding_length \
        *.convnext.block_count *.shortconv.l_cache
        """
      ),
      (.i32, "general.sampling.top_k general.sampling.penalty_last_n general.sampling.mirostat"),
      (
        .f32,
        """
        general.sampling.top_p general.sampling.min_p general.sampling.xtc_probability \
        general.sampling.xtc_threshold general.sampling.temp general.sampling.penalty_repeat \
        general.sampling.mirostat_tau general.sampling.mirostat_eta adapter.lora.alpha \
        *.expert_weights_scale *.expert_group_scale *.logit_scale *.attn_logit_softcapping \
        *.router_logit_softcapping *.final_logit_softcapping *.residual_scale \
        *.embedding_scale *.attention.max_alibi_bias *.attention.clamp_kqv \
        *.attention.layer_norm_epsilon *.attention.layer_norm_rms_epsilon \
        *.attention.group_norm_epsilon *.attention.scale *.attention.output_scale \
        *.attention.temperature_scale *.rope.freq_base *.rope.freq_base_swa \
        *.rope.scaling.factor *.rope.scaling.alpha *.rope.scaling.attn_factor \
        *.rope.scaling.yarn_log_multiplier *.rope.scaling.yarn_ext_factor \
        *.rope.scaling.yarn_attn_factor *.rope.scaling.yarn_beta_fast \
        *.rope.scaling.yarn_beta_slow
        """
      ),
      (
        .bool,
        """
        tokenizer.ggml.add_bos_token tokenizer.ggml.add_eos_token tokenizer.ggml.add_sep_token \
        tokenizer.ggml.add_space_prefix tokenizer.ggml.remove_extra_whitespaces \
        *.use_parallel_residual *.swin_norm *.expert_weights_norm *.attention.causal \
        *.rope.scaling.finetuned *.ssm.dt_b_c_rms
        """
      ),
    ].flatMap { type, keys in keys.split(separator: " ").map { (String($0), type) } })
}
