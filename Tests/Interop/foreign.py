"""Checkpoints of other quantizers: tiny models with the names, types and shapes of each tool.

Every checkpoint is the same plain model of one layer, with other tensors in the place of its linear
weights. Words are random. Their bytes stay below 64, so that every type reads finite numbers.
"""

import json
import math
import os
from pathlib import Path

import gptq_models
import numpy as np
import torch
from safetensors.torch import save_file

HIDDEN, WIDE, HEADS, VOCABULARY = 128, 256, 4, 4096
LINEARS = {
    "self_attn.q_proj": (HIDDEN, HIDDEN),
    "self_attn.k_proj": (HIDDEN, HIDDEN),
    "self_attn.v_proj": (HIDDEN, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HIDDEN),
    "mlp.gate_proj": (WIDE, HIDDEN),
    "mlp.up_proj": (WIDE, HIDDEN),
    "mlp.down_proj": (HIDDEN, WIDE),
}
LAYER = "model.layers.0."
GROUP = 32  # columns that share a scale

I8, I16, I32, I64 = torch.int8, torch.int16, torch.int32, torch.int64
U8, U16, U32 = torch.uint8, torch.uint16, torch.uint32
F16, BF16, F32 = torch.float16, torch.bfloat16, torch.float32
E4M3, E5M2, E8M0 = torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e8m0fnu

generator = np.random.default_rng(11)


def words(type: torch.dtype, *shape: int) -> torch.Tensor:
    """Random bytes below 64, as numbers of a type."""
    size = torch.empty(0, dtype=type).element_size()
    stream = generator.integers(0, 64, (max(math.prod(shape), 1), size), np.uint8)
    return torch.from_numpy(stream).view(type).reshape(shape)


def numbers(type: torch.dtype, *shape: int) -> torch.Tensor:
    """Random scales of the usual size."""
    values = generator.uniform(0.01, 0.05, shape).astype(np.float32)
    return torch.from_numpy(np.asarray(values)).to(type)


def text(value: str) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(value.encode(), np.uint8).copy())


def random_weight(shape: tuple, seed: int) -> torch.Tensor:
    values = np.random.default_rng(seed).normal(0, 0.1, shape)
    return torch.from_numpy(values.astype(np.float32)).to(BF16)


def plain_layers() -> dict[str, torch.Tensor]:
    """The linear weights of the plain model."""
    weights = enumerate(LINEARS.items())
    return {f"{LAYER}{path}.weight": random_weight(shape, seed) for seed, (path, shape) in weights}


def other_tensors() -> dict[str, torch.Tensor]:
    """The tensors that every tool leaves plain."""
    norms = ("model.norm", f"{LAYER}input_layernorm", f"{LAYER}post_attention_layernorm")
    plain = {f"{path}.weight": torch.ones(HIDDEN, dtype=BF16) for path in norms}
    return plain | {"model.embed_tokens.weight": random_weight((VOCABULARY, HIDDEN), 20)}


def config() -> dict:
    """The `config.json` of the plain model."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": WIDE,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "head_dim": HIDDEN // HEADS,
        "num_hidden_layers": 1,
        "vocab_size": VOCABULARY,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "max_position_embeddings": 512,
        "hidden_act": "silu",
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "dtype": "bfloat16",
    }


def gptq(r: int, c: int, version: str, bits: int = 4) -> dict:
    layer = gptq_models.Layer.random(generator, r, c, bits, GROUP)
    stored = layer.tensors("", version).items()
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in stored}


def hqq(codes: torch.Tensor, r: int, c: int) -> dict:
    """The state of HQQLinear 0.2.8, in which settings are tensors, too."""
    bits = 3 if codes.dtype == I32 else 4
    flags = dict.fromkeys(("quant_scale", "quant_zero", "offload_meta"), 0)
    flags |= dict.fromkeys(("encoded_state_dict", "stores_quant_config", "channel_wise"), 1)
    flags |= {"view_as_float": int(codes.dtype == BF16), "optimize": 1, "round_zero": 1}
    settings = {"nbits": bits, "group_size": GROUP, "axis": 1}
    state = {f".{name}": torch.tensor(value, dtype=U8) for name, value in flags.items()}
    state |= {f".{name}": torch.tensor(value, dtype=I32) for name, value in settings.items()}
    names = {"packing": "3bit_32" if bits == 3 else "4bit_u8", "compute_dtype": "torch.bfloat16"}
    state |= {f".{name}": text(value) for name, value in names.items()}
    scales = {f".{name}": numbers(BF16, r * c // GROUP, 1) for name in ("scale", "zero")}
    return state | scales | {".W_q": codes, ".shape": torch.tensor([r, c])}


def bnb4(type: torch.dtype, r: int, c: int, nested: bool = False, name: str = "nf4") -> dict:
    """Four bits of bitsandbytes: one column of words, statistics of blocks of 64 weights."""
    count = r * c // 2 // torch.empty(0, dtype=type).element_size()
    state = {
        ".weight": words(type, count, 1),
        ".weight.quant_map": numbers(F32, 16),
        f".weight.quant_state.bitsandbytes__{name}": text('{"quant_type": "nf4"}'),
        ".weight.absmax": words(U8, r * c // 64) if nested else numbers(F32, r * c // 64),
    }
    if nested:
        state[".weight.nested_absmax"] = numbers(F32, 1)
        state[".weight.nested_quant_map"] = numbers(F32, 256)
    return state


def beside(type: torch.dtype, name: str, scale: torch.dtype, rows: int, columns: int):
    """A weight of the usual shape, and one scale for every block of rows × columns."""

    def make(r: int, c: int) -> dict:
        extents = math.ceil(r / (rows or r)), math.ceil(c / (columns or c))
        return {".weight": words(type, r, c), name: numbers(scale, *extents)}

    return make


E, TWO = 4, 2 * WIDE  # experts, rows of gate and up together

# What stands in the place of the MLP of the layer, for tools that store all experts in one tensor.
STACKS = {
    "mxfp4 gpt-oss": {
        "gate_up_proj_blocks": (U8, E, TWO, HIDDEN // 32, 16),
        "gate_up_proj_scales": (U8, E, TWO, HIDDEN // 32),
        "down_proj_blocks": (U8, E, HIDDEN, WIDE // 32, 16),
        "down_proj_scales": (U8, E, HIDDEN, WIDE // 32),
    },
    "fp8 experts": {
        "gate_up_proj": (E4M3, E, TWO, HIDDEN),
        "gate_up_proj_scale_inv": (F32, E, TWO // 128, 1),
        "down_proj": (E4M3, E, HIDDEN, WIDE),
        "down_proj_scale_inv": (F32, E, 1, WIDE // 128),
    },
    "fp8 llama 4": {
        "gate_up_proj": (E4M3, E, HIDDEN, TWO),
        "gate_up_proj_scale": (F32, E, 1, TWO),
        "down_proj": (E4M3, E, WIDE, HIDDEN),
        "down_proj_scale": (F32, E, WIDE, 1),
    },
    "bitsandbytes experts": {
        "gate_up_proj": (U8, E * TWO * HIDDEN // 2, 1),
        "gate_up_proj.absmax": (F32, E * TWO * HIDDEN // 64),
        "gate_up_proj.quant_map": (F32, 16),
        "gate_up_proj.quant_state.bitsandbytes__nf4": (U8, 80),
        "down_proj": (U8, E * HIDDEN * WIDE // 2, 1),
        "down_proj.absmax": (F32, E * HIDDEN * WIDE // 64),
        "down_proj.quant_map": (F32, 16),
        "down_proj.quant_state.bitsandbytes__nf4": (U8, 80),
    },
    "mlx experts": {
        "gate_up_proj.weight": (U32, E, TWO, HIDDEN // 8),
        "gate_up_proj.scales": (BF16, E, TWO, HIDDEN // 32),
        "gate_up_proj.biases": (BF16, E, TWO, HIDDEN // 32),
        "down_proj.weight": (U32, E, HIDDEN, WIDE // 8),
        "down_proj.scales": (BF16, E, HIDDEN, WIDE // 32),
        "down_proj.biases": (BF16, E, HIDDEN, WIDE // 32),
    },
}

# What tools write under `quantization_config`, by the first word of a kind.
GROUPS = {"bits": 4, "group_size": GROUP}
SCHEME = {
    "targets": ["Linear"],
    "weights": {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group"}
    | {"group_size": GROUP},
}
SETTINGS = {
    "gptq": {"quant_method": "gptq", "desc_act": False, "sym": False} | GROUPS,
    "awq": {"quant_method": "awq", "zero_point": True, "version": "gemm"} | GROUPS,
    "ct": {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "config_groups": {"group_0": SCHEME},
    },
    "mlx": {"mode": "affine"} | GROUPS,
    "fp8": {"quant_method": "fp8", "weight_block_size": [128, 128]},
    "fp4": {"quant_method": "fp8", "weight_block_size": [128, 128]},
    "nvfp4": {"quant_method": "modelopt", "quant_algo": "NVFP4"},
    "bitsandbytes": {"quant_method": "bitsandbytes", "load_in_4bit": True},
    "mxfp4": {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]},
    "transformers": {"quant_method": "metal"} | GROUPS,
    "quip#": {"quant_method": "quip", "codebook": "E8P12"},
}


def settings(kind: str) -> dict:
    """The object that the tool of a kind writes."""
    tool, _, rest = kind.partition(" ")
    found = dict(SETTINGS.get(tool, {"quant_method": tool.rstrip(",")}))
    if tool == "gptq":
        found["bits"] = int(rest[0]) if rest[0] in "38" else 4
        found["checkpoint_format"] = {"v2": "gptq_v2", "marlin": "marlin"}.get(rest, "gptq")
    if tool == "awq":
        found["version"] = rest
    if tool == "ct":
        found["format"] = rest.partition(",")[0]
        if "zero points" in rest:
            weights = SCHEME["weights"] | {"symmetric": False}
            found["config_groups"] = {"group_0": SCHEME | {"weights": weights}}
    if tool == "mlx" and rest in ("mxfp4", "mxfp8", "nvfp4"):
        found |= {"mode": rest, "bits": 8 if rest == "mxfp8" else 4}
        found["group_size"] = 16 if rest == "nvfp4" else 32
    return found


def with_settings(found: dict | None) -> dict:
    """A `config.json`. MLX uses two keys."""
    keys = ("quantization", "quantization_config") if found and "mode" in found else ()
    return config() | {key: found for key in keys or ("quantization_config",)}


def inside(*keys: str):
    """The settings in a part of the config, as multimodal models have them."""

    def make(found: dict) -> dict:
        part = with_settings(found)
        for key in reversed(keys):
            part = {key: part}
        return {"config.json": config() | part}

    return make


def apart(name: str, key: str | None = None):
    """The settings in a file of their own."""
    return lambda found: {"config.json": config(), name: {key: found} if key else found}


def of(tool: str):
    return lambda found: {"config.json": with_settings(SETTINGS[tool])}


def damaged(change):
    return lambda found: {"config.json": change(json.dumps(with_settings(found)))}


# The documents beside the weights: JSON or text by file name.
CONFIGS = {
    "intact": lambda found: {"config.json": with_settings(found)},
    "removed": lambda found: {"config.json": config()},
    "null": lambda found: {"config.json": config() | {"quantization_config": None}},
    "empty": lambda found: {"config.json": config() | {"quantization_config": {}}},
    "in text_config": inside("text_config"),
    "in llm_config": inside("llm_config"),
    "in language_config": inside("language_config"),
    "in thinker_config": inside("thinker_config", "text_config"),
    "in quantize_config.json": apart("quantize_config.json"),
    "in quant_config.json": apart("quant_config.json"),
    "in hf_quant_config.json": apart("hf_quant_config.json", "quantization"),
    "not JSON": damaged(lambda text: "hello"),
    "truncated": damaged(lambda text: text[:-20]),
    "Infinity": damaged(lambda text: text.replace("10000.0", "Infinity")),
    "NaN": damaged(lambda text: text.replace("10000.0", "NaN")),
    "unknown method": lambda found: {
        "config.json": config() | {"quantization_config": {"quant_method": "fp9"}}
    },
    "as gptq": of("gptq"),
    "as awq": of("awq"),
    "as compressed-tensors": of("ct"),
    "as mlx": of("mlx"),
    "deleted": lambda found: {},
}


def checkpoint(kind: str) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint, the same in every call."""
    import foreign_kinds  # which imports this module

    global generator
    generator = np.random.default_rng(list(kind.encode()))
    tensors = other_tensors()
    if kind in STACKS:
        layers = plain_layers().items()
        tensors |= {name: weight for name, weight in layers if ".mlp." not in name}
        for name, (type, *shape) in STACKS[kind].items():
            tensors[f"{LAYER}mlp.experts.{name}"] = words(type, *shape)
        return tensors
    for path, shape in LINEARS.items():
        parts = foreign_kinds.KINDS[kind](*shape)
        tensors |= {f"{LAYER}{path}{suffix}": part for suffix, part in parts.items()}
    return tensors


def write(folder: Path, weights: Path, documents: dict, tokenizer: Path) -> Path:
    """Writes a folder. The weights and the tokenizer are links."""
    folder.mkdir(parents=True)
    os.link(weights, folder / "model.safetensors")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).symlink_to(tokenizer / name)
    for name, content in documents.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name).write_text(text)
    return folder


def save(tensors: dict, path: Path) -> Path:
    save_file(tensors, path, {"format": "pt"})
    return path


def masks(type: torch.dtype):
    lower = torch.ones(16, 16, dtype=torch.bool).tril()
    return lower.reshape(1, 1, 16, 16).to(type)


# Tensors of real models that are no weights, though some are matrices of integers. All except the
# last three are buffers of transformers 5.23, or were in earlier versions.
CONTROLS = {
    "position_ids (CLIP, BROS)": lambda: {
        "vision_model.embeddings.position_ids": torch.arange(50).expand(1, -1).clone(),
        "text_model.embeddings.position_ids": torch.arange(77, dtype=I32).expand(1, -1).clone(),
    },
    "token_type_ids (CLAP)": lambda: {
        "text_model.embeddings.token_type_ids": torch.zeros(1, 514, dtype=I64)
    },
    "relative_position_index (Swin, Donut)": lambda: {
        f"{LAYER}attention.self.relative_position_index": torch.arange(4096).reshape(64, 64),
        f"{LAYER}attention.self.logit_scale": numbers(F32, 4, 1, 1),
    },
    "num_batches_tracked (BatchNorm)": lambda: {
        "vision.norm.num_batches_tracked": torch.tensor(7),
        "vision.norm.running_mean": numbers(F32, 16),
    },
    "tid2eid (DeepSeek V4)": lambda: {
        f"{LAYER}mlp.gate.tid2eid": torch.arange(VOCABULARY * 6, dtype=I32).reshape(-1, 6) % 64,
        f"{LAYER}mlp.gate.weight": numbers(BF16, 64, HIDDEN),
        "model.hc_head.hc_scale": numbers(F32, 1),
    },
    "token_ordering (Gemma 4)": lambda: {
        "masked_embedding.token_ordering": torch.arange(VOCABULARY).flip(0),
        f"{LAYER}layer_scalar": numbers(BF16, 1),
    },
    "causal masks (Bark, GPT-2, GPT-NeoX)": lambda: {
        f"{LAYER}attn.bias": masks(torch.bool),
        f"{LAYER}attention.bias": masks(U8),
        f"{LAYER}attention.masked_bias": torch.tensor(-1e4),
    },
    "vocabulary maps (EAGLE-3)": lambda: {
        "d2t": torch.arange(64),
        "t2d": torch.ones(VOCABULARY, dtype=torch.bool),
    },
    "n-gram tables (Qwen4)": lambda: {
        "model.ngram.layer_multipliers": torch.arange(4),
        "model.ngram.ngram_heads_offsets": torch.arange(8),
    },
    "summary_idxs (RADIO), af2_to_esm (ESM)": lambda: {
        "summary_idxs": torch.tensor([0, 2]),
        "af2_to_esm": torch.arange(21),
    },
    "complex numbers (FNet)": lambda: {
        "encoder.dft_mat_hidden": torch.ones(8, 8, dtype=torch.complex64)
    },
    "codebooks (EnCodec, Mimi)": lambda: {
        "quantizer.layers.0.codebook.embed": numbers(F32, 64, 16),
        "quantizer.layers.0.codebook.inited": torch.tensor([1.0]),
        "quantizer.layers.0.codebook.cluster_size": numbers(F32, 64),
    },
    "floats called scale (Inkling, Zaya)": lambda: {
        f"{LAYER}self_attn.q_l2_clip.scale": numbers(F32, 4, 32),
        f"{LAYER}mlp.gate.balancing_biases": numbers(F32, 17),
    },
    "scales of a cache": lambda: {
        f"{LAYER}self_attn.k_scale": numbers(F32),
        f"{LAYER}self_attn.v_scale": numbers(F32),
    },
    "a tokenizer in bytes (ComfyUI)": lambda: {"spiece_model": words(U8, 1000)},
    "buffers of bytes and words": lambda: {
        "visual.palette": words(U8, 256, 3),
        "visual.grid_index": words(I32, 16, 2),
        "model.token_indices": words(I32, 64),
        "model.steps": words(I16, 8),
    },
}
