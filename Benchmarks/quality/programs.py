"""What llama-perplexity and llama-imatrix themselves say, beside pleat eval and pleat calibrate.

The models are tinylm, in F32 and in Q4_1, and a random mixture of experts with its tokenizer, in
F32. The text is the English of fixtures, as text.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path

import gguf
import numpy as np
import tinylm_gguf
import torch
import transformers
from chunks import text
from environment import ROOT
from ours import Pleat

CONTEXT, CHUNKS = 256, 40
EXACT, BLOCKS, DECODED = "tinylm, F32", "tinylm, Q4_1", "tinylm, Q4_1, decoded to F32"
MIXTURE = "mixture of 8 experts, random, F32"
PRECISE = ["-t", "1", "-fa", "off", "-ctk", "f32", "-ctv", "f32"]
# Relative differences, at most. For blocks, llama.cpp rounds the inputs of weights to 8 bits. It
# prints five digits of a divergence.
LIMITS = {
    "perplexity": {EXACT: 2e-6, BLOCKS: 2e-3, DECODED: 2e-6}, "divergence": 5e-3,
    "importance": 1e-4,
}  # fmt: skip


def program(name: str) -> str:
    command = [ROOT / "Benchmarks/peers/install", "--program", name]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def run(command: list) -> str:
    result = subprocess.run(list(map(str, command)), capture_output=True, check=False)
    if result.returncode:
        raise SystemExit(f"{command}\n{result.stderr.decode(errors='replace')}")
    return (result.stdout + result.stderr).decode(errors="replace")


def models(pleat: Pleat) -> dict[str, Path]:
    paths = {
        name: pleat.work / f"{place}.gguf" for place, name in enumerate((EXACT, BLOCKS, DECODED))
    }
    options = ("--to", "gguf", "--force")
    pleat.run("convert", tinylm_gguf.TINYLM, *options, "--dtype", "F32", "-o", paths[EXACT])
    pleat.run("quantize", paths[EXACT], *options, "-b", 4, "-o", paths[BLOCKS])
    pleat.run("convert", paths[BLOCKS], *options, "--dtype", "F32", "-o", paths[DECODED])
    paths[MIXTURE] = pleat.work / "mixture.gguf"
    folder = pleat.work / "mixture"
    write_mixture(folder)
    pleat.run("convert", folder, *options, "--dtype", "F32", "-o", paths[MIXTURE])
    return paths


def write_mixture(folder: Path) -> None:
    torch.manual_seed(1)
    config = transformers.Qwen3MoeConfig(
        hidden_size=128, intermediate_size=256, moe_intermediate_size=96, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, head_dim=32, num_experts=8,
        num_experts_per_tok=2, vocab_size=4096, max_position_embeddings=512, norm_topk_prob=True,
        tie_word_embeddings=False,
    )  # fmt: skip
    transformers.Qwen3MoeForCausalLM(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(tinylm_gguf.TINYLM / name, folder / name)


# Perplexity and divergence


class Perplexity:
    """llama-perplexity on one text.

    It prints sums up to each chunk. Those of the last are not used, because it sometimes ends before
    they are written.
    """

    def __init__(self, path: Path):
        self.text = path
        self.program = program("llama-perplexity")

    def __call__(self, model: Path, *options) -> str:
        cut = ["-f", self.text, "-c", CONTEXT, "--chunks", CHUNKS + 1]
        return run([self.program, "-m", model, *cut, *PRECISE, *options])

    def perplexity(self, model: Path, *options) -> float:
        return float(re.findall(rf"\[{CHUNKS}\]([\d.]+)", self(model, *options))[0])

    def divergence(self, model: Path, base: Path) -> tuple[float, float]:
        """Perplexity, and the mean divergence from a file of log probabilities."""
        lines = self(model, "--kl-divergence", "--kl-divergence-base", base).splitlines()
        words = next(line.split() for line in lines if line.split()[:1] == [f"{CHUNKS}"])
        return float(words[1]), float(words[7])


def evaluated(pleat: Pleat, model: Path, source: Path, *options, chunks: int = CHUNKS) -> dict:
    cut = ("--text", source, "--context", CONTEXT, "--chunks", chunks)
    return json.loads(pleat.run("eval", model, *cut, "--json", *options))


def perplexities(pleat: Pleat, theirs: Perplexity, paths: dict[str, Path]) -> dict:
    found = {}
    for name in LIMITS["perplexity"]:
        ours = evaluated(pleat, paths[name], theirs.text)["perplexity"]
        found[name] = {"pleat": round(ours, 4), "llama": theirs.perplexity(paths[name])}
    return found


def divergences(pleat: Pleat, theirs: Perplexity, paths: dict[str, Path]) -> dict:
    """The divergence of Q4_1, decoded, from F32: by either program, from a file of either."""
    files = {name: pleat.work / f"{name}.kld" for name in ("pleat", "llama")}
    theirs(paths[EXACT], "--kl-divergence-base", files["llama"])
    evaluated(pleat, paths[EXACT], theirs.text, "--save-logits", files["pleat"], chunks=CHUNKS + 1)
    found = {}
    for name, path in files.items():
        report = evaluated(pleat, paths[DECODED], theirs.text, "--against", path)
        ours = report["against"]["divergence"]["mean"]
        found[name] = {
            "pleat": float(f"{ours:.5f}"), "llama": theirs.divergence(paths[DECODED], path)[1],
        }  # fmt: skip
    return found


# Importance


def numbers(path: Path) -> dict[str, np.ndarray]:
    return {tensor.name: tensor.data.copy() for tensor in gguf.GGUFReader(path).tensors}


def importance(pleat: Pleat, source: Path, model: Path) -> dict:
    """A matrix of either program, the sum of both by either, and ours as .dat by either."""
    imatrix = [program("llama-imatrix"), "-m", model]
    cut = ["-c", 512, "--chunks", 8]
    paths = {name: pleat.work / f"{name}-matrix.gguf" for name in ("pleat", "llama")}
    sums = {name: pleat.work / f"{name}-sum.gguf" for name in paths}
    flat = {name: pleat.work / f"{name}-matrix.dat" for name in paths}
    run([*imatrix, "-f", source, *cut, *PRECISE, "--no-ppl", "-o", paths["llama"]])
    ours = ("--text", source, "--context", 512, "--chunks", 8)
    pleat.run("calibrate", model, *ours, "--force", "-o", paths["pleat"])
    both = [word for path in paths.values() for word in ("--in-file", path)]
    run([*imatrix, *both, "-o", sums["llama"]])
    pleat.run("convert", *paths.values(), "--force", "-o", sums["pleat"])
    options = ["--in-file", paths["pleat"], "--output-format", "dat"]
    run([*imatrix, *options, "-o", flat["llama"]])
    pleat.run("convert", paths["pleat"], "--force", "-o", flat["pleat"])
    return {
        "weights": len(numbers(paths["pleat"])) // 2,
        "measured": difference(paths), "added": difference(sums),
        "sameDat": flat["pleat"].read_bytes() == flat["llama"].read_bytes(),
    }  # fmt: skip


def difference(paths: dict[str, Path]) -> float:
    """The largest relative difference of a number."""
    ours, theirs = map(numbers, (paths["pleat"], paths["llama"]))
    if list(ours) != list(theirs):
        raise SystemExit(f"{paths}: other names, or another order")
    pairs = [(ours[name].astype(float), theirs[name].astype(float)) for name in ours]
    largest = max(np.max(np.abs(a - b) / np.maximum(b, 1e-30)) for a, b in pairs)
    return float(f"{largest:.1e}")


def document(pleat: Pleat, say) -> dict:
    source, paths = text(pleat), models(pleat)
    theirs = Perplexity(source)
    found = {"perplexity": perplexities(pleat, theirs, paths)}
    found["divergence"] = divergences(pleat, theirs, paths)
    found["importance"] = {
        name: importance(pleat, source, paths[name]) for name in (EXACT, MIXTURE)
    }
    say(f"{found}")
    return found


def disagreements(found: dict) -> list[str]:
    apart = [
        (f"perplexity of {name}", one["llama"] / one["pleat"] - 1, LIMITS["perplexity"][name])
        for name, one in found["perplexity"].items()
    ]
    apart += [
        (
            f"divergence from the file of {name}",
            one["llama"] / one["pleat"] - 1,
            LIMITS["divergence"],
        )
        for name, one in found["divergence"].items()
    ]
    apart += [
        (f"importance of {name}, {what}", one[what], LIMITS["importance"])
        for name, one in found["importance"].items()
        for what in ("measured", "added")
    ]
    wrong = [
        f"{what}: llama.cpp differs by {value:.2e}"
        for what, value, limit in apart
        if abs(value) > limit
    ]
    return wrong + [
        f"importance of {name}: another .dat file"
        for name, one in found["importance"].items()
        if not one["sameDat"]
    ]
