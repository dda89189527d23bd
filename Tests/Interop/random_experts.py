"""Adapters for experts as older tools write them. PEFT itself does not take part."""

import json
import random
import re
from pathlib import Path

import random_models
import safetensors.torch
import torch
from random_models import STACKS, Model

PREFIX = "base_model.model."
# expert-by-expert: of transformers 4, with a pair of factors for each matrix of each expert.
# some-experts: the same, without some pairs. old-stacks: of PEFT before 0.19, which took every
# stack for [expert, inputs, outputs].
TRAITS = ("expert-by-expert", "some-experts", "old-stacks")


def write(model: Model, adapter, base: Path, folder: Path, generator: torch.Generator) -> None:
    weights = random_models.load(base).state_dict()
    rank = adapter.settings["r"]
    scale = adapter.settings["lora_alpha"] / rank

    def noise(rows: int, columns: int, deviation: float) -> torch.Tensor:
        return deviation * torch.randn((rows, columns), generator=generator)

    tensors = {}
    if adapter.has("old-stacks"):
        for layer in range(2):
            path = f"{PREFIX}model.layers.{layer}.mlp.experts"
            # The stacks are wrapped in the order of target_parameters: the first is the innermost.
            for stack, module in zip(STACKS, (f"{path}.base_layer", path), strict=True):
                count, inputs, outputs = weights[f"model.layers.{layer}.{stack}"].shape
                a = noise(count * rank, inputs, outputs**-0.5)
                b = noise(outputs, rank * count, 0.7 / scale / rank**0.5)
                tensors |= {f"{module}.lora_A.weight": a, f"{module}.lora_B.weight": b}
        targets = dict(target_modules=[], target_parameters=STACKS)
    else:
        for layer, expert, part in _parts(model, adapter):
            rows, columns = _matrix(weights, layer, expert, part).shape
            path = PREFIX + _path(model, layer, expert, part)
            tensors[f"{path}.lora_A.weight"] = noise(rank, columns, columns**-0.5)
            tensors[f"{path}.lora_B.weight"] = noise(rows, rank, 0.7 / scale / rank**0.5)
        targets = dict(target_modules=[*model.family.separate])
    folder.mkdir()
    settings = adapter.settings | dict(peft_type="LORA") | targets
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    safetensors.torch.save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})


def tuned(model: Model, adapter, base: Path, folder: Path):
    """The model with the adapter added in float32."""
    loaded = random_models.load(base)
    weights = loaded.state_dict()
    rank = adapter.settings["r"]
    scale = adapter.settings["lora_alpha"] / rank
    factors = safetensors.torch.load_file(folder / "adapter_model.safetensors")
    for name, a in factors.items():
        if ".lora_A." not in name:
            continue
        b = factors[name.replace(".lora_A.", ".lora_B.")]
        path = name.removeprefix(PREFIX).removesuffix(".lora_A.weight")
        if adapter.has("old-stacks"):
            stack = STACKS[0] if path.endswith("base_layer") else STACKS[1]
            layer = path.split(".")[2]
            a, b = a.reshape(4, rank, -1), b.reshape(len(b), rank, 4)
            update = torch.einsum("o r e, e r i -> e i o", b, a)
            weights[f"model.layers.{layer}.{stack}"].add_(scale * update)
        else:
            found = re.search(r"layers\.(\d+)\..*experts\.(\d+)\.(\w+)$", path)
            layer, expert, part = found.groups()
            _matrix(weights, int(layer), int(expert), part).add_(scale * (b @ a))
    return loaded


def _path(model: Model, layer: int, expert: int, part: str) -> str:
    block = "block_sparse_moe" if part.startswith("w") else "mlp"
    return f"model.layers.{layer}.{block}.experts.{expert}.{part}"


def _parts(model: Model, adapter) -> list[tuple[int, int, str]]:
    rng = random.Random(f"experts {model.seed}")
    share = 0.6 if adapter.has("some-experts") else 1
    parts = model.family.separate
    found = [(layer, expert, part) for layer in range(2) for expert in range(4) for part in parts]
    return [part for part in found if rng.random() < share]


def _matrix(weights: dict, layer: int, expert: int, part: str) -> torch.Tensor:
    """The rows of the stacks of transformers 5 that a matrix of an expert became."""
    stacks = f"model.layers.{layer}.mlp.experts"
    if part in ("w2", "down_proj"):
        return weights[f"{stacks}.down_proj"][expert]
    both = weights[f"{stacks}.gate_up_proj"][expert]
    half = len(both) // 2
    return both[:half] if part in ("w1", "gate_proj") else both[half:]
