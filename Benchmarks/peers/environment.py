"""The Python environment of the interop tests, for benchmarks that need its packages."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def enter(*options: str) -> None:
    """Starts this program again in the environment of scripts/python, unless this is it."""
    command = [ROOT / "scripts/python", *options]
    python = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    if Path(sys.prefix) != Path(python).parents[1]:
        os.execv(python, [python, *sys.argv])
