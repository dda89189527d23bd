"""Writes adapter folders, reads checkpoints, and compares folded weights."""

import json
from pathlib import Path

import numpy as np
import safetensors.numpy
import safetensors.torch
import torch
from pleat import PleatFile

PREFIX = "base_model.model."


def write_adapter(folder: Path, modules: dict, alpha: float, **config) -> Path:
    """Writes a PEFT folder with A [r, columns] and B [rows, r] for each module, as float32."""
    folder.mkdir(parents=True)
    tensors = {}
    for module, (a, b) in modules.items():
        tensors[f"{PREFIX}{module}.lora_A.weight"] = as_float32(a)
        tensors[f"{PREFIX}{module}.lora_B.weight"] = as_float32(b)
    settings = {
        "peft_type": "LORA",
        "r": len(next(iter(modules.values()))[0]),
        "lora_alpha": alpha,
        "target_modules": sorted({module.rpartition(".")[2] for module in modules}),
        "bias": "none",
        "fan_in_fan_out": False,
        "use_rslora": False,
        "use_dora": False,
        **config,
    }
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    safetensors.torch.save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
    return folder


def qalora_deltas(folder: Path, group_size: int = 32) -> dict[str, np.ndarray]:
    """The update of each group by a QA-LoRA adapter: weight name → [rows, groups], float64.

    PEFT pools by the mean and multiplies by the number of groups.
    """
    config = json.loads((folder / "adapter_config.json").read_text())
    factor = config["lora_alpha"] / config["r"]
    return {
        name: factor * a.shape[1] / group_size * (b @ a)
        for name, (a, b) in matrices(folder).items()
    }


def expanded(folder: Path, group_size: int = 32) -> dict[str, np.ndarray]:
    """ΔW of a QA-LoRA adapter, expanded to all columns."""
    return {
        name: np.repeat(delta, group_size, axis=1)
        for name, delta in qalora_deltas(folder, group_size).items()
    }


def updates(folder: Path) -> dict[str, np.ndarray]:
    """ΔW of a plain LoRA adapter."""
    config = json.loads((folder / "adapter_config.json").read_text())
    factor = config["lora_alpha"] / config["r"]
    return {name: factor * (b @ a) for name, (a, b) in matrices(folder).items()}


def matrices(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """A and B of a PEFT folder in float64, by the name of their weight."""
    tensors = safetensors.numpy.load_file(folder / "adapter_model.safetensors")
    result = {}
    for key in tensors:
        if key.endswith(".lora_A.weight"):
            module = key.removeprefix(PREFIX).removesuffix(".lora_A.weight")
            pair = tensors[key], tensors[key.replace("lora_A", "lora_B")]
            result[f"{module}.weight"] = tuple(matrix.astype(np.float64) for matrix in pair)
    return result


def as_float32(values) -> torch.Tensor:
    return torch.tensor(np.ascontiguousarray(values, np.float32))


def stored(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file or a directory in their stored types."""
    tensors = {}
    for path in [folder] if folder.is_file() else sorted(folder.glob("*.safetensors")):
        tensors |= safetensors.torch.load_file(path)
    return tensors


def decoded(pleat, model: Path, folder: Path) -> dict[str, np.ndarray]:
    """The weights of a model as float32, decoded by pleat, under their names."""
    # In a folder, those of a gguf file would get the names of Hugging Face.
    out = folder.with_suffix(".safetensors") if model.suffix == ".gguf" else folder
    pleat.run("convert", model, "--to", "safetensors", "--dtype", "F32", "-o", out)
    return {name: tensor.float().numpy() for name, tensor in stored(out).items()}


def parts(model: Path) -> dict[str, dict[str, bytes]]:
    """The parts of each tensor in a .pleat file, by role."""
    file = PleatFile.open(model)
    return {
        name: {role: file.bytes_of(part) for role, part in tensor["parts"].items()}
        for name, tensor in file.tensors.items()
    }


def bytes_of(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()


def steps(found: torch.Tensor, expected: torch.Tensor, base: torch.Tensor) -> np.ndarray:
    """The error of each weight in units in the last place of the stored type.

    The unit is that of the largest number in W + ΔW = W'. A tolerance is subtracted, by which sums
    of products in float32 may differ in another order: four float32 units of the largest ΔW.
    """
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    type = torch.finfo(expected.dtype)
    f, e, w = (tensor.double().numpy() for tensor in (found, expected, base))
    assert np.isfinite(f).all()
    largest = np.maximum.reduce([np.abs(w), np.abs(e), np.abs(e - w)])
    exponent = np.floor(np.log2(np.maximum(largest, type.smallest_normal)))
    tolerance = 2.0**-22 * np.abs(e - w).max()
    return np.maximum(np.abs(f - e) - tolerance, 0) / (np.exp2(exponent) * type.eps)


def folded_error(fold_report: str) -> float:
    """The adapter error in the report of `pleat fold --json`."""
    return json.loads(fold_report)["fold"]["adapterError"]
