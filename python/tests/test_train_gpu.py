"""scripts/train-gpu, which has no accelerator here: on the CPU, with a small model."""

import subprocess
import sys

from pleat_command import ROOT


def test_train_gpu(command):
    small = ["--model", ROOT / "fixtures/tinylm", "--steps", 1, "--batch", 1, "--length", 16]
    script = [sys.executable, ROOT / "scripts/train-gpu", "--pleat", command.path, *small]
    script += ["--device", "cpu", "--rounds", 1]
    words = list(map(str, script))
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    checked = [line for line in result.stdout.splitlines() if line.endswith(": yes")]
    assert len(checked) == 4
    rows = [line.split("|")[1].strip() for line in result.stdout.splitlines() if "|" in line]
    assert rows[-3:] == ["lora", "qlora", "qalora"]
