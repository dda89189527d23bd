"""A model with rows divisible by 16 … 256, a stack, all float types, and a scalar."""

from pathlib import Path

import safetensors.torch
import torch


def floats(seed: int) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)

    def normal(*shape, type=torch.float16):
        return torch.randn(shape, generator=random).to(type)

    return {
        "half.weight": normal(5, 512),
        "brain.weight": normal(3, 768, type=torch.bfloat16),
        "single.weight": normal(2, 256, type=torch.float32),
        "double.weight": normal(2, 256, type=torch.float64),
        "experts.weight": normal(2, 3, 256),
        "constant.weight": torch.full((2, 256), -0.3, dtype=torch.float16),
        "norm.weight": normal(7, type=torch.bfloat16),
        "scalar": normal(),
        "double": normal(3, type=torch.float64),
    }


def write(folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
    """Writes the tensors and a config to the folder."""
    safetensors.torch.save_file(tensors, folder / "model.safetensors", {"format": "pt", "é": "✓"})
    (folder / "config.json").write_text('{"model_type": "odd"}\n')
    return folder
