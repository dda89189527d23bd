"""More models of the architectures that pleat converts, for llama.cpp alone.

Its converter refuses most of them or leaves something out; others only have other keys.
"""

from pathlib import Path

import safetensors.torch
import transformers
from architectures import (
    BPE,
    EXPERTS,
    GEMMA,
    LLAMA,
    LONG_ROPE,
    OLMO,
    PHI,
    SHAPE,
    VOCABULARY,
    Case,
    config_of,
    edited,
)
from arranged_architectures import kimi_k25, llama4_with_pictures, publish_kimi
from expert_architectures import COHERE, LAGUNA
from gemma_architectures import SHARED_CASE

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}


def _without_model_prefix(folder: Path) -> None:
    """Names tensors as AutoModel does, whose models have no head."""
    path = folder / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    tensors = {name.removeprefix("model."): value for name, value in tensors.items()}
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})
    edited(architectures=["Qwen3Model"])(folder)


def _smolvlm() -> transformers.PretrainedConfig:
    text = SHAPE | LLAMA | dict(model_type="llama", vocab_size=VOCABULARY, pad_token_id=0)
    vision = dict(
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
    )
    return transformers.SmolVLMConfig(
        text_config=text, vision_config=vision, scale_factor=1, pad_token_id=0
    )


MORE_CASES = [
    # llama.cpp has no tied embeddings for these, so the output has a copy as its head.
    Case(
        "olmo2-tied",
        config_of("Olmo2Config", tie_word_embeddings=True, **(BPE | OLMO)),
        "qwen2",
        "F32",
    ),
    Case(
        "qwen2-moe-tied",
        config_of("Qwen2MoeConfig", tie_word_embeddings=True, **(BPE | EXPERTS)),
        "qwen2",
        "F32",
    ),
    Case(
        "llama-yarn-attention",
        config_of("LlamaConfig", rope_parameters=YARN | {"attention_factor": 1.3}, **LLAMA),
        "sentencepiece",
        "F32",
    ),
    Case(
        "qwen2-yarn-scales",
        config_of(
            "Qwen2Config", rope_parameters=YARN | {"mscale": 0.7, "mscale_all_dim": 1.2}, **BPE
        ),
        "qwen2",
        "F32",
    ),
    Case(
        "llama-yarn-limits",
        config_of(
            "LlamaConfig",
            rope_parameters=YARN | {"beta_fast": 8.0, "beta_slow": 0.5, "truncate": False},
            **LLAMA,
        ),
        "sentencepiece",
        "F32",
    ),
    Case(
        "phi3-stated-factors",
        config_of("Phi3Config", sliding_window=4096, **PHI),
        "sentencepiece",
        "F32",
        rope={"theta": 10000.0, "scaling": LONG_ROPE | {"factor": 3.0, "attention_factor": 1.4}},
        longer={"original_max_position_embeddings": 256},
    ),
    Case(
        "mixtral-default-base",
        config_of(
            "MixtralConfig",
            sliding_window=None,
            num_local_experts=4,
            num_experts_per_tok=2,
            **LLAMA,
        ),
        "sentencepiece",
        "F32",
        edit=edited(remove=("rope_parameters",)),
    ),
    Case(
        "gemma3-layers",
        config_of(
            "Gemma3TextConfig",
            sliding_window=24,
            num_hidden_layers=3,
            layer_types=["full_attention", "sliding_attention", "full_attention"],
            query_pre_attn_scalar=48,
            **GEMMA,
        ),
        "sentencepiece",
        "F32",
    ),
    Case(
        "gemma2-layers",
        config_of(
            "Gemma2Config",
            sliding_window=24,
            num_hidden_layers=3,
            layer_types=["full_attention"] * 2 + ["sliding_attention"],
            query_pre_attn_scalar=48,
            **GEMMA,
        ),
        "sentencepiece",
        "F32",
    ),
    Case(
        "qwen3-embedding",
        config_of("Qwen3Config", head_dim=64, tie_word_embeddings=True, **BPE),
        "qwen2",
        "F32",
        edit=_without_model_prefix,
    ),
    Case(
        "qwen2-all-tokens",
        config_of("Qwen2Config", is_causal=False, **BPE),
        "qwen2",
        "F32",
    ),
    SHARED_CASE,
    Case("llama4-pictures", llama4_with_pictures, "llama3", auto="AutoModelForImageTextToText"),
    Case(
        "kimi-k2.5",
        kimi_k25,
        "qwen2",
        auto="AutoModelForImageTextToText",
        edit=publish_kimi,
    ),
    Case(
        "cohere2-moe-softmax",
        config_of("Cohere2MoeConfig", rms_norm_eps=1e-5, tie_word_embeddings=False, **COHERE),
        "llama3",
        rope={"theta": 50000.0},
    ),
    Case(
        "laguna-elements",
        config_of(
            "LagunaConfig",
            gating="per-element",
            mlp_layer_types=["sparse"] * 5,
            **(
                LAGUNA
                | dict(layer_types=["full_attention", "sliding_attention"] * 2 + ["full_attention"])
            ),
        ),
        "qwen2",
    ),
    Case("smolvlm", _smolvlm, "sentencepiece", "F32", auto="AutoModelForImageTextToText"),
]
