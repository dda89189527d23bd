"""Small random models of the architectures with experts."""

from architectures import BPE, EXPERTS, LLAMA, OLMO, Case, config_of, edited

OLMOE = BPE | OLMO | dict(num_key_value_heads=4, rms_norm_eps=1e-5)  # as the converter assumes

EXPERT_CASES = [
    Case(
        "qwen2-moe",
        config_of("Qwen2MoeConfig", shared_expert_intermediate_size=160, **(BPE | EXPERTS)),
        "qwen2",
        rope={"theta": 1000000.0},
    ),
    Case(
        "qwen3-moe",
        config_of("Qwen3MoeConfig", head_dim=64, norm_topk_prob=True, **(BPE | EXPERTS)),
        "qwen2",
        rope={"theta": 1000000.0},
        edit=edited(num_experts=4),
    ),
    Case(
        "olmoe",
        config_of("OlmoeConfig", num_experts=4, num_experts_per_tok=2, **OLMOE),
        "qwen2",
        rope={"theta": 10000.0},
    ),
    Case(
        "minimax-m2",
        config_of(
            "MiniMaxM2Config",
            head_dim=32,
            num_local_experts=4,
            num_experts_per_tok=2,
            rms_norm_eps=1e-6,
            **BPE,
        ),
        "qwen2",
        rope={"theta": 5000000.0},
        longer={"rotary_dim": 16, "partial_rotary_factor": 0.5, "scoring_func": "sigmoid"},
    ),
    Case(
        "granite-moe",
        config_of(
            "GraniteMoeConfig",
            attention_multiplier=0.0625,
            embedding_multiplier=4.0,
            residual_multiplier=0.5,
            logits_scaling=0.5,
            num_local_experts=4,
            num_experts_per_tok=2,
            rms_norm_eps=1e-6,
            **BPE,
        ),
        "llama3",
        rope={"theta": 10000.0},
    ),
    Case(
        "dots1",
        config_of(
            "Dots1Config",
            n_routed_experts=4,
            n_shared_experts=2,
            num_experts_per_tok=2,
            first_k_dense_replace=1,
            num_hidden_layers=3,
            moe_intermediate_size=96,
            routed_scaling_factor=1.5,
            norm_topk_prob=True,
            sliding_window=None,
            rms_norm_eps=1e-6,
            **(BPE | dict(num_key_value_heads=4)),
        ),
        "qwen2",
        rope={"theta": 10000000.0},
        longer={"scoring_func": "sigmoid"},
    ),
    Case(
        "ernie4_5-moe",
        config_of(
            "Ernie4_5_MoeConfig",
            moe_num_experts=4,
            moe_k=2,
            moe_intermediate_size=96,
            moe_num_shared_experts=1,
            moe_layer_start_index=1,
            moe_layer_end_index=2,
            num_hidden_layers=3,
            **LLAMA,
        ),
        "sentencepiece",
        rope={"theta": 500000.0},
    ),
]
