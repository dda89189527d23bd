"""The lines in the README train an adapter that folds exactly."""

import os
import subprocess
import sys

import pleat
from pleat_command import ROOT
from training import decoded, logits


def blocks(section: str) -> list[str]:
    """The code blocks of a section of the README."""
    text = (ROOT / "README.md").read_text().partition(f"\n## {section}\n")[2]
    parts = text.partition("\n## ")[0].split("```")
    return [part.partition("\n")[2] for part in parts[1::2]]


def test_the_lines_of_the_readme_train_and_fold(command, tinylm, rows, tmp_path):
    program, session = blocks("Training")
    (tmp_path / "train.py").write_text(program)
    (tmp_path / "train.txt").write_text((ROOT / "formats/pleat.py").read_text())
    (tmp_path / "tinylm").symlink_to(tinylm)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/pleat").symlink_to(command.path)
    (tmp_path / "bin/python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (tmp_path / "bin/python").chmod(0o755)
    lines = [line for line in session.splitlines() if not line.startswith("pip install ")]
    assert len(lines) == 4
    environment = {
        **os.environ,
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "python/src"),
    }
    subprocess.run(["sh", "-ec", "\n".join(lines)], cwd=tmp_path, env=environment, check=True)
    base, adapter, tuned = (tmp_path / name for name in ("base.pleat", "adapter", "tuned.pleat"))
    assert pleat.verify_fold(base, adapter, tuned) < 0.02
    unmerged = logits(pleat.load_adapter(pleat.load(base), adapter), rows)
    folded = logits(decoded(command, tuned, tmp_path / "decoded"), rows)
    assert (folded - unmerged).abs().max() < 0.03
    assert (folded - logits(pleat.load(base), rows)).abs().max() > 0.3
