"""How far the predictions of quantized models are from those of the model in 16 bits."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import models
import numpy as np
from engine_runs import evaluation
from origins import Origin, calibration
from ours import (
    IN_GROUPS, ROUNDED, SEARCH, SMALL, WEIGHTED, WIDE, Choice, Pleat, blocks, groups,
)  # fmt: skip
from safetensors.torch import load_file, save_file
from theirs import CODEBOOKS, UNWEIGHTED, Peer, by_mlx, peers

TEXT, ROWS = "valid_B.bin", 16  # the first rows of Python source
NARROW, WIDE_CODES = (4, 3, 2), (8, 6, 5)  # bits
SIZES = (32, 64, 128)  # of groups
MODES = ("mxfp4", "nvfp4", "mxfp8")
MIXES = ("Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M")
# As in the other choices, embeddings and head stay in 16 bits.
KEPT = ("--rule", "lm_head.weight=keep", "--rule", "*embed_tokens.weight=keep")
TYPES = [*WIDE, *SMALL, "Q8_0"]
GPTQ = Path(__file__).resolve().parents[1] / "peers/gptq.py"


def rows() -> np.ndarray:
    tokens = np.fromfile(models.REFERENCE / TEXT, "<u2")
    return tokens.reshape(-1, models.ROW)[:ROWS].astype(np.int64)


def choices() -> Iterator[Choice]:
    """Importance where it matters: in groups with a bias up to 4 bits, and in blocks."""
    yield from groups(IN_GROUPS, "bias", SIZES, NARROW)
    plain = [ROUNDED, SEARCH]
    yield from groups(plain, "bias", [32], WIDE_CODES)
    yield from groups(plain, "symmetric", [32], NARROW)
    yield from groups(plain, "zero point", [128], NARROW)
    yield from (one for one in blocks(TYPES) if one.how == WEIGHTED)


def bits_of(inspected: dict) -> float:
    """All stored bits of the weights that are not in 16 bits, for each of them."""
    quantized = [
        one for one in inspected["encodings"] if one["encoding"]["type"] not in ("F16", "F32")
    ]
    weights = sum(one["weightCount"] for one in quantized)
    return 8 * sum(one["byteCount"] for one in quantized) / weights


class Measuring:
    """Adds points: what a model lost, by its size."""

    def __init__(self, origin: Origin, pleat: Pleat, say):
        self.origin, self.pleat, self.say = origin, pleat, say
        self.rows, self.points = rows(), []

    def add(self, series: str, title: str, bits: float, model: Path) -> None:
        against = ("--against", self.origin.folder)
        report = evaluation(self.pleat, model, self.rows, self.pleat.work, *against)["against"]
        line = {"series": series, "title": title, "bits": round(bits, 4)}
        line["divergence"] = float(f"{report['divergence']['mean']:.4g}")
        line["uncertainty"] = float(f"{report['divergence']['error']:.2g}")
        line["sameTop"] = round(report["sameTop"]["mean"], 5)
        self.points.append(line)
        self.say(f"divergence {len(self.points)}: {line}")

    def quantized(self, series: str, title: str, *options) -> None:
        suffix = ".gguf" if "--type" in options else ""
        path = self.pleat.work / f"quantized{suffix}"
        remove(path)
        self.pleat.run("quantize", self.origin.folder, *options, "-o", path)
        inspected = json.loads(self.pleat.run("inspect", path, "--json"))
        self.add(series, title, bits_of(inspected), path)

    def by(self, choice: Choice) -> None:
        bits, folder = self.pleat.quantized(self.origin, choice)
        self.add(choice.series, choice.title, bits, folder)

    def by_peer(self, peer: Peer) -> None:
        """Decoded by the peer, in a checkpoint in F32."""
        bits, decoded = peer.decoded(self.origin)
        folder = self.pleat.work / "decoded"
        remove(folder)
        shutil.copytree(self.origin.folder, folder)
        path = folder / "model.safetensors"
        tensors = load_file(path)
        tensors |= {name: as_tensor(weight) for name, weight in decoded.items()}
        path.chmod(0o644)
        save_file(tensors, path, {"format": "pt"})
        self.add(peer.series, peer.title, bits, folder)

    def by_gptq(self, bits: int, group: int) -> None:
        """GPTQ of gptqmodel, calibrated on the text by which importance is measured."""
        folder, text = self.pleat.work / "gptq", self.pleat.work / "calibration.npy"
        remove(folder)
        np.save(text, calibration())
        command = [sys.executable, GPTQ, self.origin.folder, folder, bits, group, 2, text]
        result = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, check=False, env=os.environ
        )
        if result.returncode:
            raise SystemExit(result.stderr)
        title = f"{bits} bits, zero point, groups of {group}"
        self.add("gptqmodel, gptq", title, bits + (16 + bits) / group, folder)


def as_tensor(weight: np.ndarray):
    import torch

    return torch.from_numpy(np.ascontiguousarray(weight, np.float32))


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def others() -> Iterator[Peer]:
    """llama.cpp with importance, where its types take it; the rules of others, which take none.

    The scheme ggml makes the bytes of llama.cpp, so only its own code runs.
    """
    for one in peers([], [], [*TYPES, "MXFP4"], CODEBOOKS):
        if one.series != "ggml" or one.title in UNWEIGHTED:
            yield one
    for one in peers(list(NARROW), [32], [], []):
        if one.series == "hqq" or one.series == "compressed-tensors" and "zero" in one.title:
            yield one
    sizes = [(bits, 32) for bits in WIDE_CODES] + [(bits, 64) for bits in NARROW]
    for bits, size in [*sizes, *((bits, 32) for bits in NARROW)]:
        yield Peer("mlx", f"{bits} bits, bias, groups of {size}", partial(by_mlx, bits, size))


def document(origin: Origin, pleat: Pleat, say) -> dict:
    measuring = Measuring(origin, pleat, say)
    for mode in MODES:
        measuring.quantized("pleat, mlx mode", mode.upper(), "--to", "pleat", "--mode", mode, *KEPT)
    matrix = ("--importance", origin.matrix.path)
    for mix in MIXES:
        of = ("--type", mix, *KEPT, "--scheme")
        measuring.quantized("pleat, mix", mix, *of, "search", *matrix)
    for choice in choices():
        measuring.by(choice)
    for peer in others():
        measuring.by_peer(peer)
    for bits in NARROW:
        measuring.by_gptq(bits, 32)
    return {
        "title": origin.title, "text": TEXT, "rows": ROWS,
        "tokenCount": int(measuring.rows[:, 1:].size), "points": measuring.points,
    }  # fmt: skip
