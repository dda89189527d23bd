"""The pleat command, the fixtures, and models that several tests share."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


class Command:
    """The pleat command."""

    def __init__(self, path: str):
        self.path = path

    def attempt(self, *arguments) -> subprocess.CompletedProcess:
        return subprocess.run(
            [self.path, *map(str, arguments)], capture_output=True, text=True, timeout=300
        )

    def run(self, *arguments) -> str:
        """The standard output. Fails the test with the error output if the command fails."""
        result = self.attempt(*arguments)
        if result.returncode != 0:
            command = " ".join(["pleat", *map(str, arguments)])
            pytest.fail(
                f"{command}\nexit status {result.returncode}\n{result.stderr}", pytrace=False
            )
        return result.stdout


@pytest.fixture(scope="session")
def command() -> Command:
    path = os.environ.get("PLEAT", str(ROOT / ".build/release/pleat"))
    if not os.access(path, os.X_OK):
        pytest.exit(f"expected the pleat command at {path}; run scripts/interop", returncode=4)
    return Command(path)


@pytest.fixture(scope="session")
def fixtures() -> Path:
    return ROOT / "fixtures"


@pytest.fixture(scope="session")
def tinylm(fixtures) -> Path:
    return fixtures / "tinylm"


@pytest.fixture(scope="session")
def quantized(command, tinylm, tmp_path_factory):
    """Quantizes tinylm to a pleat file, once for the same options."""
    folder = tmp_path_factory.mktemp("quantized")

    def make(*options) -> Path:
        path = folder / ("_".join(map(str, options)).replace("*", "x") + ".pleat")
        if not path.exists():
            command.run("quantize", tinylm, "--to", "pleat", *options, "-o", path)
        return path

    return make


@pytest.fixture(scope="session")
def rows(fixtures) -> torch.Tensor:
    """Four rows of Python source, which tinylm was not trained on."""
    tokens = np.fromfile(fixtures / "tinylm-reference/valid_B.bin", "<u2").reshape(-1, 256)
    return torch.from_numpy(tokens[:4, :48].astype(np.int64))
