"""Small random models of the architectures without experts that came after the first ones."""

import random_models
import transformers
from architectures import (
    BPE,
    LLAMA,
    LLAMA3_ROPE,
    OLMO,
    SHAPE,
    VOCABULARY,
    Case,
    config_of,
    edited,
)

BPE_EXAONE = BPE | dict(pad_token_id=400, rms_norm_eps=1e-5)
NEMOTRON = dict(bos_token_id=1, eos_token_id=2, pad_token_id=0, head_dim=32)
BPE_SMOL = BPE | dict(pad_token_id=400)
HUNYUAN = BPE | dict(pad_token_id=400, max_position_embeddings=262144, eod_token_id=401)
PHI2 = BPE | dict(num_key_value_heads=4, intermediate_size=512)  # as the converter assumes
# Queries of the 64 tokens of a test grow three times.
GROWTH = {"original_max_position_embeddings": 16, "llama_4_scaling_beta": 0.5}
MINISTRAL = BPE | dict(
    head_dim=48,
    rms_norm_eps=1e-5,
    rope_parameters={
        "rope_type": "yarn",
        "rope_theta": 1000000.0,
        "factor": 16.0,
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
        **GROWTH,
    },
)
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}
APERTUS = BPE | dict(
    pad_token_id=400,
    rms_norm_eps=1e-5,
    rope_parameters=dict(LLAMA3_ROPE, rope_theta=12000000.0),
)
HYBRID = BPE | dict(
    attention_multiplier=0.0625,
    embedding_multiplier=4.0,
    residual_multiplier=0.5,
    logits_scaling=0.5,
    shared_intermediate_size=192,
    num_local_experts=0,
    num_experts_per_tok=0,
    position_embedding_type="rope",
    layer_types=["full_attention"] * 2,
    mamba_n_heads=4,
)


def pictures(kind: str):
    """A model of Qwen with a vision tower, as random_models makes them."""
    model = random_models.Model(
        0, kind, "BF16", "no", "published", 128, 192, 4, 2, 32, 4, False, "everywhere"
    )

    def config():
        made = random_models.config(model)
        # llama.cpp rotates pairs in no section by position 0. Here, as in the real models, every
        # pair that matters is in one.
        made.text_config.rope_parameters["mrope_section"] = [6, 5, 5]
        return made

    return config


def _ministral3_with_pictures() -> transformers.PretrainedConfig:
    vision = dict(
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        head_dim=16,
        image_size=28,
        patch_size=14,
    )
    text = SHAPE | MINISTRAL | dict(model_type="ministral3", vocab_size=VOCABULARY)
    return transformers.Mistral3Config(text_config=text, vision_config=vision)


OTHER_CASES = [
    Case("olmo2", config_of("Olmo2Config", **(BPE | OLMO)), "qwen2", rope={"theta": 500000.0}),
    Case(
        "olmo3",
        config_of("Olmo3Config", sliding_window=24, num_hidden_layers=5, **(BPE | OLMO)),
        "qwen2",
        rope={"theta": 500000.0},
    ),
    Case(
        "olmo3-yarn",
        config_of(
            "Olmo3Config",
            sliding_window=24,
            layer_types=["full_attention", "sliding_attention"],
            **(BPE | OLMO),
        ),
        "qwen2",
        rope={"theta": 500000.0, "scaling": YARN},
    ),
    Case(
        "smollm3",
        config_of("SmolLM3Config", num_hidden_layers=5, rms_norm_eps=1e-6, **BPE_SMOL),
        "llama3",
        rope={"theta": 5000000.0},
    ),
    Case(
        "seed-oss",
        config_of("SeedOssConfig", head_dim=48, rms_norm_eps=1e-6, pad_token_id=0, **BPE),
        "qwen2",
        rope={"theta": 10000000.0},
    ),
    Case(
        "granite",
        config_of(
            "GraniteConfig",
            attention_multiplier=0.0625,
            embedding_multiplier=4.0,
            residual_multiplier=0.5,
            logits_scaling=0.5,
            tie_word_embeddings=True,
            rms_norm_eps=1e-5,
            **BPE,
        ),
        "llama3",
        rope={"theta": 10000000.0},
    ),
    Case(
        "arcee",
        config_of("ArceeConfig", head_dim=32, rms_norm_eps=1e-5, **BPE),
        "llama3",
        "F32",
        rope={"theta": 500000.0, "scaling": LLAMA3_ROPE},
    ),
    Case(
        "starcoder2",
        config_of("Starcoder2Config", sliding_window=None, **BPE),
        "qwen2",
        rope={"theta": 100000.0},
    ),
    Case(
        "glm4",
        config_of("Glm4Config", head_dim=32, pad_token_id=400, **BPE),
        "glm4",
        rope={"theta": 10000.0},
        longer={"partial_rotary_factor": 0.5},
    ),
    Case(
        "exaone4",
        config_of(
            "Exaone4Config", sliding_window=None, layer_types=["full_attention"] * 2, **BPE_EXAONE
        ),
        "qwen2",
        rope={"theta": 1000000.0, "scaling": LLAMA3_ROPE},
    ),
    Case(
        "exaone4-sliding",
        config_of(
            "Exaone4Config",
            sliding_window=24,
            sliding_window_pattern=4,
            num_hidden_layers=64,
            **(BPE_EXAONE | dict(hidden_size=64, intermediate_size=64)),
        ),
        "qwen2",
        rope={"theta": 1000000.0},
    ),
    Case("ernie4_5", config_of("Ernie4_5Config", head_dim=32, **LLAMA), "sentencepiece"),
    Case("nemotron", config_of("NemotronConfig", **NEMOTRON), "sentencepiece"),
    Case(
        "cohere",
        config_of("CohereConfig", logit_scale=1.0, pad_token_id=400, **BPE),
        "llama3",
        rope={"theta": 8000000.0},
    ),
    Case(
        "cohere2",
        config_of(
            "Cohere2Config",
            logit_scale=1.0,
            head_dim=32,
            sliding_window=24,
            num_hidden_layers=5,
            pad_token_id=400,
            **BPE,
        ),
        "llama3",
        rope={"theta": 50000.0},
        longer={"rotary_pct": 1.0},
    ),
    Case(
        "phi2",
        config_of("PhiConfig", layer_norm_eps=1e-5, **PHI2),
        "qwen2",
        rope={"theta": 10000.0},
        longer={"partial_rotary_factor": 0.5},
    ),
    Case(
        "stablelm",
        config_of("StableLmConfig", layer_norm_eps=1e-5, use_qkv_bias=True, **BPE),
        "qwen2",
        rope={"theta": 10000.0},
        longer={"partial_rotary_factor": 0.25},
    ),
    *(
        Case(name, pictures(kind), "qwen2", auto="AutoModelForImageTextToText")
        for name, kind in (
            ("qwen2-vl", "qwen2_vl"),
            ("qwen2.5-vl", "qwen2_5_vl"),
            ("qwen3-vl", "qwen3_vl"),
        )
    ),
    Case(
        "hunyuan-dense",
        config_of("HunYuanDenseV1Config", head_dim=32, rms_norm_eps=1e-5, **HUNYUAN),
        "qwen2",
        rope={"theta": 10000.0, "scaling": {"type": "dynamic", "alpha": 1000.0, "factor": 1.0}},
    ),
    Case("ministral3", config_of("Ministral3Config", **MINISTRAL), "llama3"),
    Case(
        "ministral3-pictures",
        _ministral3_with_pictures,
        "llama3",
        auto="AutoModelForImageTextToText",
    ),
    Case(
        "olmo",
        config_of("OlmoConfig", clip_qkv=1.5, pad_token_id=400, **BPE),
        "qwen2",
        rope={"theta": 10000.0},
    ),
    Case(
        "olmo-tied",
        config_of("OlmoConfig", tie_word_embeddings=True, pad_token_id=400, **BPE),
        "qwen2",
        "F16",
    ),
    Case(
        "internlm3",
        config_of("InternLM3Config", head_dim=48, **LLAMA),
        "sentencepiece",
        rope={"theta": 50000000.0, "scaling": {"rope_type": "dynamic", "factor": 6.0}},
        longer={"qkv_bias": False, "bias": False},
        edit=edited(architectures=["InternLM3ForCausalLM"]),
    ),
    Case(
        "glm",
        config_of("GlmConfig", head_dim=32, pad_token_id=400, rms_norm_eps=1e-5, **BPE),
        "glm4",
        rope={"theta": 10000.0},
        longer={"partial_rotary_factor": 0.5},
    ),
    Case(
        "granite-hybrid",
        config_of("GraniteMoeHybridConfig", **HYBRID),
        "llama3",
        rope={"theta": 10000.0},
        edit=edited(layer_types=["attention"] * 2),
    ),
    Case("apertus", config_of("ApertusConfig", **APERTUS), "llama3"),
    Case(
        "jais2",
        config_of("Jais2Config", head_dim=32, layer_norm_eps=1e-5, pad_token_id=400, **BPE),
        "qwen2",
        rope={"theta": 500000.0},
    ),
]
