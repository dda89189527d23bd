"""The annotations of the package agree with one another, and with torch and numpy."""

import subprocess
import sys

from pleat_command import ROOT


def test_types(tmp_path):
    check = [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path)]
    result = subprocess.run(check, cwd=ROOT / "python", capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
