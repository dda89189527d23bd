"""Small random models with states or convolutions instead of attention in some layers."""

from architectures import BPE, Case, config_of, edited

LIQUID = BPE | dict(
    pad_token_id=400,
    num_hidden_layers=4,
    norm_eps=1e-5,
    layer_types=["conv", "full_attention", "conv", "conv"],
)
LIQUID_EXPERTS = dict(
    num_experts=4, num_experts_per_tok=2, moe_intermediate_size=96, num_dense_layers=1
)
FALCON = BPE | dict(
    pad_token_id=400,
    head_dim=32,
    mamba_d_ssm=192,
    mamba_n_heads=6,
    mamba_d_head=32,
    mamba_n_groups=2,
    mamba_d_state=32,
    mamba_norm_before_gate=False,
    embedding_multiplier=5.656854249492381,
    lm_head_multiplier=1.5,
    mlp_multipliers=[0.8838834764831844, 0.5859375],
    key_multiplier=0.390625,
    attention_out_multiplier=0.9375,
    attention_in_multiplier=1.25,
    ssm_multipliers=[0.3535533905932738, 0.25, 0.3535533905932738, 0.5, 0.3535533905932738],
    ssm_in_multiplier=1.25,
    ssm_out_multiplier=0.2357022603955158,
)
NEMOTRON = BPE | dict(
    pad_token_id=400,
    head_dim=48,
    mamba_num_heads=8,
    mamba_head_dim=32,
    n_groups=2,
    ssm_state_size=32,
    n_routed_experts=4,
    moe_intermediate_size=96,
    moe_shared_expert_intermediate_size=160,
    routed_scaling_factor=2.5,
    time_step_min=1e-9,
)
GRANITE = BPE | dict(
    pad_token_id=400,
    num_hidden_layers=3,
    layer_types=["linear_attention", "full_attention", "linear_attention"],
    mamba_n_heads=8,
    mamba_n_groups=2,
    mamba_d_state=32,
    embedding_multiplier=12.0,
    logits_scaling=0.5,
    residual_multiplier=0.22,
    attention_multiplier=0.0625,
    rms_norm_eps=1e-5,
)
MAMBA = BPE | dict(
    pad_token_id=400,
    num_hidden_layers=4,
    expand=3,
    num_heads=12,
    head_dim=32,
    n_groups=2,
    state_size=32,
)

RECURRENT_CASES = [
    Case(
        "lfm2",
        config_of("Lfm2Config", block_auto_adjust_ff_dim=False, **LIQUID),
        "qwen2",
        rope={"theta": 1000000.0},
    ),
    # As the first models were published. The feed-forward network has a width of 160.
    Case(
        "lfm2-old",
        config_of(
            "Lfm2Config", intermediate_size=200, block_multiple_of=32, conv_L_cache=4, **LIQUID
        ),
        "qwen2",
        edit=edited(
            remove=("rope_parameters", "intermediate_size"),
            rope_theta=1000000.0,
            block_ff_dim=200,
            full_attn_idxs=[1],
        ),
    ),
    Case("lfm2-moe", config_of("Lfm2MoeConfig", **LIQUID, **LIQUID_EXPERTS), "qwen2"),
    Case("falcon-h1", config_of("FalconH1Config", mamba_rms_norm=True, **FALCON), "qwen2"),
    Case("falcon-h1-plain", config_of("FalconH1Config", mamba_rms_norm=False, **FALCON), "qwen2"),
    Case(
        "nemotron-h-moe",
        config_of(
            "NemotronHConfig",
            layers_block_type=["linear_attention", "moe", "full_attention", "linear_attention"],
            **NEMOTRON,
        ),
        "qwen2",
    ),
    Case(
        "granite-h",
        config_of(
            "GraniteMoeHybridConfig",
            num_local_experts=0,
            num_experts_per_tok=0,
            shared_intermediate_size=192,
            **(GRANITE | dict(mamba_n_groups=1)),
        ),
        "qwen2",
        edit=edited(layer_types=["mamba", "attention", "mamba"]),
    ),
    Case(
        "granite-h-moe",
        config_of(
            "GraniteMoeHybridConfig", num_local_experts=4, shared_intermediate_size=160, **GRANITE
        ),
        "qwen2",
        edit=edited(layer_types=["mamba", "attention", "mamba"]),
    ),
    Case(
        "mamba2",
        config_of("Mamba2Config", **MAMBA),
        "qwen2",
        edit=edited(
            remove=(
                "intermediate_size",
                "num_attention_heads",
                "num_key_value_heads",
                "max_position_embeddings",
            )
        ),
    ),
]

# llama.cpp's converter takes every config that transformers reads for one with experts.
MORE_RECURRENT_CASES = [
    Case(
        "nemotron-h",
        config_of(
            "NemotronHConfig",
            layers_block_type=["linear_attention", "mlp", "full_attention", "linear_attention"],
            **NEMOTRON,
        ),
        "qwen2",
        edit=edited(
            remove=("num_experts_per_tok", "layers_block_type"), hybrid_override_pattern="M-*M"
        ),
    ),
]

# What mlx-lm does not compute for the models above is 1 in these.
PLAIN_ATTENTION = dict(attention_in_multiplier=1.0, key_multiplier=1.0)
MLX_CASES = [
    Case(
        "falcon-h1-mlx",
        config_of("FalconH1Config", mamba_rms_norm=False, **FALCON | PLAIN_ATTENTION),
        "qwen2",
    ),
    Case(
        "falcon-h1-norm-mlx",
        config_of(
            "FalconH1Config",
            mamba_rms_norm=True,
            **FALCON | PLAIN_ATTENTION | dict(mamba_n_groups=1),
        ),
        "qwen2",
    ),
    Case("mamba2-mlx", config_of("Mamba2Config", **MAMBA | dict(n_groups=1)), "qwen2"),
]
