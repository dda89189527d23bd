"""Small random models of many architectures, as checkpoints in the forms that people publish.

A number chooses everything: the architecture, its sizes, the stored type, how embeddings and head
are tied, whether experts are stacked, and how tensors are named.
"""

import functools
import json
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path

import architectures
import numpy as np
import safetensors.torch
import torch
import transformers
from architecture_tokenizers import TOKENIZERS
from architecture_weights import fill
from architectures import BPE, DTYPES, GEMMA, LLAMA, PHI, VOCABULARY

WORDS = 400  # the tokenizers have these tokens; the ids above are special tokens and padding
QKVO = ["q_proj", "k_proj", "v_proj", "o_proj"]
GATED = ["gate_proj", "up_proj", "down_proj"]
STACKS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
VISION = dict(hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
VISION |= dict(image_size=28, patch_size=14)
QWEN_VISION = dict(image_token_id=410, video_token_id=411)
QWEN_VISION |= dict(vision_start_token_id=412, vision_end_token_id=413)


@dataclass(frozen=True)
class Family:
    """A kind of model, and what adapters can change in it."""

    config: str  # the class of the config, or of the config of the text model
    tokenizer: str
    values: dict
    linears: tuple[str, ...] = (*QKVO, *GATED)
    norms: tuple[str, ...] = ("input_layernorm", "norm")
    embeddings: str = "embed_tokens"
    gguf: bool = False  # whether pleat converts it to GGUF
    mlx: bool = True  # whether mlx-lm runs it
    always_tied: bool = False
    experts: tuple[str, str] | None = None  # the sizes in the config: how many, how many are used
    separate: tuple[str, ...] = ()  # the matrices of an expert in older checkpoints
    stacks: tuple[str, ...] = ()
    larger: str | None = None  # the class of the config of a model with a vision tower
    biased: tuple[str, ...] = ()  # linears with a bias

    @property
    def has_vision(self) -> bool:
        return self.larger is not None


def _moe(config: str, tokenizer: str, values: dict, experts=("num_experts", GATED), **rest):
    count, separate = experts
    return Family(
        config, tokenizer, values, tuple(QKVO), separate=tuple(separate), stacks=tuple(STACKS),
        experts=(count, "num_experts_per_tok"), **rest,
    )  # fmt: skip


QKV = ("q_proj", "k_proj", "v_proj")
_qwen_norms = ("input_layernorm", "norm", "q_norm", "k_norm")
_gemma = dict(gguf=True, always_tied=True)
_no_sliding = dict(sliding_window=None)
_sliding = dict(sliding_window=24)
_six_layers = _sliding | dict(num_hidden_layers=6)  # five with a window, and one without
FAMILIES = {
    "llama": Family("LlamaConfig", "sentencepiece", LLAMA, gguf=True),
    "mistral": Family("MistralConfig", "sentencepiece", LLAMA | _no_sliding, gguf=True),
    "qwen2": Family("Qwen2Config", "qwen2", BPE, gguf=True, biased=QKV),
    "qwen3": Family("Qwen3Config", "qwen2", BPE, norms=_qwen_norms, gguf=True),
    "gemma": Family("GemmaConfig", "sentencepiece", GEMMA, **_gemma),
    "gemma2": Family("Gemma2Config", "sentencepiece", GEMMA | _sliding, **_gemma),
    "gemma3_text": Family("Gemma3TextConfig", "sentencepiece", GEMMA | _six_layers, **_gemma),
    "phi3": Family(
        "Phi3Config", "sentencepiece", PHI, ("qkv_proj", "o_proj", "gate_up_proj", "down_proj"),
        gguf=True,
    ),
    "mixtral": _moe(
        "MixtralConfig", "sentencepiece", LLAMA | _no_sliding,
        ("num_local_experts", ["w1", "w2", "w3"]), gguf=True,
    ),
    "qwen2_moe": _moe("Qwen2MoeConfig", "qwen2", BPE, biased=QKV),
    "qwen3_moe": _moe("Qwen3MoeConfig", "qwen2", BPE, norms=_qwen_norms),
    "olmoe": _moe("OlmoeConfig", "qwen2", BPE | dict(pad_token_id=0)),
    "gpt_oss": _moe("GptOssConfig", "qwen2", BPE, ("num_local_experts", []), biased=tuple(QKVO)),
    "gpt2": Family(
        "GPT2Config", "qwen2", BPE, ("c_attn", "c_proj", "c_fc"), ("ln_1", "ln_f"), "wte",
        biased=("c_attn", "c_proj", "c_fc"),
    ),
    "olmo2": Family("Olmo2Config", "qwen2", BPE | dict(pad_token_id=0), norms=("norm", "q_norm")),
    "starcoder2": Family(
        "Starcoder2Config", "qwen2", BPE, (*QKVO, "c_fc", "c_proj"),
        biased=(*QKVO, "c_fc", "c_proj"),
    ),
    "gemma3": Family(
        "Gemma3TextConfig", "sentencepiece", GEMMA | _six_layers, larger="Gemma3Config", **_gemma
    ),
    "qwen2_vl": Family("Qwen2VLTextConfig", "qwen2", BPE, larger="Qwen2VLConfig", biased=QKV),
    "qwen2_5_vl": Family(
        "Qwen2_5_VLTextConfig", "qwen2", BPE, larger="Qwen2_5_VLConfig", biased=QKV
    ),
    "qwen3_vl": Family(
        "Qwen3VLTextConfig", "qwen2", BPE, norms=_qwen_norms, larger="Qwen3VLConfig"
    ),
    "llava": Family("LlamaConfig", "sentencepiece", LLAMA, larger="LlavaConfig"),
    "mistral3": Family(
        "MistralConfig", "sentencepiece", LLAMA | _no_sliding, larger="Mistral3Config"
    ),
}  # fmt: skip

# Most models are of the architectures that are converted to GGUF.
WEIGHTS = [3 if family.gguf else 2 for family in FAMILIES.values()]

# tied: one tensor for both. copy: the head is stored too, and is equal. other: the config says
# tied, but a head is stored that differs; transformers 5 then uses it.
TYINGS = {"no": 10, "tied": 6, "copy": 2, "other": 2}
# Where the config says so. text: only the config of the text model, of which some classes take no
# notice. absent: nowhere, if that means the same.
FLAGS = {"everywhere": 5, "top": 3, "text": 2, "absent": 2}
# published: as transformers saves them for older versions. classes: by the attributes of the
# classes of transformers 5, with stacked experts. bare: without `model.`.
NAMES = {"published": 10, "classes": 7, "bare": 3}


@dataclass(frozen=True)
class Model:
    seed: int
    kind: str
    dtype: str
    tying: str
    names: str
    hidden: int
    feed_forward: int
    heads: int
    key_heads: int
    head_dim: int
    used_experts: int
    shard: bool
    flag: str  # where the config says whether embeddings and head are tied

    @property
    def family(self) -> Family:
        return FAMILIES[self.kind]

    @property
    def tied(self) -> bool:
        return self.tying in ("tied", "copy")

    @property
    def routes(self) -> bool:
        """Whether a router chooses among experts."""
        return bool(self.family.experts) and self.used_experts < 4

    @property
    def stacked(self) -> bool:
        return self.names == "classes" or not self.family.separate

    def __str__(self) -> str:
        return f"{self.kind}-{self.dtype}-{self.names}-{self.tying}"


def _choose(rng: random.Random, weights: dict):
    return rng.choices(list(weights), list(weights.values()))[0]


def draw(seed: int) -> Model:
    rng = random.Random(seed)
    kind = rng.choices(list(FAMILIES), WEIGHTS)[0]
    family = FAMILIES[kind]
    tying = _choose(rng, TYINGS)
    names = _choose(rng, NAMES)
    if names == "bare" and (family.has_vision or family.stacks):
        names = "published"
    if family.always_tied and tying == "no":
        tying = "tied"
    hidden = rng.choice([64, 96, 128])
    heads = rng.choice([2, 4])
    dtype = rng.choice(["F32", "F32", "F16", "BF16"])
    feed_forward = rng.choice([80, 96, 128, 192])
    if family.stacks and rng.random() < 0.3:  # a square stack does not show its orientation
        feed_forward = hidden
    return Model(
        seed, kind, dtype, tying, names, hidden,
        feed_forward, heads, rng.choice([1, 2, heads]),
        hidden // heads if rng.random() < 0.5 else 32,
        # A router may choose another expert after rounding, so that most models use all experts.
        4 if dtype != "F32" else rng.choice([2, 4, 4, 4]), rng.random() < 0.1,
        _choose(rng, FLAGS),
    )  # fmt: skip


def config(model: Model) -> transformers.PretrainedConfig:
    family = model.family
    values = dict(num_hidden_layers=2) | family.values
    values |= dict(
        hidden_size=model.hidden,
        intermediate_size=model.feed_forward,
        num_attention_heads=model.heads,
        num_key_value_heads=model.key_heads,
        max_position_embeddings=512,
        vocab_size=VOCABULARY,
        head_dim=model.head_dim,
        tie_word_embeddings=model.tying != "no",
    )
    if family.experts:
        total, used = family.experts
        values |= {total: 4, used: model.used_experts}
        values |= {"moe_intermediate_size": model.feed_forward, "decoder_sparse_step": 1}
        values |= {"shared_expert_intermediate_size": 96}
        values["norm_topk_prob"] = model.kind != "qwen2_moe"  # mlx-lm knows no other
    fixed = ("Phi3", "Mixtral", "Qwen2", "Olmo", "Starcoder2", "Llama")
    if family.config.startswith(fixed):  # mlx-lm knows no other size of the heads
        values["head_dim"] = model.hidden // model.heads
    if model.kind.startswith("gemma"):  # llama.cpp has no other scale of the queries
        values["query_pre_attn_scalar"] = model.head_dim
    if model.kind == "gpt2":
        values |= dict(n_embd=model.hidden, n_layer=2, n_head=model.heads, n_positions=512)
    if model.kind.startswith("qwen") and family.larger:
        half = values["head_dim"] // 2
        section = [half - half // 4 * 2, half // 4, half // 4]
        values["rope_parameters"] = {"rope_type": "default", "rope_theta": 10000.0}
        values["rope_parameters"]["mrope_section"] = section
    text = getattr(transformers, family.config)(**values)
    return _larger(model, text) if family.larger else text


def _larger(model: Model, text) -> transformers.PretrainedConfig:
    tie = dict(tie_word_embeddings=model.tying != "no")
    make = getattr(transformers, model.family.larger)
    if model.kind == "gemma3":
        vision, rest = VISION, dict(mm_tokens_per_image=4)
    elif model.kind == "llava":
        vision = transformers.CLIPVisionConfig(**VISION, projection_dim=16)
        rest = dict(image_token_index=415)
    elif model.kind == "mistral3":
        vision, rest = transformers.PixtralVisionConfig(**VISION), dict(image_token_index=415)
    else:
        vision = dict(depth=1, hidden_size=32, intermediate_size=32, num_heads=2)
        vision["out_hidden_size"] = model.hidden
        rest = QWEN_VISION
        if model.kind == "qwen2_vl":
            vision = dict(depth=1, embed_dim=32, hidden_size=model.hidden, num_heads=2)
        if model.kind == "qwen2_5_vl":
            vision["fullatt_block_indexes"] = [0]
        if model.kind == "qwen3_vl":
            vision["deepstack_visual_indexes"] = [0]
    if model.kind not in ("llava", "mistral3"):
        text = text.to_dict()
    return make(text_config=text, vision_config=vision, **tie, **rest)


def _auto(larger: bool):
    name = "AutoModelForImageTextToText" if larger else "AutoModelForCausalLM"
    return getattr(transformers, name)


def make(model: Model, folder: Path) -> Path:
    """Writes the checkpoint and its tokenizer; the result is the same every time."""
    about = config(model)
    about._attn_implementation = "eager"
    made = _auto(model.family.has_vision).from_config(about, dtype=torch.float32)
    fill(made, model.seed)
    made = made.to(DTYPES[model.dtype])
    shard = "100KB" if model.shard and model.names != "bare" and model.tying != "copy" else "1GB"
    made.save_pretrained(
        folder, save_original_format=model.names != "classes", max_shard_size=shard
    )
    _publish(folder / "config.json", model)
    _store_head(model, folder)
    if model.names == "bare":
        _change(folder, lambda tensors: {_without_prefix(k): v for k, v in tensors.items()})
    for name, contents in _tokenizer(model.family.tokenizer, model.kind).items():
        (folder / name).write_bytes(contents)
    return folder


def _publish(path: Path, model: Model) -> None:
    """Adds the keys of older versions, which all published configs have and mlx-lm reads."""
    about = json.loads(path.read_text())
    for config in (about, about.get("text_config", {})):
        rope = config.get("rope_parameters") or {}
        if "rope_theta" in rope:
            config["rope_theta"] = rope["rope_theta"]
        if "full_attention" in rope:
            config["rope_theta"] = rope["full_attention"]["rope_theta"]
            config["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        if config.get("model_type") == "gpt2":
            config["n_ctx"] = config["n_positions"]
        if config.get("model_type") == "qwen3_moe":
            config.setdefault("num_experts", config.get("num_local_experts"))
    if about["model_type"] == "gemma3":
        about["vocab_size"] = VOCABULARY
    _flag(about, model)
    path.write_text(json.dumps(about, indent=2))


# The classes that look into the config of the text model too.
EITHER = ("qwen2_vl", "qwen2_5_vl", "llava")


def _flag(about: dict, model: Model) -> None:
    """Removes the flag where it is not needed."""
    key, text = "tie_word_embeddings", about.get("text_config", {})
    tied = model.tying != "no"
    if model.flag in ("top", "absent"):
        text.pop(key, None)
    default = getattr(transformers, model.family.larger or model.family.config)()
    if model.flag == "absent" and tied == default.tie_word_embeddings:
        about.pop(key, None)
    if model.flag == "text" and model.kind in EITHER:
        about.pop(key, None)
        text[key] = tied


def _without_prefix(name: str) -> str:
    return name.removeprefix("model.").removeprefix("transformer.")


def _change(folder: Path, change) -> None:
    path = folder / "model.safetensors"
    tensors = change(safetensors.torch.load_file(path))
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})


def _store_head(model: Model, folder: Path) -> None:
    """Stores a head beside tied embeddings."""
    if model.tying not in ("copy", "other"):
        return

    def change(tensors: dict) -> dict:
        end = f"{model.family.embeddings}.weight"
        name = next(name for name in tensors if name.endswith(end))
        head = tensors[name].clone()
        if model.tying == "other":
            generator = torch.Generator().manual_seed(model.seed + 1_000_000)
            head = torch.randn(head.shape, generator=generator) * head.float().std()
        larger = model.family.has_vision and name.startswith("language_model.model.")
        prefix = "language_model." if larger else ""
        return tensors | {f"{prefix}lm_head.weight": head.to(DTYPES[model.dtype])}

    for index in folder.glob("*.index.json"):  # one file is enough for these
        tensors = {}
        for part in sorted(folder.glob("model-*.safetensors")):
            tensors |= safetensors.torch.load_file(part)
            part.unlink()
        index.unlink()
        safetensors.torch.save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    _change(folder, change)


@functools.cache
def _tokenizer(kind: str, name: str) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        TOKENIZERS[kind](Path(folder), name, kind)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def load(folder: Path):
    """The model in float32, as transformers loads it; all tensors must be used."""
    larger = "vision_config" in json.loads((folder / "config.json").read_text())
    return architectures.load(folder, _auto(larger))


def logits(model, rows: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model(torch.from_numpy(rows)).logits.float().numpy()
