"""Small random models whose tensors llama.cpp arranges in another way."""

import json
from pathlib import Path

import safetensors.torch
import torch
import transformers
from architectures import BPE, LLAMA3_ROPE, SHAPE, VOCABULARY, Case, config_of, edited
from gemma_architectures import GEMMA_CASES

# Keys, values and queries of latent attention have heads of other sizes.
LATENT = BPE | dict(
    pad_token_id=400,
    num_key_value_heads=4,
    kv_lora_rank=64,
    qk_nope_head_dim=32,
    qk_rope_head_dim=16,
    v_head_dim=48,
    n_routed_experts=8,
    n_shared_experts=2,
    num_experts_per_tok=2,
    moe_intermediate_size=96,
    first_k_dense_replace=1,
    num_hidden_layers=3,
    routed_scaling_factor=1.5,
)
LATENT_ROPE = {
    "theta": 10000.0,
    "scaling": {
        "type": "yarn",
        "factor": 4.0,
        "beta_fast": 32,
        "beta_slow": 1,
        "mscale": 0.707,
        "mscale_all_dim": 0.707,
        "original_max_position_embeddings": 128,
    },
}
LINEAR = BPE | dict(
    pad_token_id=400,
    head_dim=32,
    num_hidden_layers=4,
    linear_num_key_heads=2,
    linear_num_value_heads=4,
    linear_key_head_dim=32,
    linear_value_head_dim=32,
    rms_norm_eps=1e-6,
    rope_parameters={
        "rope_type": "default",
        "rope_theta": 10000.0,
        "partial_rotary_factor": 0.5,
        "mrope_section": [4, 2, 2],
    },
)
NEXT = dict(rope_parameters=dict(rope_type="default", rope_theta=1e4, partial_rotary_factor=0.5))
WITHOUT_PREDICTION = ("--no-mtp",)  # the converter takes no model without the layer otherwise
QWEN_EXPERTS = dict(
    num_experts=4,
    num_experts_per_tok=2,
    moe_intermediate_size=96,
    shared_expert_intermediate_size=160,
)


EYE = dict(hidden_size=32, intermediate_size=32, num_heads=2, depth=1, patch_size=4)
PICTURES = dict(image_token_id=409, vision_start_token_id=411, vision_end_token_id=412)


def _qwen3_vl_moe() -> transformers.PretrainedConfig:
    text = (
        SHAPE
        | BPE
        | dict(
            vocab_size=VOCABULARY,
            num_experts=4,
            num_experts_per_tok=2,
            moe_intermediate_size=96,
            head_dim=32,
            tie_word_embeddings=False,
            rope_parameters={
                "rope_type": "default",
                "rope_theta": 10000.0,
                # Here every pair is in a section; llama.cpp rotates no others.
                "mrope_section": [6, 5, 5],
            },
        )
    )
    vision = EYE | dict(out_hidden_size=128, deepstack_visual_indexes=[0])
    return transformers.Qwen3VLMoeConfig(
        text_config=text,
        vision_config=vision,
        tie_word_embeddings=False,
        video_token_id=410,
        **PICTURES,
    )


def kimi_k25() -> transformers.PretrainedConfig:
    text = dict(model_type="deepseek_v3", q_lora_rank=64, n_group=4, topk_group=2)
    vision = dict(
        hidden_size=32,
        intermediate_size=32,
        num_attention_heads=2,
        num_hidden_layers=1,
        patch_size=4,
        pos_emb_height=4,
        pos_emb_width=4,
    )
    return transformers.Kimi_K25Config(
        text_config=SHAPE | LATENT | dict(vocab_size=VOCABULARY, tie_word_embeddings=False) | text,
        vision_config=vision,
        projection_hidden_size=32,
        tie_word_embeddings=False,
        image_token_id=409,
    )


def publish_kimi(folder: Path) -> None:
    """Names layers, class and model type as published models do."""
    path = folder / "config.json"
    config = json.loads(path.read_text()) | {"architectures": ["KimiK25ForConditionalGeneration"]}
    config["text_config"] |= {"model_type": "kimi_k2", "scoring_func": "sigmoid"}
    path.write_text(json.dumps(config, indent=2) + "\n")
    path = folder / "model.safetensors"
    # Transformers also gives the layers of the text model the names of those of the tower.
    tensors = {
        name.replace("language_model.model.blocks", "language_model.model.layers"): value
        for name, value in safetensors.torch.load_file(path).items()
    }
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})


def with_published_experts(folder: Path) -> None:
    """Transposes the stacks of experts, as Qwen publishes them."""
    path = folder / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    for name, value in tensors.items():
        if ".experts." in name:
            tensors[name] = value.transpose(1, 2).contiguous()
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})


# Experts in every second layer, and all kinds of attention.
LLAMA4 = BPE | dict(
    pad_token_id=400,
    head_dim=32,
    num_hidden_layers=5,
    num_local_experts=4,
    num_experts_per_tok=2,
    interleave_moe_layer_step=2,
    intermediate_size=96,
    intermediate_size_mlp=160,
    rope_parameters=dict(LLAMA3_ROPE, rope_theta=500000.0),
)


def llama4_with_pictures() -> transformers.PretrainedConfig:
    """With experts in all layers, one of them for a token, and without scaled angles."""
    vision = dict(
        hidden_size=32,
        intermediate_size=128,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        vision_output_dim=32,
        projector_input_dim=32,
        projector_output_dim=32,
    )
    rope = dict(rope_type="default", rope_theta=500000.0)
    changes = dict(interleave_moe_layer_step=1, num_experts_per_tok=1, rope_parameters=rope)
    text = SHAPE | dict(vocab_size=VOCABULARY) | LLAMA4 | changes
    return transformers.Llama4Config(
        text_config=text, vision_config=vision, image_token_index=409, boi_token_index=411
    )


def with_prediction_layer(folder: Path) -> None:
    """Adds the layer for the token after the next one under the names that Qwen publishes."""
    path = folder / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    generator = torch.Generator().manual_seed(11)
    last = {name: value for name, value in tensors.items() if name.startswith("model.layers.3.")}
    for name, value in last.items():
        tensors[name.replace("model.layers.3.", "mtp.layers.0.")] = value.flip(0).contiguous()
    width = len(tensors["model.norm.weight"])
    for name in ("norm", "pre_fc_norm_embedding", "pre_fc_norm_hidden"):
        tensors[f"mtp.{name}.weight"] = tensors["model.norm.weight"].clone()
    numbers = torch.randn(width, 2 * width, generator=generator) * 0.02
    tensors["mtp.fc.weight"] = numbers.to(torch.bfloat16)
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})


ARRANGED_CASES = [
    Case(
        "gpt-oss",
        config_of(
            "GptOssConfig",
            head_dim=32,
            num_local_experts=4,
            num_experts_per_tok=2,
            intermediate_size=96,
            sliding_window=24,
            rope_parameters={
                "rope_type": "yarn",
                "rope_theta": 150000.0,
                "factor": 4.0,
                "beta_fast": 32.0,
                "beta_slow": 1.0,
                "truncate": True,
                "original_max_position_embeddings": 128,
            },
            **(BPE | dict(pad_token_id=400)),
        ),
        "qwen2",
    ),
    Case(
        "deepseek2",
        config_of("DeepseekV2Config", q_lora_rank=64, norm_topk_prob=False, **LATENT),
        "qwen2",
        rope=LATENT_ROPE,
    ),
    # llama.cpp takes models of 27 layers for the small one, which does not compress queries.
    Case(
        "deepseek2-lite",
        config_of("DeepseekV2Config", q_lora_rank=None, **(LATENT | dict(num_hidden_layers=27))),
        "qwen2",
        rope={"theta": 10000.0},
    ),
    Case(
        "deepseek3",
        config_of("DeepseekV3Config", q_lora_rank=64, n_group=4, topk_group=2, **LATENT),
        "qwen2",
        rope=LATENT_ROPE | {"theta": 50000.0},
        longer={"scoring_func": "sigmoid"},
    ),
    Case(
        "glm4-moe-lite",
        config_of("Glm4MoeLiteConfig", q_lora_rank=64, **LATENT),
        "glm4-moe",
        rope={"theta": 1000000.0},
        edit=edited(first_k_dense_replace=1, scoring_func="sigmoid"),
    ),
    Case(
        "qwen3-vl-moe",
        _qwen3_vl_moe,
        "qwen2",
        auto="AutoModelForImageTextToText",
        edit=with_published_experts,
    ),
    Case("llama4", config_of("Llama4TextConfig", **LLAMA4), "llama3"),
    Case("qwen3.5", config_of("Qwen3_5TextConfig", **LINEAR), "qwen2", options=WITHOUT_PREDICTION),
    Case(
        "qwen3.5-prediction",
        config_of("Qwen3_5TextConfig", **(LINEAR | dict(linear_num_value_heads=6))),
        "qwen2",
        edit=with_prediction_layer,
    ),
    Case(
        "qwen3.5-moe",
        config_of("Qwen3_5MoeTextConfig", **QWEN_EXPERTS, **LINEAR),
        "qwen2",
        options=WITHOUT_PREDICTION,
    ),
    Case(
        "qwen3-next",
        config_of("Qwen3NextConfig", **QWEN_EXPERTS, **(LINEAR | NEXT)),
        "qwen2",
        options=WITHOUT_PREDICTION,
    ),
    *GEMMA_CASES,
]
