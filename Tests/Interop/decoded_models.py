"""Folders with the weights that GGUF files decode to."""

import shutil
from pathlib import Path

import architectures
import converter
import gguf
import gguf_files
import numpy as np
import safetensors.torch
import torch

# Their rows of queries and keys are in pairs.
INTERLEAVED = ("llama", "smollm3", "granite", "granitemoe", "arcee", "mistral3", "olmo")


def decoded(path: Path, folder: Path, to: Path) -> Path:
    """Writes the folder with the weights of a GGUF file, whose names gguf's tables map back."""
    values = gguf_files.values(path)
    architecture = gguf.GGUFReader(path).fields["general.architecture"].contents()
    constants, mapping = converter.tensor_tables()
    number = next(key for key, name in constants.MODEL_ARCH_NAMES.items() if name == architecture)
    names = mapping.get_tensor_name_map(number, 64)
    config = architectures.transformers.AutoConfig.from_pretrained(folder)
    weights = {}
    source = {}
    for part in sorted(folder.glob("*.safetensors")):
        source |= safetensors.torch.load_file(part)
    for name, weight in source.items():
        if name == "lm_head.weight" and config.tie_word_embeddings or name.endswith("inv_freq"):
            continue
        others = ("vision_tower", "multi_modal", "visual.", "mtp.", "act_fn")
        if any(word in name for word in others):
            weights[name] = weight
            continue
        plain = name.replace("language_model.", "")
        plain = plain if plain.startswith(("model.", "lm_head.")) else f"model.{plain}"
        words = plain.split(".")
        if "experts" in words and words[words.index("experts") + 1].isdigit():
            index = words.index("experts") + 1
            expert, words = int(words[index]), words[:index] + words[index + 1 :]
            merged = ".".join(words).replace("model.layers", "layers")
            merged = merged.replace("block_sparse_moe", "feed_forward")
            stack = names.get_name(".".join(words), [".weight"])
            value = values[stack or names.get_name(merged, [".weight"])][expert]
        elif words[-2] in ("input_linear", "output_linear"):  # granitemoe
            kind = "_shexp" if architecture == "granitemoe" else ""
            kind = kind if "shared_mlp" in words else "_exps"
            parts = ("gate", "up") if words[-2] == "input_linear" else ("down",)
            matrices = [values[f"blk.{words[2]}.ffn_{part}{kind}.weight"] for part in parts]
            value = np.concatenate(matrices, axis=-2)
        else:
            plain = plain.replace("e_score_correction_bias", "e_score_correction.bias")
            if "layers" in words:  # of layers that predict several tokens
                plain = plain.replace(".final_layernorm.", ".shared_head.norm.")
            if architecture != "hy_v3":
                plain = plain.replace(".expert_bias", ".expert_bias.bias")
            value = values[names.get_name(plain, [".weight", ".bias"])].reshape(weight.shape)
        if architecture in INTERLEAVED and words[-2] in ("q_proj", "k_proj"):
            text = config.get_text_config()
            heads = {"q": text.num_attention_heads, "k": text.num_key_value_heads}
            pairs = value.reshape(heads[words[-2][0]], -1, 2, *value.shape[1:])
            value = np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(value.shape)
        if architecture.startswith(("gemma", "nemotron")) and name.endswith("norm.weight"):
            value = value - 1
        assert value.shape == tuple(weight.shape), name
        weights[name] = torch.from_numpy(np.ascontiguousarray(value))
    to.mkdir()
    for path in folder.glob("*config.json"):
        shutil.copy(path, to)
    safetensors.torch.save_file(weights, to / "model.safetensors", metadata={"format": "pt"})
    return to
