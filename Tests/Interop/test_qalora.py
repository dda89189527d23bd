"""A layer with a folded QA-LoRA adapter computes the same as with the unmerged adapter."""

import adapters
import numpy as np
import pytest
import qalora
import safetensors.torch
import torch

SEED = 20260412
MODULE = "model.layers.0.mlp.up_proj"
RANK, ALPHA = 8, 12.0
# Rows and columns: square, wide, tall, and a width that is not a power of two.
SHAPES = [(128, 128), (48, 256), (320, 64), (96, 352)]
# The tolerance relative to the RMS of the outputs: folded biases are rounded to float32 once.
ROUNDING = 1e-6


def layer(pleat, folder, shape, bits, parameters="F32"):
    """Writes a quantized model with one layer, and returns its path."""
    generator = torch.Generator().manual_seed(SEED)
    weight = torch.randn(shape, generator=generator) * 0.02
    safetensors.torch.save_file(
        {f"{MODULE}.weight": weight}, folder / "model.safetensors", {"format": "pt"}
    )
    path = folder / "base.pleat"
    options = ["-b", bits, "-g", 32, "--parameters", parameters]
    pleat.run("quantize", folder / "model.safetensors", "--to", "pleat", *options, "-o", path)
    return path


def matrices(shape, group):
    generator = torch.Generator().manual_seed(SEED + 1)
    rows, columns = shape
    return (
        torch.randn(RANK, columns // group, generator=generator) * 0.05,
        torch.randn(rows, RANK, generator=generator) * 0.05,
    )


def weight(pleat, model, folder) -> torch.Tensor:
    return torch.from_numpy(adapters.decoded(pleat, model, folder)[f"{MODULE}.weight"]).double()


def assert_equal_outputs(folded, base, shape, dialect, pair) -> None:
    """Computes in float64, so that only the contents of the file can differ."""
    generator = torch.Generator().manual_seed(SEED + 2)
    x = torch.randn(64, shape[1], generator=generator).double()
    effect = qalora.DIALECTS[dialect](x, *(matrix.double() for matrix in pair), ALPHA)
    expected, found = x @ base.T + effect, x @ folded.T
    size = float(expected.square().mean().sqrt())
    assert float(effect.square().mean().sqrt()) > 1e-3 * size, "the adapter has no effect"
    assert float((found - expected).abs().max()) < ROUNDING * size


@pytest.mark.parametrize("dialect", qalora.DIALECTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("bits", [4, 3, 2])
def test_a_fold_matches_each_dialect(pleat, tmp_path, bits, shape, dialect):
    base, pair = layer(pleat, tmp_path, shape, bits), matrices(shape, 32)
    adapter = adapters.write_adapter(tmp_path / "adapter", {MODULE: pair}, ALPHA)
    out = tmp_path / "out.pleat"
    pleat.run("fold", base, "--adapter", adapter, "--pooling", dialect, "-o", out)
    before = weight(pleat, base, tmp_path / "before")
    after = weight(pleat, out, tmp_path / "after")
    assert_equal_outputs(after, before, shape, dialect, pair)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_config_of_peft_determines_the_dialect(pleat, tmp_path, shape):
    base, pair = layer(pleat, tmp_path, shape, 4), matrices(shape, 32)
    adapter = adapters.write_adapter(
        tmp_path / "adapter", {MODULE: pair}, ALPHA, use_qalora=True, qalora_group_size=32
    )
    pleat.run("fold", base, "--adapter", adapter, "-o", tmp_path / "out.pleat")
    before = weight(pleat, base, tmp_path / "before")
    after = weight(pleat, tmp_path / "out.pleat", tmp_path / "after")
    assert_equal_outputs(after, before, shape, "peft", pair)


@pytest.mark.parametrize("dialect", qalora.DIALECTS)
def test_groups_of_the_adapter_may_span_several_of_the_base(pleat, tmp_path, dialect):
    shape = (48, 256)
    base, pair = layer(pleat, tmp_path, shape, 4), matrices(shape, 64)
    adapter = adapters.write_adapter(tmp_path / "adapter", {MODULE: pair}, ALPHA)
    out = tmp_path / "out.pleat"
    pleat.run("fold", base, "--adapter", adapter, "--pooling", dialect, "-o", out)
    before = weight(pleat, base, tmp_path / "before")
    after = weight(pleat, out, tmp_path / "after")
    assert_equal_outputs(after, before, shape, dialect, pair)


def test_a_fold_without_a_dialect_is_refused(pleat, tmp_path):
    """Adapters of the authors do not state the pooling; a wrong guess is off by a factor of 32."""
    shape = (48, 256)
    base, pair = layer(pleat, tmp_path, shape, 4), matrices(shape, 32)
    adapter = adapters.write_adapter(tmp_path / "adapter", {MODULE: pair}, ALPHA)
    refused = pleat.attempt("fold", base, "--adapter", adapter, "-o", tmp_path / "out.pleat")
    assert refused.returncode != 0 and "--pooling" in refused.stderr
    assert not (tmp_path / "out.pleat").exists()


def test_groups_finer_than_those_of_the_base_are_refused(pleat, tmp_path):
    shape = (48, 256)
    base, pair = layer(pleat, tmp_path, shape, 4), matrices(shape, 16)
    adapter = adapters.write_adapter(tmp_path / "adapter", {MODULE: pair}, ALPHA)
    refused = pleat.attempt(
        "fold", base, "--adapter", adapter, "--pooling", "sum", "-o", tmp_path / "out.pleat"
    )
    assert refused.returncode != 0 and MODULE in refused.stderr
    assert not (tmp_path / "out.pleat").exists()


def test_codes_and_scales_are_unchanged(pleat, tmp_path):
    """Only the offset of each group changes."""
    shape = (96, 352)
    base, pair = layer(pleat, tmp_path, shape, 3, "F16"), matrices(shape, 32)
    adapter = adapters.write_adapter(tmp_path / "adapter", {MODULE: pair}, ALPHA)
    out = tmp_path / "out.pleat"
    pleat.run("fold", base, "--adapter", adapter, "--pooling", "sum", "-o", out)
    before, after = (adapters.parts(path)[f"{MODULE}.weight"] for path in (base, out))
    assert before["codes"] == after["codes"] and before["scales"] == after["scales"]
    assert before["biases"] != after["biases"]
    old = np.frombuffer(before["biases"], "<f2").astype(np.float64).reshape(shape[0], -1)
    new = np.frombuffer(after["biases"], "<f2").astype(np.float64).reshape(shape[0], -1)
    a, b = (matrix.double().numpy() for matrix in pair)
    expected = old + ALPHA / RANK * (b @ a)
    # Half a step of F16, plus a tolerance for sums in float32.
    assert np.all(np.abs(new - expected) <= 2.0**-11 * 1.001 * np.abs(expected) + 2.0**-24)
