"""The pleat command, for the tests of this folder and of the Python package."""

import os
import subprocess
from pathlib import Path

import pytest

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


def installed() -> Pleat:
    """The command at $PLEAT, or of the release build. Ends the run if there is none."""
    path = os.environ.get("PLEAT", str(ROOT / ".build/release/pleat"))
    if not os.access(path, os.X_OK):
        pytest.exit(f"expected the pleat command at {path}; run scripts/interop", returncode=4)
    return Pleat(path)
