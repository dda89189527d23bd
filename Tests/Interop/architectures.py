"""Small random models of every architecture, as Hugging Face folders."""

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import transformers
from architecture_tokenizers import TOKENIZERS
from architecture_weights import fill

DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}

# Every row is whole blocks of 32, and heads share keys and values.
SHAPE = dict(
    hidden_size=128,
    intermediate_size=192,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=512,
)
VOCABULARY = 416  # more than the tokenizers have, as in models that pad the vocabulary


@dataclass(frozen=True)
class Case:
    """A model: its config, its tokenizer, and the type of its weights."""

    name: str
    config: Callable[[], transformers.PretrainedConfig]
    tokenizer: str  # llama3, qwen2 or sentencepiece
    dtype: str = "BF16"
    # RoPE settings in the old form: the published configs of most models predate rope_parameters.
    rope: dict | None = None
    longer: dict = field(default_factory=dict)  # keys of config.json that the class does not have
    edit: Callable[[Path], None] | None = None  # a change of the saved folder
    shard: str = "1GB"
    auto: str = "AutoModelForCausalLM"  # the class of transformers that loads it
    options: tuple[str, ...] = ()  # for llama.cpp's converter

    def __str__(self) -> str:
        return self.name


def config_of(name: str, **values) -> Callable[[], transformers.PretrainedConfig]:
    return lambda: getattr(transformers, name)(**(SHAPE | dict(vocab_size=VOCABULARY) | values))


LLAMA3_ROPE = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LONG_ROPE = {
    "type": "longrope",
    "short_factor": [1.0 + 0.05 * i for i in range(16)],
    "long_factor": [1.5 + 0.25 * i for i in range(16)],
}
PARTIAL_ROPE = {key: value[:12] if key != "type" else value for key, value in LONG_ROPE.items()}
BPE = dict(bos_token_id=400, eos_token_id=401)
LLAMA = dict(rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2)
PHI = dict(rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=400, pad_token_id=400)
BPE_PHI = BPE | dict(pad_token_id=400, sliding_window=None, rms_norm_eps=1e-5)
EXPERTS = dict(moe_intermediate_size=96, num_experts=4, num_experts_per_tok=2)
OLMO = dict(pad_token_id=400, rms_norm_eps=1e-6)
GEMMA = dict(pad_token_id=0, eos_token_id=1, bos_token_id=2, head_dim=48, tie_word_embeddings=True)


def edited(remove: tuple[str, ...] = (), **values) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "config.json"
        config = json.loads(path.read_text())
        config = {key: value for key, value in config.items() if key not in remove} | values
        path.write_text(json.dumps(config, indent=2) + "\n")

    return edit


def _with_leftovers(folder: Path) -> None:
    """Adds the leftovers of old checkpoints: a tied head, and rotary tables."""
    path = folder / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    for layer in range(2):
        name = f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"
        tensors[name] = torch.arange(16, dtype=torch.float32)
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})


def _with_sampling(folder: Path) -> None:
    path = folder / "generation_config.json"
    config = json.loads(path.read_text()) | {"do_sample": True, "temperature": 0.6}
    config |= {"top_p": 0.9, "top_k": 20, "repetition_penalty": 1.05, "min_p": 0.0}
    path.write_text(json.dumps(config, indent=2) + "\n")


def _gemma3_with_pictures() -> transformers.PretrainedConfig:
    """A text model with mostly the defaults of its class, and a vision tower."""
    text = dict(
        hidden_size=128,
        intermediate_size=192,
        num_hidden_layers=2,
        sliding_window=24,
        vocab_size=VOCABULARY,
    )
    vision = dict(
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
    )
    whole = {key: value for key, value in GEMMA.items() if key != "head_dim"}
    whole |= dict(text_config=text, vision_config=vision, mm_tokens_per_image=4)
    return transformers.Gemma3Config(**whole)


def _publish_gemma3(folder: Path) -> None:
    """Keeps only the text config keys of the published Gemma 3 4B, and the small vocabulary."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    kept = ("hidden_size", "intermediate_size", "model_type", "num_hidden_layers")
    kept += ("sliding_window", "vocab_size")
    config["text_config"] = {key: config["text_config"][key] for key in kept}
    path.write_text(json.dumps(config, indent=2) + "\n")


CASES = [
    Case("llama", config_of("LlamaConfig", **LLAMA), "sentencepiece", "F16", {"theta": 10000.0}),
    Case(
        "llama-head-dim",
        config_of("LlamaConfig", head_dim=48, attention_bias=True, mlp_bias=True, **LLAMA),
        "sentencepiece",
        "F32",
    ),
    Case(
        "llama3-tied",
        config_of("LlamaConfig", tie_word_embeddings=True, rms_norm_eps=1e-5, **BPE),
        "llama3",
        rope={"theta": 500000.0, "scaling": LLAMA3_ROPE},
    ),
    Case(
        "llama-linear-rope",
        config_of("LlamaConfig", rms_norm_eps=1e-5, **BPE),
        "llama3",
        rope={"theta": 10000.0, "scaling": {"type": "linear", "factor": 2.0}},
    ),
    Case(
        "mistral",
        config_of("MistralConfig", sliding_window=None, head_dim=32, **LLAMA),
        "sentencepiece",
        rope={"theta": 1000000.0},
    ),
    Case(
        "mixtral",
        config_of(
            "MixtralConfig",
            sliding_window=None,
            num_local_experts=4,
            num_experts_per_tok=2,
            **LLAMA,
        ),
        "sentencepiece",
        rope={"theta": 1000000.0},
    ),
    Case("qwen2", config_of("Qwen2Config", **BPE), "qwen2", rope={"theta": 1000000.0}),
    Case(
        "qwen2-tied",
        config_of("Qwen2Config", tie_word_embeddings=True, **BPE),
        "qwen2",
        "F16",
    ),
    Case(
        "qwen2-yarn",
        config_of("Qwen2Config", **BPE),
        "qwen2",
        rope={
            "theta": 1000000.0,
            "scaling": {
                "type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 128,
            },
        },
    ),
    Case(
        "qwen3",
        config_of("Qwen3Config", head_dim=64, **BPE),
        "qwen2",
        rope={"theta": 1000000.0},
    ),
    Case(
        "qwen3-tied",
        config_of("Qwen3Config", head_dim=32, tie_word_embeddings=True, **BPE),
        "qwen2",
        "F32",
    ),
    Case("gemma", config_of("GemmaConfig", **GEMMA), "sentencepiece", rope={"theta": 10000.0}),
    Case(
        "gemma2",
        config_of(
            "Gemma2Config",
            sliding_window=24,
            num_hidden_layers=3,
            query_pre_attn_scalar=48,
            **GEMMA,
        ),
        "sentencepiece",
        rope={"theta": 10000.0},
    ),
    Case(
        "gemma3",
        config_of(
            "Gemma3TextConfig",
            sliding_window=24,
            num_hidden_layers=7,
            query_pre_attn_scalar=48,
            **GEMMA,
        ),
        "sentencepiece",
    ),
    Case(
        "phi3",
        config_of("Phi3Config", sliding_window=511, **PHI),
        "sentencepiece",
        rope={"theta": 10000.0},
        longer={"original_max_position_embeddings": 512},
    ),
    Case(
        "phi3-longrope",
        config_of("Phi3Config", sliding_window=4096, **PHI),
        "sentencepiece",
        rope={"theta": 10000.0, "scaling": LONG_ROPE},
        longer={"original_max_position_embeddings": 256},
    ),
    # Configs and files as in published models.
    Case(
        "llama2",
        config_of("LlamaConfig", **(LLAMA | {"num_key_value_heads": 4})),
        "sentencepiece",
        "F16",
        edit=edited(
            remove=(
                "rope_parameters",
                "num_key_value_heads",
                "head_dim",
                "attention_bias",
                "mlp_bias",
                "tie_word_embeddings",
            ),
            torch_dtype="float16",
        ),
    ),
    Case(
        "gemma3-pictures",
        _gemma3_with_pictures,
        "sentencepiece",
        edit=_publish_gemma3,
    ),
    Case(
        "llama3-sampling",
        config_of(
            "LlamaConfig",
            rope_parameters=LLAMA3_ROPE | {"rope_theta": 500000.0},
            head_dim=64,
            **(BPE | {"eos_token_id": [401, 400]}),
        ),
        "llama3",
        edit=_with_sampling,
    ),
    Case(
        "llama-leftovers",
        config_of("LlamaConfig", tie_word_embeddings=True, **LLAMA),
        "sentencepiece",
        "F16",
        edit=_with_leftovers,
    ),
    Case(
        "qwen3-shards",
        config_of("Qwen3Config", head_dim=128, **BPE),
        "qwen2",
        shard="200KB",
        edit=edited(remove=("head_dim",)),
    ),
    Case(
        "mistral-sliding",
        config_of("MistralConfig", sliding_window=4096, **LLAMA),
        "sentencepiece",
        rope={"theta": 10000.0},
        edit=edited(remove=("head_dim", "rope_scaling", "tie_word_embeddings")),
    ),
    Case(
        "phi4-mini",
        config_of("Phi3Config", tie_word_embeddings=True, partial_rotary_factor=0.75, **BPE_PHI),
        "llama3",
        rope={"theta": 10000.0, "scaling": PARTIAL_ROPE},
        longer={"original_max_position_embeddings": 256, "partial_rotary_factor": 0.75},
    ),
    Case(
        "gemma3-linear",
        config_of(
            "Gemma3TextConfig",
            sliding_window=24,
            num_hidden_layers=7,
            query_pre_attn_scalar=48,
            **GEMMA,
        ),
        "sentencepiece",
        edit=edited(
            remove=("rope_parameters", "layer_types"),
            rope_theta=1000000.0,
            rope_local_base_freq=10000.0,
            rope_scaling={"factor": 8.0, "rope_type": "linear"},
            sliding_window_pattern=6,
        ),
    ),
]


def make(case: Case, folder: Path) -> Path:
    """Writes the model; the result is the same every time."""
    config = case.config()
    path = folder / case.name
    if case.rope:  # a published config as current classes read it
        config = type(config)(
            **{
                key: value
                for key, value in config.to_dict().items()
                if key not in ("rope_parameters", "rope_scaling", "rope_theta")
            }
            | _rope(case)
            | case.longer
        )
    config._attn_implementation = "eager"
    model = getattr(transformers, case.auto).from_config(config, dtype=torch.float32)
    fill(model, zlib.crc32(case.name.encode()))
    model.to(DTYPES[case.dtype]).save_pretrained(path, max_shard_size=case.shard)
    if case.rope:
        _publish(path / "config.json", case)
    if case.edit:
        case.edit(path)
    TOKENIZERS[case.tokenizer](path, case.name, case.tokenizer)
    return path


def _rope(case: Case) -> dict:
    scaling = case.rope.get("scaling")
    return {"rope_theta": case.rope["theta"]} | ({"rope_scaling": scaling} if scaling else {})


def _publish(path: Path, case: Case) -> None:
    """Rewrites config.json in the form of older versions of transformers."""
    config = json.loads(path.read_text())
    config.pop("rope_parameters", None)
    config["torch_dtype"] = config.pop("dtype")
    config |= {"rope_scaling": None} | _rope(case) | case.longer
    path.write_text(json.dumps(config, indent=2) + "\n")


def tokens(count: int) -> np.ndarray:
    """Two rows of random tokens, without special ones."""
    return np.random.default_rng(1).integers(4, 380, (2, count))


def load(folder: Path, auto=None):
    """The model in float32, as transformers loads it; all tensors must be used."""
    if auto is None:
        config = json.loads((folder / "config.json").read_text())
        kind = "ImageTextToText" if "vision_config" in config else "CausalLM"
        auto = getattr(transformers, f"AutoModelFor{kind}")
    model, report = auto.from_pretrained(
        folder,
        dtype=torch.float32,
        attn_implementation="eager",
        local_files_only=True,
        output_loading_info=True,
    )
    # Transformers leaves out layers after the last one, which predict several tokens.
    after = f"model.layers.{getattr(model.config, 'num_hidden_layers', None)}."
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        keys = [key for key in report[problem] if not str(key).startswith(after)]
        assert not keys, f"transformers: {problem} {keys}"
    return model.eval()


def logits(folder: Path, rows: np.ndarray):
    """The logits that transformers computes in float32."""
    with torch.no_grad():
        return load(folder)(torch.from_numpy(rows)).logits.numpy()
