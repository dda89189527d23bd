"""The pleat command, the fixtures, and models that several tests share."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pleat_command import ROOT, Pleat, installed


@pytest.fixture(scope="session")
def command() -> Pleat:
    return installed()


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
