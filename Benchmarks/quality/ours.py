"""What pleat makes of a model: one choice of its options, run and decoded."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jobs import remove
from origins import Origin, linear_weights

# The form of groups: the format that makes it, and the scheme from min to max.
FORMS = {
    "bias": ("pleat", "minmax"),
    "symmetric": ("compressed-tensors", "symmetric"),
    "zero point": ("gptq", "zeropoint"),
}
SEARCH, WEIGHTED, ROUNDED, GGML, GGML_WEIGHTED = (
    "search", "search, importance", "minmax", "ggml", "ggml, importance",
)  # fmt: skip


@dataclass(frozen=True)
class Choice:
    """Groups of a form, or blocks of a type of llama.cpp, and how their numbers are found."""

    how: str  # one of the five above
    form: str = ""
    bits: int = 0
    group: int = 0
    block: str = ""

    @property
    def title(self) -> str:
        return self.block or f"{self.bits} bits, {self.form}, groups of {self.group}"

    @property
    def series(self) -> str:
        return f"pleat, {self.how}"

    def options(self, origin: Origin) -> list:
        scheme = self.how.split(",")[0]
        if self.block:
            options = ["--to", "pleat", "--rule", f"*_proj.weight={self.block}"]
        else:
            format, rounding = FORMS[self.form]
            scheme = rounding if self.how == ROUNDED else scheme
            options = ["--to", format, "-b", self.bits, "-g", self.group]
        options += ["--scheme", scheme]
        return options + (["--importance", origin.matrix.path] if "importance" in self.how else [])


class Pleat:
    """Runs pleat in a folder of its own."""

    def __init__(self, path: Path, work: Path):
        self.path, self.work = path, work

    def run(self, *arguments) -> str:
        command = list(map(str, [self.path, *arguments]))
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise SystemExit(f"{' '.join(command)}\n{result.stderr}")
        return result.stdout

    def quantized(self, origin: Origin, choice: Choice) -> tuple[float, Path]:
        """The stored bits per quantized weight, and a folder with the decoded model in F32."""
        packed, plain = self.work / "packed", self.work / "plain"
        remove(packed)
        self.run("quantize", origin.folder, *choice.options(origin), "-o", packed)
        self.run("convert", packed, "--to", "safetensors", "--dtype", "F32", "--force", "-o", plain)
        return bits_of(json.loads(self.run("inspect", packed, "--json"))), plain

    def decoded(self, origin: Origin, choice: Choice) -> tuple[float, dict[str, np.ndarray]]:
        bits, folder = self.quantized(origin, choice)
        return bits, linear_weights(folder)


def bits_of(inspected: dict) -> float:
    """Codes, scales and offsets; not the order of columns that GPTQ files store as well."""
    (quantized,) = [
        one for one in inspected["encodings"] if one["encoding"]["type"] not in ("F16", "F32")
    ]
    encoding = quantized["encoding"]
    if encoding["type"] != "grouped":
        return 8 * quantized["byteCount"] / quantized["weightCount"]
    offset = {"none": 0, "bias": 16, "zeroPoint": encoding["bits"]}[encoding["offset"]]
    assert encoding["parameters"] == "F16"
    return encoding["bits"] + (16 + offset) / encoding["groupSize"]


def groups(hows: list[str], form: str, sizes: list[int], bits=(4, 3, 2)) -> list[Choice]:
    return [Choice(how, form, count, size) for count in bits for size in sizes for how in hows]


def blocks(types: list[str]) -> list[Choice]:
    hows = [GGML, GGML_WEIGHTED, SEARCH, WEIGHTED]
    return [Choice(how, block=type) for type in types for how in hows]


IN_GROUPS = [ROUNDED, SEARCH, WEIGHTED]
WIDE = ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS"]
# The choices for perplexities, which only tinylm has.
COMPARED = [
    *groups(IN_GROUPS, "bias", [32, 64]),
    *groups(IN_GROUPS, "symmetric", [32]),
    *groups(IN_GROUPS, "zero point", [32, 128]),
    *blocks(WIDE),
]
MORE = [
    *groups(IN_GROUPS, "bias", [128]),
    *groups(IN_GROUPS, "symmetric", [64, 128]),
    *groups(IN_GROUPS, "zero point", [64]),
]
SMALL = ["Q4_0", "Q5_0", "Q5_1", "IQ4_NL"]
# SmolLM2 has 576 columns: no blocks of 256, no groups of 128. Its weights were rounded to Q4_1
# before: at 4 bits they would hardly change.
NARROW = [
    *groups(IN_GROUPS, "bias", [32, 64], (3, 2)),
    *groups(IN_GROUPS, "symmetric", [32], (3, 2)),
    *groups(IN_GROUPS, "zero point", [32, 64], (3, 2)),
]
