"""Writes a checkpoint with the shapes of TinyLlama (1.1 billion weights), an importance matrix and
adapters for it.

    checkpoint.py <directory> [<layers>]

The checkpoint is written as GGUF and in the Hugging Face layout. Only the standard library is
needed. The weights are normally distributed and seeded, and repeat after 64 MiB.
"""

import os
import random
import struct
import sys
from array import array
from pathlib import Path
from statistics import NormalDist

from shapes import (
    Sizes,
    adapter_tensors,
    count,
    safetensors_head,
    tinyllama,
    write_adapter_config,
    write_companions,
    write_index,
)
from vocabulary import VOCABULARY, pieces

SEED = 1
SPREAD = 0.02
RANK = 16
GROUP = 32  # of the QA-LoRA adapter
POOL_VALUES = 32 * 1024 * 1024


class Weights:
    """Float16 weights from a pool, in turn. The pool holds randomly picked quantiles."""

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


def gguf_metadata(sizes: Sizes) -> list[bytes]:
    def text(key, value):
        return string(key) + struct.pack("<i", 8) + string(value)

    def u32(key, value):
        return string(key) + struct.pack("<iI", 4, value)

    def f32(key, value):
        return string(key) + struct.pack("<if", 6, value)

    def array_of(key, type, items):
        return string(key) + struct.pack("<iiQ", 9, type, len(items)) + b"".join(items)

    vocabulary = pieces()
    return [
        text("general.architecture", "llama"),
        text("general.type", "model"),
        text("general.name", "benchmark"),
        u32("general.file_type", 1),
        u32("llama.context_length", 2048),
        u32("llama.embedding_length", sizes.hidden),
        u32("llama.block_count", sizes.layers),
        u32("llama.feed_forward_length", sizes.ffn),
        u32("llama.attention.head_count", sizes.heads),
        u32("llama.attention.head_count_kv", sizes.kv_heads),
        f32("llama.attention.layer_norm_rms_epsilon", 1e-5),
        u32("llama.rope.dimension_count", sizes.head_size),
        f32("llama.rope.freq_base", 10000),
        u32("llama.vocab_size", VOCABULARY),
        text("tokenizer.ggml.model", "llama"),
        text("tokenizer.ggml.pre", "default"),
        array_of("tokenizer.ggml.tokens", 8, [string(token) for token, _, _ in vocabulary]),
        array_of(
            "tokenizer.ggml.scores", 6, [struct.pack("<f", score) for _, score, _ in vocabulary]
        ),
        array_of(
            "tokenizer.ggml.token_type", 5, [struct.pack("<i", kind) for _, _, kind in vocabulary]
        ),
        u32("tokenizer.ggml.bos_token_id", 1),
        u32("tokenizer.ggml.eos_token_id", 2),
        u32("tokenizer.ggml.unknown_token_id", 0),
    ]


def write_gguf(path: Path, sizes: Sizes, weights: Weights) -> None:
    """Writes matrices in F16 and norms in F32. All sizes are multiples of the alignment, so no
    padding is needed."""
    metadata, infos, offset = gguf_metadata(sizes), [], 0
    for _, name, shape in sizes.tensors():
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
        for _, _, shape in sizes.tensors():
            if len(shape) > 1:
                weights.write(file, count(shape))
            else:
                file.write(norm(count(shape), "f"))


def write_huggingface(folder: Path, sizes: Sizes, weights: Weights) -> None:
    """Writes two F16 shards with an index, a configuration and a tokenizer."""
    folder.mkdir()
    everything = [(name, shape) for name, _, shape in sizes.tensors()]
    half = len(everything) // 2
    places, total = {}, 0
    for number, part in enumerate((everything[:half], everything[half:])):
        shard = f"model-{number + 1:05}-of-00002.safetensors"
        head, size = safetensors_head(part)
        places |= {name: shard for name, _ in part}
        total += size
        with open(folder / shard, "wb") as file:
            file.write(head)
            for _, shape in part:
                if len(shape) > 1:
                    weights.write(file, count(shape))
                else:
                    file.write(norm(count(shape), "e"))
    write_index(folder, places, total)
    write_companions(folder, sizes)


def write_adapter(folder: Path, sizes: Sizes, weights: Weights, group: int) -> None:
    """Writes a PEFT adapter for all linear layers: LoRA for group 1, else QA-LoRA."""
    folder.mkdir()
    tensors = adapter_tensors(sizes, RANK, group)
    with open(folder / "adapter_model.safetensors", "wb") as file:
        file.write(safetensors_head(tensors)[0])
        for _, shape in tensors:
            weights.write(file, count(shape))
    write_adapter_config(folder, RANK, group)


def write_importance(path: Path, sizes: Sizes) -> None:
    """Writes an importance matrix in the older form of llama-imatrix, for all layers.

    The importance of a column is a random mean square, mostly between a tenth and ten.
    """
    generator = random.Random(SEED)
    linears = [
        (name, shape) for _, name, shape in sizes.tensors()
        if len(shape) > 1 and name.startswith("blk.")
    ]  # fmt: skip
    with open(path, "wb") as file:
        file.write(struct.pack("<i", len(linears)))
        for name, (_, columns) in linears:
            file.write(struct.pack("<i", len(name)) + name.encode())
            file.write(struct.pack("<ii", 1, columns))
            array("f", (generator.lognormvariate(0, 1) for _ in range(columns))).tofile(file)
        file.write(struct.pack("<ii", 1, 0))


def is_complete(directory: Path) -> bool:
    """Whether the checkpoint is complete and current; older ones lack some of these files."""
    parts = ("model.gguf", "huggingface/tokenizer.model", "importance.dat")
    return all((directory / part).exists() for part in parts)


def main(directory: Path, sizes: Sizes) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    weights = Weights()
    write_adapter(directory / "lora", sizes, weights, 1)
    write_adapter(directory / "qa-lora", sizes, weights, GROUP)
    write_importance(directory / "importance.dat", sizes)
    write_gguf(directory / "model.gguf.new", sizes, weights)
    write_huggingface(directory / "huggingface", sizes, weights)
    # This file is renamed last: it marks the checkpoint as complete.
    os.replace(directory / "model.gguf.new", directory / "model.gguf")


if __name__ == "__main__":
    main(Path(sys.argv[1]), tinyllama(*map(int, sys.argv[2:3])))
