"""Small random models of the architectures with experts."""

from pathlib import Path

import safetensors.torch
import torch
from architectures import BPE, EXPERTS, LLAMA, OLMO, Case, config_of, edited

GLM = BPE | dict(
    pad_token_id=400,
    head_dim=32,
    rms_norm_eps=1e-5,
    n_routed_experts=4,
    num_experts_per_tok=2,
    moe_intermediate_size=96,
    routed_scaling_factor=1.5,
    num_hidden_layers=3,
    num_nextn_predict_layers=1,
)
SOLAR = {key: value for key, value in GLM.items() if not key.startswith("num_nextn")}
YARN = {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 256}
GRANITE = BPE | dict(
    attention_multiplier=0.0625,
    embedding_multiplier=4.0,
    residual_multiplier=0.5,
    logits_scaling=0.5,
    num_local_experts=4,
    num_experts_per_tok=2,
    rms_norm_eps=1e-6,
)
OLMOE = BPE | OLMO | dict(num_key_value_heads=4, rms_norm_eps=1e-5)  # as the converter assumes
EXAONE = BPE | dict(
    pad_token_id=400,
    head_dim=32,
    num_experts=4,
    num_experts_per_tok=2,
    moe_intermediate_size=96,
    num_shared_experts=2,
    routed_scaling_factor=1.5,
    first_k_dense_replace=1,
    num_hidden_layers=5,
    sliding_window=24,
)
AFMOE = {key: value for key, value in EXAONE.items() if not key.startswith(("first_k", "routed"))}
AFMOE |= dict(num_dense_layers=1, route_scale=1.5)
FULL_ROPE = dict(YARN, rope_theta=500000.0, original_max_position_embeddings=128)
MELLUM = (
    BPE
    | EXPERTS
    | dict(
        head_dim=64,
        num_hidden_layers=3,
        sliding_window=24,
        layer_types=["full_attention", "sliding_attention", "full_attention"],
        rope_parameters=dict(
            full_attention=FULL_ROPE,
            sliding_attention=dict(rope_type="default", rope_theta=500000.0),
        ),
    )
)

WIDE_HEAD = dict(num_attention_heads=1, num_key_value_heads=1, head_dim=128)
HY3 = (
    BPE
    | EXPERTS
    | dict(
        pad_token_id=400,
        head_dim=48,
        num_shared_experts=2,
        num_hidden_layers=3,
        router_scaling_factor=1.5,
    )
)
ROPES = dict(
    full_attention=dict(
        rope_type="yarn",
        rope_theta=500000.0,
        partial_rotary_factor=0.5,
        factor=4.0,
        original_max_position_embeddings=128,
    ),
    sliding_attention=dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=1.0),
)
LAGUNA = (
    BPE
    | EXPERTS
    | dict(
        pad_token_id=400,
        head_dim=32,
        num_hidden_layers=5,
        sliding_window=24,
        layer_types=["full_attention"] + ["sliding_attention"] * 3 + ["full_attention"],
        shared_expert_intermediate_size=160,
        moe_routed_scaling_factor=1.5,
        rope_parameters=ROPES,
    )
)
COHERE = BPE | dict(
    pad_token_id=400,
    logit_scale=1.0,
    head_dim=48,
    sliding_window=24,
    num_hidden_layers=5,
    num_experts=4,
    num_experts_per_tok=2,
    intermediate_size=96,
)


def with_unused_layer(folder: Path) -> None:
    """Adds tensors that transformers ignores: layers for the token after the next one."""
    path = folder / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    tensors["mtp.norm.weight"] = tensors["model.norm.weight"].clone()
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})


def with_small_embeddings(folder: Path) -> None:
    """Divides the embeddings by what the model multiplies them by."""
    path = folder / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    table = tensors["model.embed_tokens.weight"]
    tensors["model.embed_tokens.weight"] = table / table.shape[-1] ** 0.5
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})


def with_prediction_layer(folder: Path) -> None:
    """Adds a layer for the token after the next one, which transformers leaves out."""
    path = folder / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    generator = torch.Generator().manual_seed(7)

    def like(tensor: torch.Tensor, *shape: int) -> torch.Tensor:
        numbers = torch.randn(shape or tensor.shape, generator=generator)
        return (numbers * tensor.float().std()).to(tensor.dtype)

    last = {name: value for name, value in tensors.items() if name.startswith("model.layers.2.")}
    for name, value in last.items():
        tensors[name.replace("layers.2.", "layers.3.")] = like(value)
    norm, table = tensors["model.norm.weight"], tensors["model.embed_tokens.weight"]
    width = len(norm)
    for name in ("enorm", "hnorm", "shared_head.norm"):
        tensors[f"model.layers.3.{name}.weight"] = norm.clone()
    tensors["model.layers.3.eh_proj.weight"] = like(table, width, 2 * width)
    tensors["model.layers.3.embed_tokens.weight"] = like(table)
    tensors["model.layers.3.shared_head.head.weight"] = like(table)
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})


def with_expert_biases(folder: Path) -> None:
    """Gives random numbers to the biases of routers, which are zeros in a new model."""
    path = folder / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    generator = torch.Generator().manual_seed(14)
    for name, value in tensors.items():
        if name.endswith(("expert_bias", "e_score_correction_bias")):
            numbers = torch.randn(value.shape, generator=generator) * 0.3
            tensors[name] = numbers.to(value.dtype)
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})


def with_hunyuan_prediction_layer(folder: Path) -> None:
    """Adds a layer for the token after the next one, as Hy 3 has it."""
    with_expert_biases(folder)
    path = folder / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    generator = torch.Generator().manual_seed(13)
    last = {name: value for name, value in tensors.items() if name.startswith("model.layers.2.")}
    for name, value in last.items():
        tensors[name.replace("layers.2.", "layers.3.")] = value.flip(0).contiguous()
    norm = tensors["model.norm.weight"]
    for name in ("enorm", "hnorm", "final_layernorm"):
        tensors[f"model.layers.3.{name}.weight"] = norm.clone()
    numbers = torch.randn(len(norm), 2 * len(norm), generator=generator) * 0.02
    tensors["model.layers.3.eh_proj.weight"] = numbers.to(norm.dtype)
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})


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
        config_of("GraniteMoeConfig", **GRANITE),
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
    *(
        Case(
            name,
            config_of("Glm4MoeConfig", use_qk_norm=has_norms, attention_bias=True, **GLM),
            "glm4-moe",
            rope={"theta": 1000000.0},
            longer={"partial_rotary_factor": 0.5},
            edit=edit,
        )
        for name, has_norms, edit in (
            ("glm4-moe", True, edited(num_nextn_predict_layers=0)),
            ("glm4-moe-prediction", False, with_prediction_layer),
        )
    ),
    Case(
        "solar-open",
        config_of("SolarOpenConfig", attention_bias=True, **SOLAR),
        "solar",
        rope={"theta": 1000000.0, "scaling": YARN},
        longer=dict(
            first_k_dense_replace=0,
            intermediate_size=192,
            partial_rotary_factor=1.0,
            use_qk_norm=False,
        ),
    ),
    Case(
        "exaone-moe",
        config_of("ExaoneMoeConfig", **EXAONE),
        "qwen2",
        rope={"theta": 1000000.0},
        longer={"scoring_func": "sigmoid", "num_nextn_predict_layers": 0},
        edit=with_unused_layer,
    ),
    Case(
        "afmoe",
        config_of("AfmoeConfig", mup_enabled=True, **AFMOE),
        "llama3",
        rope={"theta": 10000.0},
        longer=dict(score_func="sigmoid", route_norm=True, n_group=1, topk_group=1),
        edit=with_small_embeddings,
    ),
    Case(
        "granite-moe-shared",
        config_of("GraniteMoeSharedConfig", shared_intermediate_size=160, **GRANITE),
        "llama3",
        rope={"theta": 10000.0},
    ),
    Case("mellum", config_of("MellumConfig", **MELLUM), "qwen2"),
    Case(
        "hunyuan-moe",
        config_of(
            "HunYuanMoEV1Config",
            num_experts=4,
            moe_topk=[2, 2],
            # What the converter asks for, if alpha makes the base larger.
            **(BPE | WIDE_HEAD | dict(max_position_embeddings=262144)),
        ),
        "qwen2",
        rope={"theta": 10000.0, "scaling": {"type": "dynamic", "alpha": 1000.0, "factor": 1.0}},
        longer=dict(moe_intermediate_size=[192] * 2, num_shared_expert=[1] * 2),
    ),
    Case(
        "hy3",
        config_of("HYV3Config", **HY3),
        "qwen2",
        rope={"theta": 11158840.0},
        edit=with_expert_biases,
    ),
    Case(
        "hy3-prediction",
        config_of("HYV3Config", **(HY3 | dict(num_shared_experts=1))),
        "qwen2",
        rope={"theta": 11158840.0},
        longer={"num_nextn_predict_layers": 1},
        edit=with_hunyuan_prediction_layer,
    ),
    Case("laguna", config_of("LagunaConfig", **LAGUNA), "qwen2", edit=with_expert_biases),
    Case(
        "cohere2-moe",
        config_of(
            "Cohere2MoeConfig",
            expert_selection_fn="sigmoid",
            num_shared_experts=2,
            prefix_dense_intermediate_size=160,
            first_k_dense_replace=1,
            **COHERE,
        ),
        "llama3",
        rope={"theta": 50000.0},
    ),
]
