"""The pleat command, the fixtures, and files that several tests share."""

import os
import subprocess
from pathlib import Path

import ggml
import pytest
import tinylm_gguf

ROOT = Path(__file__).resolve().parents[2]


class Pleat:
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
def pleat() -> Pleat:
    path = os.environ.get("PLEAT", str(ROOT / ".build/release/pleat"))
    if not os.access(path, os.X_OK):
        pytest.exit(f"expected the pleat command at {path}; run scripts/interop", returncode=4)
    return Pleat(path)


@pytest.fixture(scope="session")
def fixtures() -> Path:
    return ROOT / "fixtures"


@pytest.fixture(scope="session")
def tinylm(fixtures) -> Path:
    return fixtures / "tinylm"


@pytest.fixture(scope="session")
def trained(fixtures) -> Path:
    """The adapters that were trained for tinylm."""
    return fixtures / "adapters"


@pytest.fixture(scope="session")
def tinylm_f16_gguf(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "tinylm-f16.gguf"
    tinylm_gguf.write_gguf(path)
    return path


@pytest.fixture(scope="session")
def quantized_gguf(pleat, tinylm_f16_gguf, tmp_path_factory):
    """Quantizes tinylm to GGUF with groups such as Q4_1 or a mix such as Q4_K_M, once for each."""
    folder = tmp_path_factory.mktemp("quantized")

    def make(type: str) -> Path:
        path = folder / f"{type}.gguf"
        if not path.exists():
            how = ["-b", type[1]]
            if type not in ggml.TYPES:
                how = ["--type", type]
            elif type.endswith("_0"):
                how += ["--offset", "none"]
            pleat.run("quantize", tinylm_f16_gguf, "--to", "gguf", *how, "-o", path)
        return path

    return make
