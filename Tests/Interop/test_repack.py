"""Repacked groups and folds, run by llama.cpp. Only with --llama."""

import adapters
import gguf
import models
import numpy as np
import pytest
from llama_runs import logits, perplexity
from test_fold import TOLERANCE
from test_llama import ACTIVATION_NOISE, rms

pytestmark = pytest.mark.llama

EVERY = 8  # rows of Python source that are scored: the first of so many
SOURCES = {
    "gptq": ["--to", "gptq"],
    "gptq, 3 bits": ["--to", "gptq-v1", "-b", "3", "-g", "64"],
    "gptq, symmetric": ["--to", "gptq", "--scheme", "symmetric"],
    "gptq, symmetric, 8 bits": ["--to", "gptq", "--scheme", "symmetric", "-b", "8"],
    "awq": ["--to", "awq"],
    "compressed-tensors": ["--to", "compressed-tensors", "--scheme", "zeropoint"],
    "compressed-tensors, symmetric": ["--to", "compressed-tensors", "-b", "5"],
    "mlx": ["--to", "mlx", "--scheme", "mlx"],
    "mlx, 5 bits": ["--to", "mlx", "-b", "5", "-g", "32"],
    "pleat": ["--to", "pleat", "-b", "4"],
}


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return np.concatenate([models.held_out("A")[:1], models.held_out("B")[:1]])


@pytest.mark.parametrize("source", SOURCES)
def test_llama_matches_the_repacked_codes(pleat, tinylm, tmp_path, rows, source):
    """Compares weights decoded by pleat, in transformers, with the same codes in llama.cpp blocks.

    Repacking reorders rows of q and k together with their groups. A bias may be rounded once, which
    is far below the noise of the activations that llama.cpp rounds.
    """
    packed, out, plain = tmp_path / "packed", tmp_path / "out.gguf", tmp_path / "plain"
    pleat.run("quantize", tinylm, *SOURCES[source], "-o", packed)
    pleat.run("convert", packed, "--to", "gguf", "-o", out)
    pleat.run("convert", packed, "--to", "safetensors", "--dtype", "F32", "-o", plain)
    expected = models.logits(models.load(plain, tinylm), rows)
    found = logits(out, rows)
    assert rms(found - expected) < ACTIVATION_NOISE
    without = models.logits(models.load(tinylm, tinylm), rows)
    if "8 bits" not in source:
        assert rms(found - without) > 1.5 * ACTIVATION_NOISE  # the noise does not hide the rounding
    # Block types show that the codes were repacked and not decoded.
    types = {tensor.tensor_type.name for tensor in gguf.GGUFReader(out).tensors}
    assert types & {"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"}


def test_a_folded_qalora_runs_in_llama_like_the_unmerged_adapter(pleat, tinylm, trained, tmp_path):
    """Compares Q4_1 with the adapter in its offsets to the unmerged adapter in PyTorch."""
    base, folded, plain = (tmp_path / name for name in ("base.gguf", "folded.gguf", "plain"))
    keep = ["--rule", "*embed_tokens*=keep", "--rule", "lm_head*=keep"]
    pleat.run("quantize", tinylm, "--to", "gguf", "-b", 4, *keep, "-o", base)
    said = pleat.run("fold", base, "--adapter", trained / "qalora_int4", "-o", folded)
    assert "0 of 4.72 M codes changed" in said
    pleat.run("quantize", tinylm, "--to", "pleat", "-b", 4, "-o", tmp_path / "base.pleat")
    pleat.run(
        "convert", tmp_path / "base.pleat", "--to", "safetensors", "--dtype", "F32", "-o", plain
    )
    updates = adapters.expanded(trained / "qalora_int4")
    unmerged = models.perplexity(models.with_updates(plain, tinylm, updates), "B", EVERY)
    assert unmerged < 0.9 * perplexity(base, "B", EVERY)
    assert perplexity(folded, "B", EVERY) == pytest.approx(unmerged, rel=TOLERANCE)


def test_a_qalora_on_gptq_folds_exactly_into_llama_blocks(
    pleat, tinylm, trained, tmp_path, rows
):
    """Integer zero points would round the update. The bias of Q4_1 stores zero point and update."""
    base, folded, plain = tmp_path / "base", tmp_path / "folded.gguf", tmp_path / "plain"
    adapter = trained / "qalora_int4"
    pleat.run("quantize", tinylm, "--to", "gptq", "-g", 32, "-o", base)
    pleat.run("fold", base, "--adapter", adapter, "--to", "gguf", "-o", folded)
    pleat.run("convert", base, "--to", "safetensors", "--dtype", "F32", "-o", plain)
    unmerged = models.with_updates(plain, tinylm, adapters.expanded(adapter))
    found, expected = logits(folded, rows), models.logits(unmerged, rows)
    assert rms(found - expected) < ACTIVATION_NOISE
    without = models.logits(models.load(plain, tinylm), rows)
    assert rms(expected - without) > 10 * ACTIVATION_NOISE
