"""Codes with scales in pleat files: kept as they are, and read again as the same numbers.

Three readers decode a file: the command, the Python package, and `formats/pleat.py`, which follows
the document.
"""

import importlib.util
import json
import sys
from pathlib import Path

import adapters
import numpy as np
import pleat as document
import pytest
import rtn
import scaled_models
import torch
from scaled_models import FINE_GRAINED, LAYOUTS, MADE_BY_MLX, SCHEMES

HAS_BITSANDBYTES = importlib.util.find_spec("bitsandbytes") is not None
BLOCKWISE = ["NF4", "NF4, nested", "FP4", "INT8"] if HAS_BITSANDBYTES else []
KINDS = [
    *[f"compressed-tensors {name}" for name in SCHEMES],
    *[f"transformers {name}" for name in [*FINE_GRAINED, "DeepSeek"]],
    *[f"layout {name}" for name in LAYOUTS],
    *[f"MLX {name}" for name in MADE_BY_MLX],
    *[f"bitsandbytes {name}" for name in BLOCKWISE],
]


def make(folder: Path, tinylm: Path, kind: str) -> Path:
    """A checkpoint that the library of the kind wrote."""
    library, _, name = kind.partition(" ")
    if library == "compressed-tensors":
        return scaled_models.compressed_model(folder, tinylm, SCHEMES[name], torch.bfloat16)
    if kind == "transformers DeepSeek":
        return scaled_models.deepseek(folder, tinylm)
    if library == "transformers":
        return scaled_models.fine_grained(folder, tinylm, name)
    if library == "layout":
        return scaled_models.layout(folder, tinylm, name)
    if library == "bitsandbytes":
        from blockwise_models import blockwise_model

        blockwise_model(folder, tinylm, name)
        return folder
    import mlx_models

    mode, predicate, _ = MADE_BY_MLX[name]
    wish = {"q_mode": mode, "quant_predicate": predicate}
    mlx_models.mlx_lm.convert(str(tinylm), str(folder), quantize=True, **wish)
    return folder


def encodings(pleat, model: Path) -> dict[str, dict]:
    report = json.loads(pleat.run("inspect", model, "--tensors", "--json"))
    return {tensor["name"]: tensor["encoding"] for tensor in report["tensors"]}


@pytest.fixture(scope="module")
def package():
    """The Python package, whose name the reader of the document has too."""
    source = Path(__file__).parents[2] / "python" / "src" / "pleat" / "__init__.py"
    spec = importlib.util.spec_from_file_location(
        "pleat_package", source, submodule_search_locations=[str(source.parent)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["pleat_package"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", KINDS)
def test_codes_and_scales_are_kept(pleat, package, tinylm, tmp_path, kind):
    folder = make(tmp_path / "theirs", tinylm, kind)
    kept = tmp_path / "kept.pleat"
    pleat.run("convert", folder, "--to", "pleat", "-o", kept)
    stated = encodings(pleat, folder)
    assert encodings(pleat, kept) == stated
    scaled = [name for name, encoding in stated.items() if encoding["type"] == "scaled"]
    assert len(scaled) >= 6
    # The same numbers as without the file between.
    expected = adapters.decoded(pleat, folder, tmp_path / "direct")
    found = adapters.decoded(pleat, kept, tmp_path / "again")
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert not rtn.same_bits(found[name], values), name
    # The document and the package: a tensor of each encoding and shape.
    read, file = document.PleatFile.open(kept), package.read(kept)
    seen = set()
    for name in scaled:
        key = (json.dumps(read.tensors[name]["encoding"]), tuple(read.tensors[name]["shape"]))
        if key in seen:
            continue
        seen.add(key)
        for values in (read.floats(name), file[name]):
            assert values.dtype == np.float32 and not rtn.same_bits(values, expected[name]), name


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if "32 × 32" in kind or "NVFP4" in kind or "nested" in kind]
)
def test_compressed_files_hold_the_same(pleat, tinylm, tmp_path, kind):
    folder = make(tmp_path / "theirs", tinylm, kind)
    raw, packed, again = (tmp_path / f"{name}.pleat" for name in ("raw", "packed", "again"))
    pleat.run("convert", folder, "--to", "pleat", "-o", raw)
    pleat.run("convert", folder, "--to", "pleat", "--compress", "-o", packed)
    assert packed.stat().st_size < raw.stat().st_size
    pleat.run("verify", packed, "--against", folder)
    pleat.run("convert", packed, "--to", "pleat", "-o", again)
    left, right = (document.PleatFile.open(path) for path in (raw, again))
    for name, tensor in left.tensors.items():
        for role, part in tensor["parts"].items():
            other = right.tensors[name]["parts"][role]
            assert left.bytes_of(part) == right.bytes_of(other), (name, role)


@pytest.mark.parametrize(
    ("kind", "to"),
    [
        ("MLX nvfp4", "mlx"),
        ("MLX mxfp8", "mlx"),
        ("compressed-tensors mxfp4-pack-quantized", "gguf"),
    ],
)
def test_other_formats_get_the_same_file(pleat, tinylm, tmp_path, kind, to):
    folder = make(tmp_path / "model", tinylm, kind)
    kept = tmp_path / "model.pleat"
    pleat.run("convert", folder, "--to", "pleat", "-o", kept)
    direct, again = (
        tmp_path / name / ("out.gguf" if to == "gguf" else "out") for name in ("direct", "again")
    )
    for source, out in ((folder, direct), (kept, again)):
        out.parent.mkdir()
        pleat.run("convert", source, "--to", to, "-o", out)
    left, right = (out if to == "gguf" else out / "model.safetensors" for out in (direct, again))
    assert left.read_bytes() == right.read_bytes()
