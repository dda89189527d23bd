"""The programs that are timed: their paths, and which of them are missing."""

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(
    os.environ.get("PLEAT_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pleat"
)
LLAMA = CACHE / "llama-cpp-python-0.3.36"
PLEAT = ROOT / ".build/release/pleat"
LLAMA_QUANTIZE = LLAMA / "build/bin/llama-quantize"
CONVERT = LLAMA / "source/vendor/llama.cpp/convert_hf_to_gguf.py"
INSTALL = "Benchmarks/peers/install"


def installed_python() -> Path:
    """The Python interpreter of the peers, whose path Benchmarks/peers/install wrote to a file."""
    note = LLAMA / "python"
    return Path(note.read_text().strip()) if note.exists() else LLAMA / "python (not installed)"


@dataclass
class Tools:
    pleat: Path
    llama_quantize: Path
    convert: Path
    python: Path
    memory: Path  # a folder for files in memory
    threads: int
    missing: dict[str, str] = field(default_factory=dict)  # tool: why it is missing

    def look(self) -> None:
        """Finds missing tools, without importing large modules."""
        places = {"pleat": self.pleat, "llama-quantize": self.llama_quantize, "python": self.python}
        for name, path in places.items():
            if not os.access(path, os.X_OK):
                how = "swift build -c release" if name == "pleat" else INSTALL
                self.missing[name] = f"no program at {path}; run {how}"
        if not os.access(self.memory.parent, os.W_OK):
            self.missing["memory"] = f"no folder at {self.memory.parent}; --memory names another"
        if not self.convert.exists():
            self.missing["convert"] = f"no file at {self.convert}; run {INSTALL}"
        for name, module in (
            ("convert", "gguf"), ("mlx_lm", "mlx_lm"), ("peft", "peft"), ("gptqmodel", "gptqmodel")
        ):  # fmt: skip
            if "python" in self.missing:
                self.missing[name] = self.missing["python"]
            elif not self.has(module):
                self.missing[name] = f"{self.python} has no module {module}; run {INSTALL}"

    def has(self, module: str) -> bool:
        code = "import sys, importlib.util as u; sys.exit(u.find_spec(sys.argv[1]) is None)"
        return subprocess.run([self.python, "-c", code, module], check=False).returncode == 0

    def versions(self) -> dict[str, str]:
        """The versions that the peers report."""
        found = {}
        if "pleat" not in self.missing:
            command = [self.pleat, "--version"]
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            found["pleat"] = result.stdout.strip()
        if self.llama_quantize == LLAMA_QUANTIZE and "llama-quantize" not in self.missing:
            found["llama.cpp"] = f"in {LLAMA.name}"
        if "python" not in self.missing:
            code = (
                "import importlib.metadata as m\n"
                "for name in 'torch', 'transformers', 'peft', 'mlx', 'mlx-lm', 'gguf', 'gptqmodel':\n"
                "    try: print(name, m.version(name))\n"
                "    except m.PackageNotFoundError: pass"
            )
            result = subprocess.run(
                [self.python, "-c", code], capture_output=True, text=True, check=False
            )
            found |= dict(line.split(" ", 1) for line in result.stdout.splitlines())
        return found
