"""Running MLX folders in mlx_lm, and what their tensors say; imported only where MLX is offered.

Everything runs on the CPU. There MLX emulates F16 and BF16: 160 ms a token of tinylm, against 4 ms
in F32. So most models are cast to F32 once loaded, which changes no parameter of theirs.
"""

import json
import platform
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

if sys.platform == "darwin" and platform.machine() != "arm64":
    pytest.skip("mlx is not offered for Intel Macs", allow_module_level=True)

import mlx.core as mx  # noqa: E402
import mlx_lm  # noqa: E402

mx.set_default_device(mx.cpu)

PARAMETERS = ("scales", "biases")


class Transformerlike:
    """A model of MLX, called as one of transformers is."""

    def __init__(self, model):
        self.model = model

    def __call__(self, rows: torch.Tensor) -> SimpleNamespace:
        scores = self.model(mx.array(rows.numpy().astype(np.int32)))
        return SimpleNamespace(logits=torch.from_numpy(np.array(scores.astype(mx.float32))))


def load(folder: Path, dtype=mx.float32) -> Transformerlike:
    """What mlx_lm loads; cast, unless dtype is None."""
    model, _ = mlx_lm.load(str(folder))
    if dtype is not None:
        model.set_dtype(dtype)
    return Transformerlike(model)


def arrays(folder: Path) -> dict[str, mx.array]:
    tensors = {}
    for path in folder.glob("*.safetensors"):
        tensors |= mx.load(str(path))
    return tensors


def float_types(folder: Path) -> set:
    return {array.dtype for array in arrays(folder).values() if array.dtype != mx.uint32}


def float32(array: mx.array) -> np.ndarray:
    return np.array(array.astype(mx.float32))


def layers(folder: Path) -> dict[str, tuple[int, int]]:
    """The bits and the group size of each quantized layer, as config.json tells MLX."""
    config = json.loads((folder / "config.json").read_text())
    assert config["quantization"] == config["quantization_config"]
    common = config["quantization"]
    result = {}
    for name in arrays(folder):
        if name.endswith(".scales"):
            path = name.removesuffix(".scales")
            own = common.get(path, common)
            assert own.get("mode", "affine") == "affine"
            result[path] = own["bits"], own["group_size"]
    return result


def codes(words: mx.array, bits: int) -> np.ndarray:
    """Codes as float32, from a stream of bits with the lowest first."""
    bytes = np.ascontiguousarray(np.array(words).astype("<u4")).view(np.uint8)
    stream = np.unpackbits(bytes, axis=1, bitorder="little")
    digits = stream.reshape(len(bytes), -1, bits)
    return (digits @ (1 << np.arange(bits))).astype(np.float32)


def decoded_by_mlx(folder: Path) -> dict[str, np.ndarray]:
    """The quantized weights by their names, computed in F32."""
    tensors, result = arrays(folder), {}
    for path, (bits, size) in layers(folder).items():
        scales, biases = (tensors[f"{path}.{part}"].astype(mx.float32) for part in PARAMETERS)
        values = mx.dequantize(tensors[f"{path}.weight"], scales, biases, size, bits)
        result[f"{path}.weight"] = np.array(values)
    return result
