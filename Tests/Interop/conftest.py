"""The pleat command, the fixtures, and files that several tests share."""

from pathlib import Path

import ggml
import pytest
import tinylm_gguf
from pleat_command import ROOT, Pleat, installed


@pytest.fixture(scope="session")
def pleat() -> Pleat:
    return installed()


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
