"""Writes a checkpoint of TinyLlama's shapes (1.1 billion weights), as GGUF and for Hugging Face,
and adapters for it.

    checkpoint.py <directory> [<layers>]

Only the standard library. The weights are normally distributed, seeded, and repeat after 64 MiB.
"""

import json
import os
import random
import struct
import sys
from array import array
from pathlib import Path
from statistics import NormalDist

SEED = 1
HIDDEN, FFN, LAYERS, HEADS, KV_HEADS, VOCABULARY = 2048, 5632, 22, 32, 4, 32000
HEAD_SIZE = HIDDEN // HEADS
SPREAD = 0.02
RANK = 16
POOL_VALUES = 32 * 1024 * 1024

# Hugging Face's module, llama.cpp's, and the shape, outermost first.
TOP = [
    ("model.embed_tokens", "token_embd", (VOCABULARY, HIDDEN)),
    ("model.norm", "output_norm", (HIDDEN,)),
    ("lm_head", "output", (VOCABULARY, HIDDEN)),
]
IN_LAYER = [
    ("input_layernorm", "attn_norm", (HIDDEN,)),
    ("mlp.down_proj", "ffn_down", (HIDDEN, FFN)),
    ("mlp.gate_proj", "ffn_gate", (FFN, HIDDEN)),
    ("mlp.up_proj", "ffn_up", (FFN, HIDDEN)),
    ("post_attention_layernorm", "ffn_norm", (HIDDEN,)),
    ("self_attn.k_proj", "attn_k", (KV_HEADS * HEAD_SIZE, HIDDEN)),
    ("self_attn.o_proj", "attn_output", (HIDDEN, HIDDEN)),
    ("self_attn.q_proj", "attn_q", (HIDDEN, HIDDEN)),
    ("self_attn.v_proj", "attn_v", (KV_HEADS * HEAD_SIZE, HIDDEN)),
]


def tensors(layers: int) -> list[tuple[str, str, tuple]]:
    """Hugging Face's name, llama.cpp's name, shape."""
    inner = [
        (f"model.layers.{layer}.{module}.weight", f"blk.{layer}.{short}.weight", shape)
        for layer in range(layers)
        for module, short, shape in IN_LAYER
    ]
    return [(f"{module}.weight", f"{short}.weight", shape) for module, short, shape in TOP] + inner


def count(shape: tuple) -> int:
    return shape[0] * (shape[1] if len(shape) > 1 else 1)


class Weights:
    """Halves from a pool, in turn: a table of quantiles, picked by random 16-bit numbers."""

    def __init__(self):
        quantile = NormalDist(0, SPREAD).inv_cdf
        halves = struct.pack("<65536e", *(quantile((i + 0.5) / 65536) for i in range(65536)))
        table = array("H", halves)
        picks = array("H", random.Random(SEED).randbytes(2 * POOL_VALUES))
        self.pool = memoryview(array("H", map(table.__getitem__, picks)).tobytes())
        self.position = 0

    def write(self, file, values: int) -> None:
        left = 2 * values
        while left:
            piece = self.pool[self.position : self.position + left]
            file.write(piece)
            left -= len(piece)
            self.position = (self.position + len(piece)) % len(self.pool)


def norm(values: int, format: str) -> bytes:
    return struct.pack(f"<{values}{format}", *[1.0] * values)


def string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def gguf_metadata(layers: int) -> list[bytes]:
    def text(key, value):
        return string(key) + struct.pack("<i", 8) + string(value)

    def u32(key, value):
        return string(key) + struct.pack("<iI", 4, value)

    def f32(key, value):
        return string(key) + struct.pack("<if", 6, value)

    def array_of(key, type, items):
        return string(key) + struct.pack("<iiQ", 9, type, len(items)) + b"".join(items)

    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    tokens += [f"token{i}" for i in range(len(tokens), VOCABULARY)]
    kinds = [2, 3, 3] + [6] * 256 + [1] * (VOCABULARY - 259)
    return [
        text("general.architecture", "llama"),
        text("general.type", "model"),
        text("general.name", "benchmark"),
        u32("general.file_type", 1),
        u32("llama.context_length", 2048),
        u32("llama.embedding_length", HIDDEN),
        u32("llama.block_count", layers),
        u32("llama.feed_forward_length", FFN),
        u32("llama.attention.head_count", HEADS),
        u32("llama.attention.head_count_kv", KV_HEADS),
        f32("llama.attention.layer_norm_rms_epsilon", 1e-5),
        u32("llama.rope.dimension_count", HEAD_SIZE),
        f32("llama.rope.freq_base", 10000),
        u32("llama.vocab_size", VOCABULARY),
        text("tokenizer.ggml.model", "llama"),
        text("tokenizer.ggml.pre", "default"),
        array_of("tokenizer.ggml.tokens", 8, [string(token) for token in tokens]),
        array_of(
            "tokenizer.ggml.scores", 6, [struct.pack("<f", -float(i)) for i in range(VOCABULARY)]
        ),
        array_of("tokenizer.ggml.token_type", 5, [struct.pack("<i", kind) for kind in kinds]),
        u32("tokenizer.ggml.bos_token_id", 1),
        u32("tokenizer.ggml.eos_token_id", 2),
        u32("tokenizer.ggml.unknown_token_id", 0),
    ]


def write_gguf(path: Path, layers: int, weights: Weights) -> None:
    """Matrices in F16, norms in F32. Every size is a multiple of the alignment: no padding."""
    metadata, infos, offset = gguf_metadata(layers), [], 0
    for _, name, shape in tensors(layers):
        matrix = len(shape) > 1
        dims = b"".join(struct.pack("<Q", dimension) for dimension in reversed(shape))
        infos.append(
            string(name)
            + struct.pack("<I", len(shape))
            + dims
            + struct.pack("<iQ", 1 if matrix else 0, offset)
        )
        offset += count(shape) * (2 if matrix else 4)
    head = (
        b"GGUF"
        + struct.pack("<IQQ", 3, len(infos), len(metadata))
        + b"".join(metadata)
        + b"".join(infos)
    )
    with open(path, "wb") as file:
        file.write(head + bytes(-len(head) % 32))
        for _, _, shape in tensors(layers):
            if len(shape) > 1:
                weights.write(file, count(shape))
            else:
                file.write(norm(count(shape), "f"))


def write_huggingface(folder: Path, layers: int, weights: Weights) -> None:
    """Two shards and an index, in F16."""
    folder.mkdir()
    everything = tensors(layers)
    half = len(everything) // 2
    places, total = {}, 0
    for number, part in enumerate((everything[:half], everything[half:])):
        name = f"model-{number + 1:05}-of-00002.safetensors"
        header, offset = {"__metadata__": {"format": "pt"}}, 0
        for tensor, _, shape in part:
            end = offset + 2 * count(shape)
            header[tensor] = {"dtype": "F16", "shape": list(shape), "data_offsets": [offset, end]}
            places[tensor], offset = name, end
        total += offset
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        with open(folder / name, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for _, _, shape in part:
                if len(shape) > 1:
                    weights.write(file, count(shape))
                else:
                    file.write(norm(count(shape), "e"))
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "float16",
        "hidden_act": "silu", "hidden_size": HIDDEN, "intermediate_size": FFN,
        "num_hidden_layers": layers, "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS,
        "vocab_size": VOCABULARY, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config, indent=2))


def write_adapter(folder: Path, layers: int, weights: Weights, group: int) -> None:
    """A PEFT adapter of rank 16 for all linear layers; group 1 is LoRA, others pool their inputs."""
    folder.mkdir()
    header, offset, sizes = {"__metadata__": {"format": "pt"}}, 0, []
    for name, _, shape in tensors(layers):
        if len(shape) < 2 or not name.startswith("model.layers."):
            continue
        path = "base_model.model." + name.removesuffix(".weight")
        factors = {"lora_A": (RANK, shape[1] // group), "lora_B": (shape[0], RANK)}
        for role, extents in factors.items():
            end = offset + 2 * count(extents)
            header[f"{path}.{role}.weight"] = {
                "dtype": "F16", "shape": list(extents), "data_offsets": [offset, end],
            }  # fmt: skip
            sizes.append(count(extents))
            offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(folder / "adapter_model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for size in sizes:
            weights.write(file, size)
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": RANK}
    if group > 1:
        config |= {"use_qalora": True, "qalora_group_size": group}
    (folder / "adapter_config.json").write_text(json.dumps(config))


def main(directory: Path, layers: int = LAYERS) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    weights = Weights()
    write_adapter(directory / "lora", layers, weights, 1)
    write_adapter(directory / "qa-lora", layers, weights, 32)
    write_gguf(directory / "model.gguf.new", layers, weights)
    write_huggingface(directory / "huggingface", layers, weights)
    # Last, and under its name only when all is there: this file says that the checkpoint is
    # complete.
    os.replace(directory / "model.gguf.new", directory / "model.gguf")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:3]))
