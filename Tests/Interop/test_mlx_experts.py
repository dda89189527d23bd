"""Models with experts in MLX: mlx_lm loads ours, and computes what transformers does."""

import json
from pathlib import Path

import architectures
import mlx_expert_models
import numpy as np
import pytest
from mlx_expert_models import CASES, Case
from mlx_models import layers, mlx_lm, mx

# Logits have a root mean square of 2.4 to 5. Everything is in F32, so only the order of sums
# differs. Measured: at most 4e-4. Rounding the weights to four bits changes logits by 4 or more.
SUMS = 1e-3
GROUPS = ["-g", 32, "--parameters", "F32"]
FORMS = ["separate", "stacked"]


class Made:
    """A model and its conversions, each made once."""

    def __init__(self, case: Case, folder: Path):
        self.case = case
        self.paths = mlx_expert_models.make(case, folder)
        self.expected = self.reference(self.paths["separate"])

    @staticmethod
    def reference(folder: Path) -> np.ndarray:
        return architectures.logits(folder, tokens())


def tokens() -> np.ndarray:
    return np.random.default_rng(5).integers(4, 150, (2, 24))


def logits(folder: Path) -> np.ndarray:
    """The logits that mlx_lm computes in F32, the only type of its experts on a CPU."""
    model, _ = mlx_lm.utils.load_model(folder)
    model.set_dtype(mx.float32)
    return np.array(model(mx.array(tokens().astype(np.int32))).astype(mx.float32))


@pytest.fixture(scope="module", params=CASES, ids=str)
def made(request, tmp_path_factory) -> Made:
    return Made(request.param, tmp_path_factory.mktemp(str(request.param)))


@pytest.mark.parametrize("form", FORMS)
def test_mlx_runs_plain_experts(pleat, made, tmp_path, form):
    out = tmp_path / "out"
    pleat.run("convert", made.paths[form], "--to", "mlx", "-o", out)
    assert np.abs(logits(out) - made.expected).max() < SUMS
    pleat.run("verify", out, "--against", made.paths[form], "--tolerance", 0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bits", [4, 8])
def test_mlx_runs_quantized_experts(pleat, made, tmp_path, bits, form):
    """The same codes as in a pleat file, whose decoded weights run in transformers."""
    out, packed, decoded = (tmp_path / name for name in ("out", "packed.pleat", "decoded"))
    pleat.run("quantize", made.paths[form], "--to", "mlx", "-b", bits, *GROUPS, "-o", out)
    rules = ["--rule", f"*={bits}:32"]
    for name in made.case.plain:
        rules += ["--rule", f"*.{name}=keep"]
    source = made.paths["separate"]
    pleat.run("quantize", source, "--to", "pleat", "-b", bits, *GROUPS, *rules, "-o", packed)
    pleat.run("convert", packed, "--to", "safetensors", "--dtype", "F32", "-o", decoded)
    expected = made.reference(decoded)
    assert np.abs(expected - made.expected).max() > SUMS
    assert np.abs(logits(out) - expected).max() < SUMS


def test_the_config_names_layers_as_mlx_does(pleat, made, tmp_path):
    out = tmp_path / "out"
    rule = ["--rule", "*.experts.*down_proj=8:32", "--rule", "*.experts.*.w2=8:32"]
    pleat.run("quantize", made.paths["separate"], "--to", "mlx", *GROUPS, *rule, "-o", out)
    assert set(layers(out).values()) <= {(4, 32), (8, 32)}
    model, _ = mlx_lm.utils.load_model(out)
    named = dict(model.named_modules())
    quantization = json.loads((out / "config.json").read_text())["quantization"]
    for name, value in quantization.items():
        if isinstance(value, dict):
            assert named[name].bits == value["bits"] == 8, name
