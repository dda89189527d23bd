"""Runs MLX folders in mlx_lm and decodes their tensors; imported only where MLX is available.

Everything runs on the CPU, where MLX emulates F16 and BF16: a token of tinylm takes 160 ms, against
4 ms in F32. Most models are therefore cast to F32 after loading, which is exact.
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
    pytest.skip("mlx is not available for Intel Macs", allow_module_level=True)

import mlx.core as mx  # noqa: E402
import mlx_lm  # noqa: E402

mx.set_default_device(mx.cpu)

PARAMETERS = ("scales", "biases")


class Transformerlike:
    """A model of MLX with the call interface of transformers."""

    def __init__(self, model):
        self.model = model

    def __call__(self, rows: torch.Tensor) -> SimpleNamespace:
        scores = self.model(mx.array(rows.numpy().astype(np.int32)))
        return SimpleNamespace(logits=torch.from_numpy(np.array(scores.astype(mx.float32))))


def load(folder: Path, dtype=mx.float32) -> Transformerlike:
    """The model that mlx_lm loads, cast to `dtype` unless that is None."""
    model, _ = mlx_lm.load(str(folder))
    if dtype is not None:
        model.set_dtype(dtype)
    return Transformerlike(model)


def remapped(type: str) -> str:
    """The name of the module that mlx_lm has for a model type, if it has one."""
    return mlx_lm.utils.MODEL_REMAPPING.get(type, type)


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
    """The bits and the group size of each quantized layer, according to config.json."""
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
    """The codes as float32, unpacked from a bit stream with the lowest bit first."""
    bytes = np.ascontiguousarray(np.array(words).astype("<u4")).view(np.uint8)
    stream = np.unpackbits(bytes, axis=1, bitorder="little")
    digits = stream.reshape(len(bytes), -1, bits)
    return (digits @ (1 << np.arange(bits))).astype(np.float32)


def decoded_by_mlx(folder: Path) -> dict[str, np.ndarray]:
    """The quantized weights by name, decoded in F32."""
    tensors, result = arrays(folder), {}
    for path, (bits, size) in layers(folder).items():
        scales, biases = (tensors[f"{path}.{part}"].astype(mx.float32) for part in PARAMETERS)
        values = mx.dequantize(tensors[f"{path}.weight"], scales, biases, size, bits)
        result[f"{path}.weight"] = np.array(values)
    return result
