"""Small random models with experts, in each form that transformers saves them in."""

import zlib
from dataclasses import dataclass, field
from pathlib import Path

import torch
import transformers
from architecture_weights import fill

# Every row is whole groups of 32; there are more experts than tokens choose.
SHAPE = dict(
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=160,
    max_position_embeddings=128,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
)
QWEN = dict(
    num_experts=5,
    num_experts_per_tok=2,
    moe_intermediate_size=32,
    shared_expert_intermediate_size=64,
    head_dim=16,
)
LOCAL = dict(num_local_experts=5, num_experts_per_tok=2)
SHARED = dict(
    n_routed_experts=4,
    num_experts_per_tok=2,
    moe_intermediate_size=32,
    n_shared_experts=1,
    n_group=1,
    topk_group=1,
    first_k_dense_replace=1,
    head_dim=16,
)
LATENT = SHARED | dict(
    num_key_value_heads=4,
    q_lora_rank=32,
    kv_lora_rank=32,
    qk_rope_head_dim=16,
    qk_nope_head_dim=32,
    v_head_dim=16,
)
# mlx-lm runs deepseek_v2 only with YaRN.
YARN = dict(
    rope_type="yarn",
    rope_theta=10000.0,
    factor=1.0,
    mscale=1.0,
    mscale_all_dim=1.0,
    original_max_position_embeddings=128,
)
LINEAR = dict(
    linear_num_key_heads=2,
    linear_num_value_heads=4,
    linear_key_head_dim=16,
    linear_value_head_dim=16,
    layer_types=["linear_attention", "full_attention"],
)
EXAONE = dict(
    num_experts=4,
    num_shared_experts=1,
    is_moe_layer=[False, True],
    sliding_window=64,
    layer_types=["sliding_attention", "full_attention"],
)
LIQUID = dict(
    num_experts=4,
    num_experts_per_tok=2,
    moe_intermediate_size=32,
    num_dense_layers=1,
    layer_types=["conv", "full_attention"],
)
NEMOTRON = dict(
    num_hidden_layers=3,
    layers_block_type=["mamba", "moe", "attention"],
    n_routed_experts=4,
    n_shared_experts=1,
    num_experts_per_tok=2,
    moe_intermediate_size=32,
    moe_shared_expert_intermediate_size=64,
    head_dim=16,
    mamba_num_heads=8,
    mamba_head_dim=16,
    ssm_state_size=16,
    n_groups=1,
    chunk_size=16,
)


@dataclass(frozen=True)
class Case:
    """A model type with its experts."""

    type: str
    values: dict = field(default_factory=dict)
    plain: tuple[str, ...] = ()  # matrices that stay plain numbers for mlx-lm

    def __str__(self) -> str:
        return self.type


CASES = [
    Case("qwen3_moe", QWEN),
    Case("qwen2_moe", QWEN),
    Case("qwen3_next", QWEN | LINEAR),
    Case("olmoe", dict(num_experts=5, num_experts_per_tok=2)),
    Case("mixtral", LOCAL),
    Case("phimoe", LOCAL | dict(attention_bias=True, lm_head_bias=True)),
    Case("minimax_m2", LOCAL | dict(head_dim=16, rotary_dim=8)),
    Case("deepseek_v2", LATENT | dict(topk_method="greedy", rope_parameters=YARN)),
    Case("deepseek_v3", LATENT, plain=("kv_b_proj",)),
    Case("glm4_moe", SHARED),
    Case("glm4_moe_lite", LATENT, plain=("kv_b_proj",)),
    Case("dots1", SHARED),
    Case("exaone_moe", SHARED | EXAONE),
    Case("laguna", QWEN),
    Case("mellum", QWEN),
    Case("granitemoe", LOCAL),
    Case("lfm2_moe", LIQUID),
    Case("nemotron_h", NEMOTRON),
]


def make(case: Case, folder: Path) -> dict[str, Path]:
    """Writes the model as published models are, and as transformers 5 holds it in memory."""
    config = transformers.CONFIG_MAPPING[case.type](**(SHAPE | case.values))
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    fill(model, zlib.crc32(case.type.encode()))
    paths = {}
    for form, is_original in (("separate", True), ("stacked", False)):
        paths[form] = folder / form
        model.save_pretrained(paths[form], save_original_format=is_original)
    return paths
