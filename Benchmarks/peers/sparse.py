"""Writes models with real headers and sparse weights, which are zero and take no disk space.

    sparse.py few <file>                a safetensors file with 200 tensors
    sparse.py header <file>             a safetensors file with a header of 20 MB
    sparse.py many <directory>          100,000 tensors in 200 shards
    sparse.py experts <directory>       a model of 1.5 trillion weights in 200 shards: 87 layers with
                                        384 experts each, 101,009 tensors
    sparse.py 1b | 7b | 70b <directory> a Llama model for Hugging Face, and a QA-LoRA adapter for it

Only the standard library is needed. Existing files are not written again.
"""

import json
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
MIXTURE = {
    "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe",
    "torch_dtype": "float16", "hidden_act": "silu", "hidden_size": 7168,
    "intermediate_size": 18432, "moe_intermediate_size": 2048, "num_hidden_layers": 87,
    "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 32000,
    "num_experts": 384, "num_experts_per_tok": 8, "norm_topk_prob": True,
    "decoder_sparse_step": 1, "mlp_only_layers": [], "max_position_embeddings": 131072,
    "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "tie_word_embeddings": False,
}  # fmt: skip

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


def mixture() -> Tensors:
    """The tensors of a mixture of experts, with the sizes of `MIXTURE`."""
    hidden, inner = MIXTURE["hidden_size"], MIXTURE["moe_intermediate_size"]
    head, vocabulary = MIXTURE["head_dim"], MIXTURE["vocab_size"]
    heads, pairs = MIXTURE["num_attention_heads"] * head, MIXTURE["num_key_value_heads"] * head
    tensors: Tensors = [("model.embed_tokens.weight", (vocabulary, hidden))]
    for layer in range(MIXTURE["num_hidden_layers"]):
        prefix = f"model.layers.{layer}"
        tensors += [
            (f"{prefix}.input_layernorm.weight", (hidden,)),
            (f"{prefix}.self_attn.q_proj.weight", (heads, hidden)),
            (f"{prefix}.self_attn.k_proj.weight", (pairs, hidden)),
            (f"{prefix}.self_attn.v_proj.weight", (pairs, hidden)),
            (f"{prefix}.self_attn.o_proj.weight", (hidden, heads)),
            (f"{prefix}.self_attn.q_norm.weight", (head,)),
            (f"{prefix}.self_attn.k_norm.weight", (head,)),
            (f"{prefix}.post_attention_layernorm.weight", (hidden,)),
            (f"{prefix}.mlp.gate.weight", (MIXTURE["num_experts"], hidden)),
        ]
        for expert in range(MIXTURE["num_experts"]):
            place = f"{prefix}.mlp.experts.{expert}"
            tensors += [
                (f"{place}.gate_proj.weight", (inner, hidden)),
                (f"{place}.up_proj.weight", (inner, hidden)),
                (f"{place}.down_proj.weight", (hidden, inner)),
            ]
    return [
        *tensors, ("model.norm.weight", (hidden,)), ("lm_head.weight", (vocabulary, hidden)),
    ]  # fmt: skip


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
    elif kind == "experts":
        tensors = mixture()
        ends = [len(tensors) * number // SHARDS for number in range(SHARDS + 1)]
        write_shards(new, [tensors[start:end] for start, end in zip(ends, ends[1:])])
        write_companions(new, tinyllama())
        (new / "config.json").write_text(json.dumps(MIXTURE, indent=2))
    elif kind == "header":
        write(new, experts(HEADER, (2048, 768)))
    else:
        write(new, experts(FEW, (1024, 1024)))
    os.replace(new, path)


if __name__ == "__main__":
    make(sys.argv[1], Path(sys.argv[2]))
