"""The scheme ggml writes the same bytes as the quantizers of llama.cpp."""

from pathlib import Path

import ggml
import gguf
import numpy as np
import pytest

SEED = 20
TYPES = sorted(ggml.TYPES)
COLUMNS = 96


def matrices() -> dict[str, np.ndarray]:
    """Matrices with blocks for every case of the arithmetic."""
    random = np.random.default_rng(SEED)

    def ties(least: int, most: int, edge: float) -> np.ndarray:
        """Multiples of ½, with one value in each block that makes the scale 1."""
        values = random.integers(2 * least, 2 * most + 1, (400, COLUMNS)) / 2
        values[:, ::32] = edge
        return values

    result = {
        "random": random.standard_normal((1000, COLUMNS)),
        "weights": random.standard_normal((1000, COLUMNS)) * 0.02,
        "large": random.uniform(-65504, 65504, (300, COLUMNS)),
        "quarters": random.integers(-30, 31, (500, COLUMNS)) / 4,
        "ties of Q4_0": ties(-7, 8, -8),
        "ties of Q5_0": ties(-15, 16, -16),
        "ties of Q8_0": ties(-127, 127, 127),
        "ties of Q4_1": np.where(np.arange(COLUMNS) % 32 == 1, 15, ties(0, 15, 0)),
        "ties of Q5_1": np.where(np.arange(COLUMNS) % 32 == 1, 31, ties(0, 31, 0)),
        "zeros": np.zeros((2, COLUMNS)),
        "one-sided": np.abs(random.standard_normal((100, COLUMNS))),
        "constants": np.repeat(
            np.concatenate([random.standard_normal(60), [1, -1, 65504, -65504, 1e-30, -1e-44]]),
            COLUMNS,
        ).reshape(-1, COLUMNS),
    }
    # Scales and reciprocals that are subnormal or infinite.
    for exponent in (-14, -20, -24, -100, -120, -123, -125, -127, -130, -140, -146, -148):
        result[f"2^{exponent}"] = random.standard_normal((200, COLUMNS)) * 2.0**exponent
    return {name: values.astype(np.float32) for name, values in result.items()}


def signed_zeros() -> dict[str, np.ndarray]:
    random = np.random.default_rng(SEED)
    zeros = np.where(random.random((300, COLUMNS)) < 0.5, np.float32(0), np.float32(-0.0))
    values = np.abs(random.standard_normal((300, COLUMNS))).astype(np.float32)
    return {
        "negative zeros": np.full((2, COLUMNS), -0.0, np.float32),
        "both zeros": zeros,
        "both zeros and more": np.where(random.random((300, COLUMNS)) < 0.3, zeros, values),
    }


def encoded(pleat, folder: Path, arrays: dict[str, np.ndarray], type: str) -> dict[str, bytes]:
    """The blocks of the matrices, quantized by pleat, by the name of the matrix."""
    writer = gguf.GGUFWriter(folder / "source.gguf", "llama")
    names = {f"blk.{index}.ffn_up.weight": name for index, name in enumerate(arrays)}
    for stored, name in names.items():
        writer.add_tensor(stored, arrays[name])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    options = ["--to", "gguf", "--scheme", "ggml", "--type", type, "--pure"]
    pleat.run("quantize", folder / "source.gguf", *options, "-o", folder / "out.gguf")
    found = ggml.blocks(folder / "out.gguf")
    assert sorted(found) == sorted(names)
    assert {name for name, _ in found.values()} == {type}
    return {names[name]: data for name, (_, data) in found.items()}


def differing_blocks(found: bytes, expected: bytes, type: str) -> int:
    size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[type]][1]
    assert len(found) == len(expected) > 0
    rows = [np.frombuffer(data, np.uint8).reshape(-1, size) for data in (found, expected)]
    return int((rows[0] != rows[1]).any(axis=1).sum())


@pytest.mark.llama
@pytest.mark.parametrize("type", TYPES)
def test_blocks_match_ggml(pleat, tmp_path, type):
    arrays = matrices() | signed_zeros()
    found = encoded(pleat, tmp_path, arrays, type)
    differences = {
        name: differing_blocks(found[name], ggml.quantized(values, type), type)
        for name, values in arrays.items()
    }
    assert not any(differences.values()), differences


@pytest.mark.parametrize("type", TYPES)
def test_blocks_match_the_gguf_package(pleat, tmp_path, type):
    """The numpy code may choose any of several zeros, so no matrix has zeros of both signs."""
    arrays = matrices()
    if type in ("Q4_0", "Q5_0"):
        del arrays["zeros"]  # the scale of zeros is -0 / -8 in the numpy code, and 0 / -8 in ggml
    found = encoded(pleat, tmp_path, arrays, type)
    with np.errstate(all="ignore"):
        differences = {
            name: differing_blocks(
                found[name],
                gguf.quants.quantize(values, gguf.GGMLQuantizationType[type]).tobytes(),
                type,
            )
            for name, values in arrays.items()
        }
    assert not any(differences.values()), differences


@pytest.mark.parametrize("type", TYPES)
def test_scales_that_overflow_float16_are_refused(pleat, tmp_path, type):
    """llama.cpp writes infinite scales in this case."""
    values = np.ones((2, COLUMNS), np.float32)
    values[1, 40] = 65520 * 255
    writer = gguf.GGUFWriter(tmp_path / "source.gguf", "llama")
    writer.add_tensor("blk.0.ffn_up.weight", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    options = ["--to", "gguf", "--scheme", "ggml", "--type", type, "--pure"]
    paths = [tmp_path / "source.gguf", "-o", tmp_path / "out.gguf"]
    result = pleat.attempt("quantize", *paths, *options)
    assert result.returncode == 69, result.stderr
    assert "blk.0.ffn_up.weight" in result.stderr
    assert not (tmp_path / "out.gguf").exists()
