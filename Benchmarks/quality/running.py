"""Perplexities of tinylm: in transformers with decoded weights, and in llama.cpp."""

from pathlib import Path

import ggml
import llama_runs
import models
import tinylm_gguf
from errors import error
from origins import Origin, linear_weights
from ours import COMPARED, Pleat

SETS = ("B", "A")  # Python source, English
MIXES = ["Q4_K_M", "Q3_K_M", "Q2_K", "IQ4_XS"]
EVERY = 8  # rows of Python source that llama.cpp runs: the first of so many


def perplexities(folder: Path) -> dict[str, float]:
    model = models.load(folder, tinylm_gguf.TINYLM)
    return {name: round(models.perplexity(model, name), 4) for name in SETS}


def compared(origin: Origin, pleat: Pleat, say) -> list[dict]:
    """The perplexities and weight errors of every choice that is compared."""
    found = [{"title": "16 bits", "bits": 16.0, "perplexity": perplexities(origin.folder)}]
    for choice in COMPARED:
        bits, folder = pleat.quantized(origin, choice)
        line = {"title": choice.title, "how": choice.how, "bits": round(bits, 4)}
        line |= error(origin, linear_weights(folder)).document()
        found.append(line | {"perplexity": perplexities(folder)})
        say(f"{found[-1]}")
    return found


def in_llama(pleat: Pleat, work: Path, say) -> list[dict]:
    """The perplexities in llama.cpp of our files and of those that llama-quantize's code makes."""
    source, ours, theirs = (work / f"{name}.gguf" for name in ("f16", "ours", "theirs"))
    tinylm_gguf.write_gguf(source)
    found = []
    for mix in MIXES:
        options = ["--to", "gguf", "--type", mix, "--scheme", "ggml", "--force"]
        pleat.run("quantize", source, *options, "-o", ours)
        ggml.quantize_file(source, theirs, mix)
        line = {"mix": mix, "bytes": ours.stat().st_size}
        line["same"] = ours.read_bytes() == theirs.read_bytes()
        line["perplexity"] = llama_runs.perplexity(ours, "B", EVERY)
        line["theirs"] = llama_runs.perplexity(theirs, "B", EVERY)
        found.append(line)
        say(f"{line}")
    return found
