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
]
