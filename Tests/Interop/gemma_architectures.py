"""Small random models of Gemma 3n and Gemma 4, whose layers have sizes by their kind."""

import json
from pathlib import Path

import safetensors.torch
import torch
import transformers
from architectures import GEMMA, SHAPE, VOCABULARY, Case, config_of

SLIDING, FULL = "sliding_attention", "full_attention"
# As in the small Gemma 4: inputs of each layer, and layers that share the keys and values of the
# last two that have their own.
SMALL = GEMMA | dict(
    head_dim=32,
    global_head_dim=64,
    num_hidden_layers=5,
    layer_types=[SLIDING, SLIDING, FULL, SLIDING, FULL],
    sliding_window=24,
    vocab_size_per_layer_input=VOCABULARY,
    hidden_size_per_layer_input=32,
    num_kv_shared_layers=2,
    use_double_wide_mlp=True,
    final_logit_softcapping=30.0,
)
# As in the large ones: keys are also the values in layers with full attention; experts.
LARGE = SMALL | dict(
    num_hidden_layers=2,
    layer_types=[SLIDING, FULL],
    hidden_size_per_layer_input=0,
    num_kv_shared_layers=0,
    use_double_wide_mlp=False,
    attention_k_eq_v=True,
    num_global_key_value_heads=1,
    enable_moe_block=True,
    num_experts=8,
    top_k_experts=2,
    moe_intermediate_size=96,
)
VISION = dict(
    hidden_size=32,
    intermediate_size=32,
    num_hidden_layers=1,
    num_attention_heads=2,
    num_key_value_heads=2,
    head_dim=16,
)
# llama.cpp divides by one number less where it computes how an activation deviates from the mean.
# The more numbers, the less that matters.
UPDATES = GEMMA | dict(
    head_dim=32,
    intermediate_size=2048,
    sliding_window=24,
    hidden_size_per_layer_input=256,
    laurel_rank=64,
)


def _without_towers() -> transformers.PretrainedConfig:
    left_out = ("hidden_size_per_layer_input", "vocab_size_per_layer_input", "top_k_experts")
    left_out += ("num_global_key_value_heads", "enable_moe_block", "moe_intermediate_size")
    text = SHAPE | LARGE | dict(vocab_size=VOCABULARY)
    text = {key: value for key, value in text.items() if key not in (*left_out, "num_experts")}
    return transformers.Gemma4UnifiedConfig(
        text_config=text,
        vision_config=dict(mm_embed_dim=32, output_proj_dims=32, mm_posemb_size=16),
        audio_config=dict(audio_embed_dim=32),
    )


def _publish_unified(folder: Path) -> None:
    """Adds what published models state, and the converter asks for."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["text_config"]["moe_intermediate_size"] = None
    path.write_text(json.dumps(config))
    path = folder / "generation_config.json"
    config = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(config | {"suppress_tokens": [6, 7]}))


def _with_pictures() -> transformers.PretrainedConfig:
    text = SHAPE | LARGE | dict(vocab_size=VOCABULARY)
    return transformers.Gemma4Config(text_config=text, vision_config=VISION, audio_config=None)


def _with_unused_keys(folder: Path) -> None:
    """Adds keys and values of layers that use those of others, as published models have them."""
    path = folder / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    for name, value in list(tensors.items()):
        if name.startswith("model.layers.19.self_attn.") and name.split(".")[4][0] in "kv":
            for layer in range(20, 22):
                tensors[name.replace("19", str(layer))] = torch.zeros_like(value)
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})


GEMMA_CASES = [
    Case("gemma4", config_of("Gemma4TextConfig", **SMALL), "gemma4"),
    Case("gemma4-experts", _with_pictures, "gemma4", "F16", auto="AutoModelForImageTextToText"),
    Case(
        "gemma3n",
        config_of(
            "Gemma3nTextConfig",
            num_hidden_layers=3,
            num_kv_shared_layers=0,
            activation_sparsity_pattern=[0.95] * 3,
            layer_types=[SLIDING, SLIDING, FULL],
            vocab_size_per_layer_input=VOCABULARY,
            **UPDATES,
        ),
        "sentencepiece",
    ),
]
UNIFIED_CASE = Case(
    "gemma4-unified",
    _without_towers,
    "gemma4",
    "F32",
    edit=_publish_unified,
    auto="AutoModelForImageTextToText",
)
# Tokens without inputs of the layers; the converter gives them zeros, not those of the first token.
SHARED_CASE = Case(
    "gemma3n-shared",
    config_of(
        "Gemma3nTextConfig",
        num_hidden_layers=22,
        num_kv_shared_layers=2,
        vocab_size_per_layer_input=200,
        **UPDATES,
    ),
    "sentencepiece",
    edit=_with_unused_keys,
)
