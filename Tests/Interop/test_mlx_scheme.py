"""The mlx scheme gives the codes, scales and biases of mx.quantize on a CPU, bit for bit."""

import itertools
import platform
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from pleat import PleatFile

if sys.platform == "darwin" and platform.machine() != "arm64":
    pytest.skip("mlx is not available for Intel Macs", allow_module_level=True)

import mlx.core as mx  # noqa: E402

SEED = 20260417
BITS = [2, 3, 4, 5, 6, 8]
GROUPS = [32, 64, 128]
COLUMNS = 512
# For each type: its names in torch and MLX, a large number whose double does not overflow, and a
# tiny number.
TYPES = {
    "F32": (torch.float32, mx.float32, 1e38, 1e-40),
    "F16": (torch.float16, mx.float16, 3e4, 1e-7),
    "BF16": (torch.bfloat16, mx.bfloat16, 1e38, 1e-40),
}


def kinds(large: float, tiny: float) -> dict[str, np.ndarray]:
    """Weights for every case of the arithmetic, as float32."""
    random = np.random.default_rng(SEED)
    shape = (32, COLUMNS)
    normal = random.standard_normal(shape)
    # Runs of one number over a group or more. Some are 0, or only a few steps from 0.
    constant = np.repeat(random.standard_normal((32, COLUMNS // 128)), 128, axis=1)
    constant[:8] *= np.array([0, -0.0, 1e-7, 3e-7, 1e-6, 100, large / 10, -large / 10])[:, None]
    # Each group of 32 has its own magnitude, and some groups are far from zero.
    sizes = 10.0 ** random.uniform(-9, 4, (32, COLUMNS // 32))
    spread = normal * np.repeat(sizes, 32, axis=1)
    far = 0.01 * normal + np.repeat(random.uniform(-100, 100, (32, COLUMNS // 128)), 128, axis=1)
    outlier = 0.01 * normal
    outlier[:, 3::32] = random.uniform(-5, 5, (32, COLUMNS // 32))
    return {
        "ordinary": 0.02 * random.standard_normal((64, 8 * COLUMNS)),
        "constant": constant,
        "zero": np.where(random.random(shape) < 0.5, 0.0, -0.0),
        "positive": np.abs(normal),
        "negative": -np.abs(normal),
        "far": far,
        "outlier": outlier,
        "ties": random.integers(-30, 31, shape) / 4,
        "even": np.where(random.random(shape) < 0.5, 0.75, -0.75),  # |min| = |max|
        "steps": random.integers(-9, 10, shape) * 2e-8,  # around 1e-7, the smallest step
        "spread": spread,
        "huge": random.uniform(-large, large, shape),
        "tiny": tiny * normal,
    }


@pytest.fixture(scope="module", params=TYPES)
def weights(request, tmp_path_factory):
    """A file of weights of one type: its path, the type, and the weights for MLX."""
    torch_type, mlx_type, large, tiny = TYPES[request.param]
    tensors = {
        f"{name}.weight": torch.from_numpy(values.astype(np.float32)).to(torch_type)
        for name, values in kinds(large, tiny).items()
    }
    path = tmp_path_factory.mktemp(request.param) / "model.safetensors"
    safetensors.torch.save_file(tensors, path)
    arrays = {
        name: mx.array(values.to(torch.float32).numpy()).astype(mlx_type)
        for name, values in tensors.items()
    }
    return path, request.param, arrays


def quantize(pleat, source: Path, path: Path, bits: int, group: int, parameters: str) -> PleatFile:
    options = ["-b", bits, "-g", group, "--parameters", parameters]
    pleat.run("quantize", source, "--to", "pleat", "--scheme", "mlx", "-o", path, *options)
    return PleatFile.open(path)


def bits_of(parameters) -> np.ndarray:
    return np.array(parameters.view({2: mx.uint16, 4: mx.uint32}[parameters.dtype.size]))


def differences(file: PleatFile, expected: dict, grouping: dict) -> dict[str, str]:
    """The tensors that differ from those of MLX: in which role, and in how many values."""
    assert sorted(file.tensors) == sorted(expected)
    found = {}
    for name, (codes, scales, biases) in expected.items():
        tensor = file.tensors[name]
        assert tensor["encoding"] == grouping | {"offset": "bias"}
        # Both formats pack rows that fill their words in the same way.
        roles = {"codes": np.array(codes), "scales": bits_of(scales), "biases": bits_of(biases)}
        for role, values in roles.items():
            stored = np.frombuffer(file.bytes_of(tensor["parts"][role]), values.dtype)
            assert stored.size == values.size > 0
            if count := np.count_nonzero(stored != values.ravel()):
                found[f"{name} {role}"] = f"{count} of {values.size} differ"
    return found


@pytest.mark.parametrize(("bits", "group"), itertools.product(BITS, GROUPS))
def test_groups_match_mlx(pleat, weights, tmp_path, bits, group):
    source, type, arrays = weights
    file = quantize(pleat, source, tmp_path / "model.pleat", bits, group, type)
    expected = {
        name: mx.quantize(array, group, bits, stream=mx.cpu) for name, array in arrays.items()
    }
    grouping = {"bits": bits, "groupSize": group, "parameters": type}
    assert not differences(file, expected, grouping), f"seed {SEED}"


@pytest.mark.parametrize("parameters", TYPES)
@pytest.mark.parametrize("bits", [4, 8])
def test_the_type_of_parameters_changes_no_codes(pleat, weights, tmp_path, bits, parameters):
    """MLX stores parameters in the type of the weights. Another type only rounds them later."""
    source, _, arrays = weights
    if parameters == "F16":  # larger parameters overflow it
        arrays = {name: array for name, array in arrays.items() if mx.abs(array).max() < 65504}
        kept = safetensors.torch.load_file(source)
        source = tmp_path / "model.safetensors"
        safetensors.torch.save_file({name: kept[name] for name in arrays}, source)
    file = quantize(pleat, source, tmp_path / "model.pleat", bits, 64, parameters)
    expected = {}
    for name, array in arrays.items():
        codes, *rest = mx.quantize(array.astype(mx.float32), 64, bits, stream=mx.cpu)
        expected[name] = (codes, *(values.astype(TYPES[parameters][1]) for values in rest))
    grouping = {"bits": bits, "groupSize": 64, "parameters": parameters}
    assert not differences(file, expected, grouping), f"seed {SEED}"
