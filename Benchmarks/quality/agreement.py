"""Perplexities of the same weights in Pleat, transformers, MLX and llama.cpp, which must agree."""

import math
from pathlib import Path

import llama_runs
import mlx_models
import models
import numpy as np
import tinylm_gguf
from engine_runs import evaluation, losses, write_tokens
from importance import BOS, CHUNKS, DATASET, chunks
from ours import ROUNDED, SEARCH, Pleat
from rtn import LINEARS
from running import SETS

CALIBRATED, FIXTURE = "search, pleat calibrate", "search, llama-imatrix"
HOWS = (ROUNDED, SEARCH, CALIBRATED, FIXTURE)
BITS, GROUP = (4, 3, 2), 32
MATRIX = tinylm_gguf.TINYLM.parent / "importance/tinylm.gguf"

# Of two programs that compute in float32 the order of sums differs, and little else. Relative.
SAME = 1e-5
# llama.cpp rounds the inputs of weights in blocks to 8 bits. How far that moves its perplexity from
# that of the same weights in F32 is measured, and may be no more than this. Relative.
NOISE = 1e-3
OURS, PLAIN, ROUNDS = "pleat eval", "llama.cpp, F32", "llama.cpp, Q4_1"
THEIRS = ("transformers", "mlx-lm", PLAIN, ROUNDS)
# The other programs run 4 rows of each text, of which Pleat runs all: every so many.
EVERY = {"B": 32, "A": 16}
FEW = "pleat eval, 4 rows"


def few(name: str) -> np.ndarray:
    return models.held_out(name)[:: EVERY[name]]


def calibrated(pleat: Pleat) -> Path:
    """The importance that `pleat calibrate` measures on the text of the matrix in fixtures."""
    text, path = pleat.work / "calibration.bin", pleat.work / "calibrated.gguf"
    rows = write_tokens(chunks(), text)
    context = ("--context", models.ROW, "--bos", "yes", "--chunks", CHUNKS)
    assert (BOS, DATASET) == (1, "valid_A.bin")
    pleat.run("calibrate", tinylm_gguf.TINYLM, "--tokens", rows, *context, "-o", path)
    return path


def difference(one: Path, other: Path) -> float:
    """The largest relative difference of importance in a column."""
    import gguf

    def sums(path: Path) -> dict:
        return {tensor.name: tensor.data for tensor in gguf.GGUFReader(path).tensors}

    ours, theirs = sums(one), sums(other)
    assert ours.keys() == theirs.keys() and len(ours) == 2 * 6 * len(LINEARS)
    return float(max(np.abs(ours[name] / theirs[name] - 1).max() for name in ours))


def by_pleat(pleat: Pleat, model: Path) -> tuple[dict[str, float], dict[str, float]]:
    """The perplexities of all rows, and those of the rows that other programs run."""
    whole, part = {}, {}
    for name in SETS:
        report = evaluation(pleat, model, models.held_out(name), pleat.work)
        whole[name] = report["perplexity"]
        part[name] = math.exp(np.mean(report["chunkLosses"][:: EVERY[name]]))
    return whole, part


def by_torch(folder: Path) -> dict[str, float]:
    model = models.load(folder, tinylm_gguf.TINYLM)
    return {name: models.perplexity(model, name, EVERY[name]) for name in SETS}


def by_mlx(folder: Path) -> dict[str, float]:
    """In F32: scales and biases in F16 are converted, which is exact."""
    model = mlx_models.load(folder)
    return {name: models.perplexity(model, name, EVERY[name]) for name in SETS}


def by_llama(path: Path) -> dict[str, float]:
    return {
        name: math.exp(losses(llama_runs.logits(path, few(name)), few(name)).mean())
        for name in SETS
    }


def everywhere(pleat: Pleat, model: Path, quantized: int | None) -> dict[str, dict[str, float]]:
    """Perplexities of a file by text and runtime; `quantized`: its bits, if it has groups."""
    plain, whole = pleat.work / "plain", pleat.work / "plain.gguf"
    mlx, blocks = pleat.work / "mlx", pleat.work / "blocks.gguf"
    exact = ("--dtype", "F32", "--force", "-o")
    pleat.run("convert", model, "--to", "safetensors", *exact, plain)
    pleat.run("convert", plain, "--to", "gguf", *exact, whole)
    pleat.run("convert", model, "--to", "mlx", "--force", "-o", mlx)
    every, part = by_pleat(pleat, model)
    found = {
        OURS: every,
        FEW: part,
        "transformers": by_torch(plain),
        "mlx-lm": by_mlx(mlx),
        PLAIN: by_llama(whole),
    }
    if quantized == 4:  # the only one of these widths that blocks of llama.cpp have
        pleat.run("convert", model, "--to", "gguf", "--force", "-o", blocks)
        found[ROUNDS] = by_llama(blocks)
    return {
        name: {runtime: round(scores[name], 6) for runtime, scores in found.items()}
        for name in SETS
    }


def document(pleat: Pleat, say) -> dict:
    """The perplexities of all files, and how far the two importance matrices are apart."""
    ours = calibrated(pleat)
    found = [{"perplexity": everywhere(pleat, tinylm_gguf.TINYLM, None)}]
    say(f"16 bits: {found[0]}")
    for bits in BITS:
        for how in HOWS:
            found.append(quantized(pleat, bits, how, {CALIBRATED: ours, FIXTURE: MATRIX}))
            say(f"{found[-1]}")
    return {"importance": difference(ours, MATRIX), "models": found}


def quantized(pleat: Pleat, bits: int, how: str, matrices: dict[str, Path]) -> dict:
    model = pleat.work / "model.pleat"
    options = ["--to", "pleat", "-b", bits, "-g", GROUP, "--scheme", how.split(",")[0]]
    if how in matrices:
        options += ["--importance", matrices[how]]
    pleat.run("quantize", tinylm_gguf.TINYLM, *options, "--force", "-o", model)
    return {"bits": bits, "how": how, "perplexity": everywhere(pleat, model, bits)}


def apart(scores: dict[str, float]) -> dict[str, float]:
    """How far each runtime is from Pleat on the same rows: differences of the mean loss."""
    return {
        runtime: abs(math.log(scores[runtime] / scores[FEW]))
        for runtime in THEIRS
        if runtime in scores
    }


def disagreements(found: dict) -> list[str]:
    """The figures that differ by more than SAME and NOISE allow."""
    return [
        f"{model.get('bits', 16)} bits, {model.get('how', 'as it is')}, {name}: {runtime} differs"
        f" by {value:.2e}"
        for model in found["models"]
        for name, scores in model["perplexity"].items()
        for runtime, value in apart(scores).items()
        if value > (NOISE if runtime == ROUNDS else SAME)
    ]


def largest(found: dict) -> dict[str, float]:
    """The largest difference of each runtime from Pleat."""
    most: dict[str, float] = {}
    for model in found["models"]:
        for scores in model["perplexity"].values():
            for runtime, value in apart(scores).items():
                most[runtime] = max(most.get(runtime, 0), value)
    return most
