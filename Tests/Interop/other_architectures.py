"""Small random models of the architectures without experts that came after the first ones."""

import random_models
from architectures import BPE, LLAMA, LLAMA3_ROPE, OLMO, Case, config_of

BPE_EXAONE = BPE | dict(pad_token_id=400, rms_norm_eps=1e-5)
NEMOTRON = dict(bos_token_id=1, eos_token_id=2, pad_token_id=0, head_dim=32)
BPE_SMOL = BPE | dict(pad_token_id=400)
HUNYUAN = BPE | dict(pad_token_id=400, max_position_embeddings=262144, eod_token_id=401)
PHI2 = BPE | dict(num_key_value_heads=4, intermediate_size=512)  # as the converter assumes
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}


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
]
