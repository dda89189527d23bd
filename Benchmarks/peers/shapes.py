"""The shapes of Llama models, and the files beside their weights."""

import json
import struct
from dataclasses import dataclass
from pathlib import Path

from vocabulary import VOCABULARY, sentence_piece

# The names of a module in Hugging Face and in llama.cpp.
TOP = [
    ("model.embed_tokens", "token_embd"),
    ("model.norm", "output_norm"),
    ("lm_head", "output"),
]
IN_LAYER = [
    ("input_layernorm", "attn_norm"),
    ("mlp.down_proj", "ffn_down"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("post_attention_layernorm", "ffn_norm"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.v_proj", "attn_v"),
]
LINEAR = [module.split(".")[1] for module, _ in IN_LAYER if module.endswith("_proj")]


@dataclass(frozen=True)
class Sizes:
    """The dimensions of a Llama model."""

    hidden: int
    ffn: int
    layers: int
    heads: int
    kv_heads: int

    @property
    def head_size(self) -> int:
        return self.hidden // self.heads

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor by its name in llama.cpp, outermost dimension first."""
        kv = self.kv_heads * self.head_size
        return {
            "token_embd": (VOCABULARY, self.hidden),
            "output": (VOCABULARY, self.hidden),
            "ffn_down": (self.hidden, self.ffn),
            "ffn_gate": (self.ffn, self.hidden),
            "ffn_up": (self.ffn, self.hidden),
            "attn_k": (kv, self.hidden),
            "attn_v": (kv, self.hidden),
            "attn_q": (self.hidden, self.hidden),
            "attn_output": (self.hidden, self.hidden),
        }.get(name, (self.hidden,))

    def tensors(self) -> list[tuple[str, str, tuple[int, ...]]]:
        """For each tensor: its name in Hugging Face, its name in llama.cpp, its shape."""
        everything = [(module, name, self.shape(name)) for module, name in TOP]
        everything += [
            (f"model.layers.{layer}.{module}", f"blk.{layer}.{name}", self.shape(name))
            for layer in range(self.layers)
            for module, name in IN_LAYER
        ]
        return [(f"{module}.weight", f"{name}.weight", shape) for module, name, shape in everything]

    def weights(self) -> int:
        return sum(count(shape) for _, _, shape in self.tensors())


def tinyllama(layers: int = 22) -> Sizes:
    """The sizes of TinyLlama, which has 1.1 billion weights with all 22 layers."""
    return Sizes(hidden=2048, ffn=5632, layers=layers, heads=32, kv_heads=4)


LLAMA_7B = Sizes(hidden=4096, ffn=11008, layers=32, heads=32, kv_heads=32)
LLAMA_70B = Sizes(hidden=8192, ffn=28672, layers=80, heads=64, kv_heads=8)


def count(shape: tuple[int, ...]) -> int:
    return shape[0] * (shape[1] if len(shape) > 1 else 1)


def safetensors_head(tensors: list[tuple[str, tuple[int, ...]]]) -> tuple[bytes, int]:
    """The length and header of a file with these tensors in F16, and the size of its data."""
    header: dict = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, shape in tensors:
        end = offset + 2 * count(shape)
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text, offset


def write_index(folder: Path, places: dict[str, str], total: int) -> None:
    """Writes the index of shards, which names the file of each tensor."""
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))


def adapter_tensors(sizes: Sizes, rank: int, group: int) -> list[tuple[str, tuple[int, ...]]]:
    """Names and shapes in PEFT for all linear layers: LoRA for group 1, else QA-LoRA."""
    found = []
    for name, _, shape in sizes.tensors():
        if len(shape) > 1 and name.startswith("model.layers."):
            path = "base_model.model." + name.removesuffix(".weight")
            found.append((f"{path}.lora_A.weight", (rank, shape[1] // group)))
            found.append((f"{path}.lora_B.weight", (shape[0], rank)))
    return found


def write_adapter_config(folder: Path, rank: int, group: int) -> None:
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": rank,
        "lora_dropout": 0.0, "bias": "none", "target_modules": LINEAR,
    }  # fmt: skip
    if group > 1:
        config |= {"use_qalora": True, "qalora_group_size": group}
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2))


def write_companions(folder: Path, sizes: Sizes) -> None:
    """Writes the configuration and a tokenizer, as the tools of Hugging Face expect them."""
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "float16",
        "hidden_act": "silu", "hidden_size": sizes.hidden, "intermediate_size": sizes.ffn,
        "num_hidden_layers": sizes.layers, "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.kv_heads, "vocab_size": VOCABULARY,
        "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip
    tokenizer = {
        "tokenizer_class": "LlamaTokenizer", "model_max_length": 2048, "legacy": False,
        "add_bos_token": True, "add_eos_token": False,
        "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer, indent=2))
    (folder / "tokenizer.model").write_bytes(sentence_piece())
