"""The models that are adapted, and the text: Python source, as rows of tokens."""

import hashlib
import shutil
import sysconfig
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import models
import numpy as np
import origins
import tinylm_gguf
import torch
import transformers
from models import ROW

SMALLEST, LARGEST = 2_000, 60_000  # bytes of a file that is used
LEFT_OUT = {"site-packages", "test", "tests", "idle_test", "encodings"}  # folders
BITS = (4, 3, 2)
SCHEMES = ("minmax", "search", "gptqmodel")
CALIBRATION = 64  # rows that GPTQ measures
FILE_ROWS = 6  # rows of a file at most
RUN = 24  # a file to learn has no run of so many tokens in common with the held-out rows


@dataclass(frozen=True)
class Subject:
    """A checkpoint in F16, and how much of the text it learns and is judged by."""

    title: str
    folder: Path
    learned: np.ndarray  # rows × ROW tokens: a training takes each row once
    calibration: np.ndarray  # rows of the same text that are not learned, for GPTQ
    judged: np.ndarray  # rows of held-out text
    batch: int  # rows in a step
    steps: int  # of a training, except those that choose rates, which take all rows
    groups: tuple[int, ...]  # sizes of groups that divide its rows
    bits: tuple[int, ...]
    pace: float = 1  # what the rates of tinylm are multiplied by


def tinylm(work: Path) -> Subject:
    folder = tinylm_gguf.TINYLM
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    judged = models.held_out("B")
    return subject(
        "tinylm", folder, tokenizer, judged, steps=60, rate_steps=120, batch=8,
        groups=(32, 64, 128), bits=BITS,
    )  # fmt: skip


def smollm2(work: Path) -> Subject:
    """SmolLM2-135M-Instruct, as transformers decodes it from Q4_1."""
    place = origins.smollm2_place()
    model = transformers.AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(**place)
    folder = work / "smollm2"
    shutil.rmtree(folder, ignore_errors=True)
    origins.save(model, folder)
    tokenizer.save_pretrained(folder)
    ours = transformers.AutoTokenizer.from_pretrained(tinylm_gguf.TINYLM)
    judged = rows_of(tokenizer, ours.decode(models.held_out("B").ravel()))[:8]
    title = "SmolLM2-135M-Instruct"
    return subject(
        title, folder, tokenizer, judged, steps=16, batch=2, groups=(32, 64), bits=BITS, pace=0.1
    )


SUBJECTS = {"tinylm": tinylm, "smollm2": smollm2}


def subject(
    title, folder, tokenizer, judged, *, steps, batch, groups, bits, rate_steps=0, **more
) -> Subject:
    rows = source_rows(tokenizer, judged, CALIBRATION + max(steps, rate_steps) * batch)
    learned, calibration = rows[CALIBRATION:], rows[:CALIBRATION]
    return Subject(title, folder, learned, calibration, judged, batch, steps, groups, bits, **more)


def tuning() -> np.ndarray:
    """Rows of tinylm by which learning rates are chosen: between those that are judged."""
    rows = np.fromfile(models.REFERENCE / "valid_B.bin", "<u2").reshape(-1, ROW)
    return rows[1::8].astype(np.int64)


def rows_of(tokenizer, text: str) -> np.ndarray:
    tokens = tokenizer.encode(text, add_special_tokens=False, verbose=False)
    return np.array(tokens[: len(tokens) // ROW * ROW], np.int64).reshape(-1, ROW)


def source_rows(tokenizer, held_out: np.ndarray, count: int) -> np.ndarray:
    """The first rows of the files in `sources`, but not of those that repeat held-out text."""
    known, found = set(runs(held_out.ravel())), []
    for path in sources():
        rows = rows_of(tokenizer, path.read_text("utf-8", "ignore"))
        if known.isdisjoint(runs(rows.ravel())):
            found.extend(rows[:FILE_ROWS])
        if len(found) >= count:
            return np.stack(found[:count])
    raise SystemExit(f"the Python packages here have {len(found)} rows, fewer than {count}")


def sources() -> list[Path]:
    """Source files of the standard library and of the installed packages.

    First comes one file of each module or package, then a second one of each, and so on. The order
    is that of the hashes of paths.
    """
    packages = defaultdict(list)
    for root in map(Path, (sysconfig.get_paths()["stdlib"], sysconfig.get_paths()["purelib"])):
        for path in sorted(root.rglob("*.py")):
            inside = path.relative_to(root)
            if LEFT_OUT.isdisjoint(inside.parts) and SMALLEST < path.stat().st_size < LARGEST:
                digest = hashlib.sha256(inside.as_posix().encode()).digest()
                packages[root, inside.parts[0]].append((digest, path))
    ranked = [
        (rank, *file) for files in packages.values() for rank, file in enumerate(sorted(files))
    ]
    return [path for _, _, path in sorted(ranked)]


def runs(tokens: np.ndarray) -> list[bytes]:
    return [tokens[start : start + RUN].tobytes() for start in range(len(tokens) - RUN + 1)]
