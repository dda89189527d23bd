"""The scheme ggml writes the bytes of llama.cpp in all block types, with and without importance."""

from pathlib import Path

import ggml
import gguf
import numpy as np
import pytest
from test_ggml_scheme import differing_blocks

pytestmark = pytest.mark.llama

SEED = 28
TYPES = sorted(ggml.BLOCK_TYPES)
ROWS, COLUMNS = 24, 1024


def matrices(random: np.random.Generator) -> dict[str, np.ndarray]:
    shape = (ROWS, COLUMNS)
    normal = random.standard_normal

    def repeated(values: np.ndarray, length: int) -> np.ndarray:
        """A matrix with one value for every `length` columns."""
        return np.repeat(values.reshape(ROWS, -1), length, axis=1)

    result = {
        "random": normal(shape),
        "weights": normal(shape) * 0.02,
        "heavy tails": random.standard_t(3, shape),
        "outliers": normal(shape) * 0.01 + (random.random(shape) < 0.01) * normal(shape) * 10,
        "ties": random.integers(-64, 65, shape) / 64,
        "halves": random.integers(-30, 31, shape) / 2,
        "integers": random.integers(-3, 4, shape),
        "ternary": random.integers(-1, 2, shape) * 0.7,
        "zeros": np.where(random.random(shape) < 0.5, 0.0, -0.0),
        "constant rows": repeated(normal(ROWS), COLUMNS),
        "constant sub-blocks": repeated(normal(ROWS * COLUMNS // 16), 16),
        "sparse": (random.random(shape) < 0.02) * normal(shape),
        "zero sub-blocks": normal(shape) * repeated(random.random(ROWS * COLUMNS // 16) < 0.6, 16),
        "positive": abs(normal(shape)),
        "negative": -abs(normal(shape)),
        "above 1": 1 + normal(shape) * 0.02,
        "below -1": -1 + normal(shape) * 0.02,
        "near 1000": 1000 + normal(shape) * 1e-4,
        "near -1000": -1000 + normal(shape) * 1e-4,
        "log-uniform": 10.0 ** random.uniform(-12, 1, shape) * random.choice([-1, 1], shape),
    }
    for least in (-9, -44):
        sizes = 10.0 ** random.uniform(least, 2, ROWS * COLUMNS // 16)
        result[f"sub-blocks from 1e{least}"] = normal(shape) * repeated(sizes, 16)
    for exponent in (-41, -40, -38, -37, -36, -30, -20, -12, -8, -6, 3):
        result[f"1e{exponent}"] = normal(shape) * 10.0**exponent
    return {name: np.ascontiguousarray(values, np.float32) for name, values in result.items()}


def importances(random: np.random.Generator) -> dict[str, np.ndarray]:
    chance = random.random(COLUMNS)
    squares = random.chisquare(2, COLUMNS)
    result = {
        "ones": np.ones(COLUMNS),
        "squares": squares,
        "log-uniform": 10.0 ** random.uniform(-8, 4, COLUMNS),
        "wide": 10.0 ** random.uniform(-30, 20, COLUMNS),
        "some zeros": squares * (chance > 0.3),
        "mostly zeros": squares * (chance < 0.04),
        "few large": np.where(chance < 0.06, 1e6, 1e-12),
        "zero sub-blocks": squares * np.repeat(random.random(COLUMNS // 32) < 0.5, 32),
        "zeros": np.zeros(COLUMNS),
    }
    return {name: values.astype(np.float32) for name, values in result.items()}


def write_tensors(path: Path, tensors: dict[str, np.ndarray], architecture: str) -> None:
    writer = gguf.GGUFWriter(path, architecture)
    for name, values in tensors.items():
        writer.add_tensor(name, values)
    if architecture == "imatrix":
        writer.add_type("imatrix")
        writer.add_array("imatrix.datasets", ["made up"])
        writer.add_uint32("imatrix.chunk_count", 1)
        writer.add_uint32("imatrix.chunk_size", 1)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def differences(pleat, folder: Path, type: str, cases: dict) -> dict[str, int]:
    """The number of blocks that differ, for each case of a matrix and its importance."""
    names = {case: f"blk.{index}.ffn_up.weight" for index, case in enumerate(cases)}
    write_tensors(
        folder / "source.gguf", {names[case]: cases[case][0] for case in cases}, "llama"
    )
    mix = "MXFP4_MOE" if type == "MXFP4" else type
    options = ["--to", "gguf", "--scheme", "ggml", "--type", mix, "--pure"]
    sums = {}
    for case, (_, importance) in cases.items():
        if importance is not None:
            # One token was counted, so the sums are the weights.
            sums[f"{names[case]}.in_sum2"] = importance.reshape(1, -1)
            sums[f"{names[case]}.counts"] = np.ones((1, 1), np.float32)
    if sums:
        write_tensors(folder / "importance.gguf", sums, "imatrix")
        options += ["--importance", folder / "importance.gguf"]
    pleat.run("quantize", folder / "source.gguf", *options, "-o", folder / "out.gguf")
    found = ggml.blocks(folder / "out.gguf")
    assert {found[name][0] for name in names.values()} == {type}
    counts = {
        case: differing_blocks(
            found[names[case]][1], ggml.quantized(values, type, importance), type
        )
        for case, (values, importance) in cases.items()
    }
    return {case: count for case, count in counts.items() if count}


@pytest.mark.parametrize("type", TYPES)
def test_blocks_match_ggml(pleat, tmp_path, type):
    random = np.random.default_rng(SEED)
    cases = {name: (values, None) for name, values in matrices(random).items()}
    assert not differences(pleat, tmp_path, type, cases)


@pytest.mark.parametrize("type", TYPES)
def test_blocks_with_importance_match_ggml(pleat, tmp_path, type):
    random = np.random.default_rng(SEED + 1)
    weights = importances(random)
    cases = {
        f"{name}, {kind}": (values, importance)
        for name, values in matrices(random).items()
        for kind, importance in weights.items()
    }
    assert not differences(pleat, tmp_path, type, cases)
