"""Losses of SmolLM2-135M-Instruct, chunk by chunk, in Pleat and as llama-perplexity computes them.

The model is decoded from the Q4_1 of its package. Its text is the English of fixtures, as text.
"""

import json
import math
from pathlib import Path

import numpy as np
import tinylm_gguf
import transformers
from llama_runs import F32, ONE_THREAD
from models import REFERENCE
from origins import smollm2_place
from ours import Pleat

TEXT, CONTEXT, CHUNKS = "valid_A.bin", 512, 4
EXACT, HALF, MIX, DECODED = "F32", "F16", "Q4_K_M", "Q4_K_M, decoded to F32"
# Relative differences of the loss of a chunk, at most. llama.cpp computes with weights in F32 as
# Pleat does, in another order. It rounds the inputs of weights in F16 to F16, and those of blocks
# to 8 bits.
LIMITS = {EXACT: 1e-5, HALF: 2e-4, MIX: 5e-3, DECODED: 1e-5}


def text(pleat: Pleat) -> Path:
    """The tokens of tinylm as text."""
    tokens = np.fromfile(REFERENCE / TEXT, "<u2").tolist()
    path = pleat.work / "text.txt"
    path.write_text(transformers.AutoTokenizer.from_pretrained(tinylm_gguf.TINYLM).decode(tokens))
    return path


def files(pleat: Pleat) -> dict[str, Path]:
    origin = smollm2_place()
    source = origin["pretrained_model_name_or_path"] / origin["gguf_file"]
    found = {name: pleat.work / f"smollm2-{place}.gguf" for place, name in enumerate(LIMITS)}
    for name in (EXACT, HALF):
        pleat.run("convert", source, "--to", "gguf", "--dtype", name, "-o", found[name])
    options = ("--to", "gguf", "--type", MIX, "--scheme", "ggml")
    pleat.run("quantize", found[HALF], *options, "-o", found[MIX])
    pleat.run("convert", found[MIX], "--to", "gguf", "--dtype", EXACT, "-o", found[DECODED])
    return found


class Llama:
    """The logits of a file for the chunks of a text, as llama-perplexity computes them."""

    def __init__(self, path: Path):
        import llama_cpp

        self.model = llama_cpp.Llama(
            str(path), n_ctx=CONTEXT, n_batch=CONTEXT, logits_all=True, verbose=False, type_k=F32,
            type_v=F32, **ONE_THREAD,
        )  # fmt: skip

    def rows(self, path: Path) -> np.ndarray:
        """The first chunks of a text; each begins with the token that begins texts."""
        vocabulary = self.model._model.vocab
        import llama_cpp

        begins = llama_cpp.llama_vocab_get_add_bos(vocabulary)
        contents = path.read_bytes().removesuffix(b"\n")
        tokens = self.model.tokenize(contents, add_bos=begins, special=False)
        rows = np.array(tokens[: CHUNKS * CONTEXT]).reshape(CHUNKS, CONTEXT)
        if begins:
            rows[:, 0] = self.model.token_bos()
        return rows

    def scores(self, row: np.ndarray) -> np.ndarray:
        """Logarithms of probabilities at the positions that count: half of the chunk, less one."""
        self.model.reset()
        self.model.eval(row.tolist())
        logits = self.model.scores[CONTEXT // 2 : CONTEXT - 1].astype(np.float64)
        logits -= logits.max(-1, keepdims=True)
        return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def by_llama(paths: dict[str, Path], text: Path) -> dict[str, dict]:
    """The losses of chunks in llama.cpp, and the mean divergence from the file in F32."""
    models = {name: Llama(path) for name, path in paths.items()}
    found = {name: {"losses": [], "divergences": []} for name in paths}
    for row in models[EXACT].rows(text):
        targets = row[CONTEXT // 2 + 1 :, None]
        base = models[EXACT].scores(row)
        for name, model in models.items():
            scores = base if name == EXACT else model.scores(row)
            found[name]["losses"].append(-np.take_along_axis(scores, targets, 1).mean())
            found[name]["divergences"].append((np.exp(base) * (base - scores)).sum(-1).mean())
    return found


def document(pleat: Pleat, say) -> dict:
    """For each file the loss of each chunk, of Pleat and of llama.cpp, and divergences from F32."""
    return {
        "text": TEXT, "context": CONTEXT,
        "files": measured(pleat, text(pleat), files(pleat), say),
    }  # fmt: skip


def measured(pleat: Pleat, source: Path, paths: dict[str, Path], say) -> dict[str, dict]:
    theirs, found = by_llama(paths, source), {}
    for name, path in paths.items():
        options = ("--text", source, "--context", CONTEXT, "--chunks", CHUNKS, "--json")
        report = pleat.run("eval", path, *options, "--against", paths[EXACT])
        report = json.loads(report)
        divergence = report["against"]["divergence"]
        found[name] = {
            "losses": rounded(report["chunkLosses"]),
            "llama": rounded(theirs[name]["losses"]),
            "perplexity": round(report["perplexity"], 5),
            "llamaPerplexity": round(math.exp(np.mean(theirs[name]["losses"])), 5),
            "divergence": float(f"{divergence['mean']:.4g}"),
            "uncertainty": float(f"{divergence['error']:.2g}"),
            "llamaDivergence": float(f"{np.mean(theirs[name]['divergences']):.4g}"),
            "tokenCount": report["tokenCount"],
        }
        say(f"{name}: {found[name]}")
    return found


def rounded(losses) -> list[float]:
    return [round(float(loss), 7) for loss in losses]


def apart(file: dict) -> list[float]:
    """How far llama.cpp's loss of each chunk is from that of Pleat, relative."""
    return [other / loss - 1 for loss, other in zip(file["losses"], file["llama"], strict=True)]


def disagreements(found: dict) -> list[str]:
    return [
        f"SmolLM2, {name}, chunk {place + 1}: llama.cpp differs by {value:.2e}"
        for name, file in found["files"].items()
        for place, value in enumerate(apart(file))
        if abs(value) > LIMITS[name]
    ]
