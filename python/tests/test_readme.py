"""The lines in the README train an adapter that folds exactly and runs in every runtime."""

import os
import subprocess
import sys
from pathlib import Path

import pleat
import pytest
import torch
import transformers
from pleat_command import ROOT
from training import logits

# Biases in F16 are rounded once; logits reach 14.
TOLERANCE = 0.03
# llama.cpp rounds the inputs of quantized weights to eight bits; a median over tokens, in RMS.
ACTIVATION_NOISE = 0.1


def blocks(section: str) -> list[str]:
    """The code blocks of a section of the README."""
    text = (ROOT / "README.md").read_text().partition(f"\n## {section}\n")[2]
    parts = text.partition("\n## ")[0].split("```")
    return [part.partition("\n")[2] for part in parts[1::2]]


@pytest.fixture(scope="module")
def folder(command, tinylm, tmp_path_factory) -> Path:
    """Where the lines of the README ran."""
    folder = tmp_path_factory.mktemp("readme")
    program, session = blocks("Training")
    (folder / "train.py").write_text(program)
    (folder / "train.txt").write_text((ROOT / "formats/pleat.py").read_text())
    (folder / "tinylm").symlink_to(tinylm)
    (folder / "bin").mkdir()
    (folder / "bin/pleat").symlink_to(command.path)
    (folder / "bin/python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (folder / "bin/python").chmod(0o755)
    lines = [line for line in session.splitlines() if not line.startswith("pip install ")]
    assert len(lines) == 7
    environment = {
        **os.environ,
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "python/src"),
    }
    subprocess.run(["sh", "-ec", "\n".join(lines)], cwd=folder, env=environment, check=True)
    return folder


@pytest.fixture(scope="module")
def unmerged(folder, rows) -> torch.Tensor:
    """The logits of the base with the adapter apart, which differ from those of the base."""
    base = pleat.load(folder / "base.pleat")
    alone = logits(base, rows)
    found = logits(pleat.load_adapter(base, folder / "adapter"), rows)
    assert (found - alone).abs().max() > 0.3
    return found


def test_the_adapter_folds_exactly(folder, rows, unmerged):
    base, adapter, tuned = (folder / name for name in ("base.pleat", "adapter", "tuned.pleat"))
    assert pleat.verify_fold(base, adapter, tuned) < 0.02
    assert (logits(pleat.load(tuned), rows) - unmerged).abs().max() < TOLERANCE


def test_the_folded_model_runs_in_transformers(folder, rows, unmerged):
    model = transformers.AutoModelForCausalLM.from_pretrained(folder / "tuned", dtype=torch.float32)
    assert (logits(model, rows) - unmerged).abs().max() < TOLERANCE


def test_the_folded_model_runs_in_mlx(folder, rows, unmerged):
    mlx_models = pytest.importorskip("mlx_models")
    found = mlx_models.load(folder / "tuned-mlx")(rows).logits
    assert (found - unmerged).abs().max() < TOLERANCE


def test_the_folded_model_runs_in_llama(folder, rows, unmerged):
    pytest.importorskip("llama_cpp")
    import gguf
    import llama_runs

    path = folder / "tuned.gguf"
    types = {tensor.tensor_type.name for tensor in gguf.GGUFReader(path).tensors}
    assert "Q4_1" in types
    found = torch.from_numpy(llama_runs.logits(path, rows.numpy()))
    assert (found - unmerged).square().mean(-1).sqrt().median() < ACTIVATION_NOISE
