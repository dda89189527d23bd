"""Writes models with real headers and sparse weights, which are zero and take no disk space.

    sparse.py few <file>                a safetensors file with 200 tensors
    sparse.py header <file>             a safetensors file with a header of 20 MB
    sparse.py many <directory>          100,000 tensors in 200 shards
    sparse.py 1b | 7b | 70b <directory> a Llama model for Hugging Face, and a QA-LoRA adapter for it

Only the standard library is needed. Existing files are not written again.
"""

import os
import shutil
import sys
from pathlib import Path

from shapes import (
    LLAMA_7B,
    LLAMA_70B,
    Sizes,
    adapter_tensors,
    count,
    safetensors_head,
    tinyllama,
    write_adapter_config,
    write_companions,
    write_index,
)

LLAMAS = {"1b": tinyllama(), "7b": LLAMA_7B, "70b": LLAMA_70B}
FEW, HEADER, MANY, SHARDS = 200, 157_000, 100_000, 200
SHARD_BYTES = 5_000_000_000
RANK, GROUP = 16, 32
PARTS = ("down_proj", "gate_proj", "up_proj")

Tensors = list[tuple[str, tuple[int, ...]]]


def write(path: Path, tensors: Tensors) -> int:
    """Writes a safetensors file, and returns the number of bytes of its weights."""
    head, size = safetensors_head(tensors)
    with open(path, "wb") as file:
        file.write(head)
        file.truncate(len(head) + size)
    return size


def experts(number: int, shape: tuple[int, int]) -> Tensors:
    """`number` tensors with the names of a model with experts."""
    names = (
        f"model.layers.{index // 768}.mlp.experts.{index // 3 % 256}.{PARTS[index % 3]}.weight"
        for index in range(number)
    )
    return [(name, shape) for name in names]


def write_shards(folder: Path, shards: list[Tensors]) -> None:
    folder.mkdir()
    places, total = {}, 0
    for number, tensors in enumerate(shards):
        name = f"model-{number + 1:05}-of-{len(shards):05}.safetensors"
        total += write(folder / name, tensors)
        places |= {tensor: name for tensor, _ in tensors}
    write_index(folder, places, total)


def write_llama(folder: Path, sizes: Sizes) -> None:
    shards: list[Tensors] = [[]]
    room = SHARD_BYTES
    for name, _, shape in sizes.tensors():
        if shards[-1] and room < 2 * count(shape):
            shards.append([])
            room = SHARD_BYTES
        shards[-1].append((name, shape))
        room -= 2 * count(shape)
    write_shards(folder, shards)
    write_companions(folder, sizes)
    adapter = folder / "qa-lora"
    adapter.mkdir()
    write(adapter / "adapter_model.safetensors", adapter_tensors(sizes, RANK, GROUP))
    write_adapter_config(adapter, RANK, GROUP)


def make(kind: str, path: Path) -> None:
    """Writes a model, and renames it into place when it is complete."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    if new.is_dir():
        shutil.rmtree(new)
    if kind in LLAMAS:
        write_llama(new, LLAMAS[kind])
    elif kind == "many":
        tensors, step = experts(MANY, (64, 512)), MANY // SHARDS
        write_shards(new, [tensors[start : start + step] for start in range(0, MANY, step)])
        write_companions(new, tinyllama())
    elif kind == "header":
        write(new, experts(HEADER, (2048, 768)))
    else:
        write(new, experts(FEW, (1024, 1024)))
    os.replace(new, path)


if __name__ == "__main__":
    make(sys.argv[1], Path(sys.argv[2]))
