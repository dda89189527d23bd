"""Several processes train the same adapter as one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from pleat_command import ROOT
from training import fold

PROGRAM = Path(__file__).with_name("distributed.py")
STEPS = 6
# In one process, a plain loop does what FSDP does in two.
ALONE = {"ddp": "ddp", "fsdp": "ddp", "accelerate": "ddp", "trainer": "trainer"}


def torchrun(base: Path, folder: Path, processes: int, ways: list[str]) -> Path:
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [sys.executable, *launch, str(PROGRAM), str(base), str(folder), str(STEPS), *ways]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python/src"), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=500)
    assert result.returncode == 0, result.stderr
    return folder


def outcome(folder: Path) -> tuple[list[float], dict[str, torch.Tensor]]:
    """The losses and the adapter that the program left."""
    losses = json.loads((folder / "losses.json").read_text())
    return losses, safetensors.torch.load_file(folder / "adapter/adapter_model.safetensors")


@pytest.fixture(scope="module")
def base(quantized) -> Path:
    return quantized("-b", 4)


@pytest.fixture(scope="module")
def alone(base, tmp_path_factory) -> Path:
    return torchrun(base, tmp_path_factory.mktemp("alone"), 1, sorted(set(ALONE.values())))


@pytest.fixture(scope="module")
def together(base, tmp_path_factory) -> Path:
    return torchrun(base, tmp_path_factory.mktemp("together"), 2, list(ALONE))


@pytest.mark.parametrize("how", ALONE)
def test_two_processes_train_as_one(command, base, alone, together, tmp_path, how):
    losses, adapter = outcome(together / how)
    expected, tensors = outcome(alone / ALONE[how])
    assert len(losses) == STEPS and losses == pytest.approx(expected, rel=1e-4)
    assert adapter.keys() == tensors.keys()
    for name, tensor in tensors.items():
        if "lora_B" in name:
            assert tensor.abs().max() > 1e-3, name
        near = torch.isclose(adapter[name], tensor, rtol=1e-2, atol=1e-4)
        assert near.float().mean() > 0.99, name
    fold(command, base, together / how / "adapter", tmp_path / "tuned.pleat")
