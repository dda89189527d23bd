"""Adapters of MLX and llama.cpp, read by pleat."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import gguf_files
import models
import numpy as np
import pytest
import rtn
from peft import PeftModel
from tinylm_gguf import checkpoint

SEED = 20260414


@pytest.fixture(scope="module")
def llama_converted(tinylm, trained, tmp_path_factory) -> Path:
    """The plain LoRA, converted by llama.cpp."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "pleat"
    cache = Path(os.environ.get("PLEAT_CACHE", default))
    script = next(cache.glob("llama-cpp-python-*/source/vendor/llama.cpp/convert_lora_to_gguf.py"))
    out = tmp_path_factory.mktemp("llama") / "lora.gguf"
    command = [sys.executable, script, "--base", tinylm, "--outfile", out, "--outtype", "f32"]
    subprocess.run([*command, trained / "lora_fp16"], check=True, capture_output=True)
    return out


@pytest.mark.llama
def test_a_llama_adapter_folds_like_its_source(
    pleat, llama_converted, tinylm, tinylm_f16_gguf, trained, tmp_path
):
    for index, (model, suffix) in enumerate([(tinylm, ""), (tinylm_f16_gguf, ".gguf")]):
        found, expected = (tmp_path / f"{name}-{index}{suffix}" for name in ("found", "expected"))
        pleat.run("fold", model, "--adapter", llama_converted, "-o", found)
        pleat.run("fold", model, "--adapter", trained / "lora_fp16", "-o", expected)
        read = gguf_files.values if suffix else checkpoint
        before, after = read(expected), read(found)
        assert sorted(after) == sorted(before)
        for name in before:
            assert not rtn.same_bits(after[name], before[name]), name


# MLX


def mlx():
    if sys.platform == "darwin" and platform.machine() != "arm64":
        pytest.skip("mlx is not available for Intel Macs")
    import mlx.core

    return mlx.core


# The tolerance of logits, which reach 14.7. Sums in another order changed them by at most 1.6e-5.
SUMS = 1e-4
RANK, SCALE = 8, 20.0  # MLX multiplies by the scale, whatever the rank
SHAPES = {
    "model.layers.0.self_attn.q_proj": (256, 256),
    "model.layers.3.self_attn.k_proj": (128, 256),
    "model.layers.5.mlp.down_proj": (256, 768),
}


def mlx_adapter(folder: Path, kind: str = "lora") -> dict[str, tuple]:
    """Writes adapters.safetensors as mlx_lm does; a: [in, r], b: [r, out], m: [out] for DoRA."""
    core, random = mlx(), np.random.default_rng(SEED)
    folder.mkdir()
    arrays, parts = {}, {}
    for module, (rows, columns) in SHAPES.items():
        a = random.standard_normal((columns, RANK)).astype(np.float32) * 0.02
        b = random.standard_normal((RANK, rows)).astype(np.float32) * 0.02
        arrays |= {f"{module}.lora_a": core.array(a), f"{module}.lora_b": core.array(b)}
        m = random.uniform(0.2, 0.5, rows).astype(np.float32)
        arrays |= {f"{module}.m": core.array(m)} if kind == "dora" else {}
        parts[f"{module}.weight"] = a, b, m
    core.save_safetensors(str(folder / "adapters.safetensors"), arrays)
    settings = {
        "fine_tune_type": kind,
        "num_layers": 6,
        "model": "tinylm",
        "lora_parameters": {"rank": RANK, "dropout": 0.0, "scale": SCALE, "keys": None},
    }
    (folder / "adapter_config.json").write_text(json.dumps(settings, indent=4))
    return parts


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_an_mlx_adapter_folds_by_its_formula(pleat, tinylm, tmp_path, kind):
    """y += scale · x · a · b; DoRA scales each row of the sum to the length m."""
    parts = mlx_adapter(tmp_path / "adapter", kind)
    pleat.run("fold", tinylm, "--adapter", tmp_path / "adapter", "-o", tmp_path / "out")
    before, after = checkpoint(tinylm), checkpoint(tmp_path / "out")
    assert sorted(after) == sorted(before)
    for name, weight in before.items():
        if name not in parts:
            assert not rtn.same_bits(after[name], weight), name
            continue
        a, b, m = (part.astype(np.float64) for part in parts[name])
        expected = weight.astype(np.float64) + SCALE * (a @ b).T
        if kind == "dora":
            expected *= (m / np.linalg.norm(expected, axis=1))[:, None]
        expected = expected.astype(np.float16)
        assert np.count_nonzero(after[name] != expected) <= 1e-3 * expected.size, name
        assert np.all(np.abs(after[name] - expected) <= np.spacing(np.abs(expected))), name


def test_an_mlx_adapter_is_exported_to_peft(pleat, tinylm, tmp_path):
    parts = mlx_adapter(tmp_path / "adapter")
    out = tmp_path / "peft"
    pleat.run("attach", tinylm, "--adapter", tmp_path / "adapter", "--to", "peft", "-o", out)
    model = PeftModel.from_pretrained(models.load(tinylm, tinylm), out).eval()
    deltas = {name: SCALE * (a @ b).T for name, (a, b, _) in parts.items()}
    expected = models.with_updates(tinylm, tinylm, deltas)
    rows = models.reference_rows()
    largest = float(np.abs(models.logits(model, rows) - models.logits(expected, rows)).max())
    assert largest < SUMS
