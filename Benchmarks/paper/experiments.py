"""The experiments: what is trained on what, and how the outcome gets the bits of the base."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import compared
import numpy as np
from subjects import SCHEMES, Subject, tuning

WORKER = Path(__file__).with_name("worker.py")
FIRST = 32  # columns of groups that get all schemes and bits
WIDER = ("search",), (4, 2)  # the schemes and bits of wider groups, as in the paper's table 5
# The rates that part `rates` of Benchmarks/paper/run found best, see Benchmarks/PAPER.md.
RATES = {"lora": 5e-3, "qlora": 5e-3, "qalora": 1e-2}


@dataclass(frozen=True)
class Groups:
    """Weights in groups: how their numbers are found, their bits, and columns in a group."""

    scheme: str
    bits: int
    size: int

    @property
    def key(self) -> str:
        return f"{self.scheme}-{self.bits}-{self.size}"


class Laboratory:
    """Runs jobs on one subject in a folder of its own, and writes down what each found.

    What is written already is not done again.
    """

    def __init__(self, subject: Subject, pleat: Path, work: Path, found: dict, save: Callable, say):
        self.subject, self.pleat, self.work = subject, pleat, work
        self.found, self.save, self.say = found, save, say
        work.mkdir(exist_ok=True)
        for name in ("learned", "calibration", "judged"):
            np.save(self.rows(name), getattr(subject, name))

    def rows(self, name: str) -> str:
        return str(self.work / f"{name}.npy")

    def once(self, key: str, measure: Callable[[], dict]) -> None:
        if key not in self.found:
            self.found[key] = measure()
            self.say(f"{self.subject.title}, {key}: {self.found[key]}")
            self.save()

    def run(self, command: list) -> str:
        words = list(map(str, command))
        result = subprocess.run(words, capture_output=True, text=True, check=False)
        if result.returncode:
            raise SystemExit(f"{' '.join(words)}\n{result.stderr}")
        return result.stdout

    def worker(self, do: str, threads: int = 1, **job) -> dict:
        job = {"do": do, "threads": threads} | {
            name: str(v) if isinstance(v, Path) else v for name, v in job.items()
        }
        return json.loads(self.run([sys.executable, WORKER, json.dumps(job)]).splitlines()[-1])

    def judged(self, base: Path) -> float:
        return self.worker("judge", base=base, judged=self.rows("judged"))["perplexity"]

    def learned(self, method: str, base: Path, rate: float | None = None, **more) -> dict:
        settings = {"steps": self.subject.steps}
        settings |= {"batch": self.subject.batch, "rate": rate or RATES[method] * self.subject.pace}
        settings |= {"learned": self.rows("learned")} | more
        return self.worker("learn", method=method, base=base, **settings)

    def quantized(self, folder: Path, groups: Groups, name: str) -> Path:
        """A pleat file of a checkpoint. gptqmodel's is read by pleat."""
        path = self.work / f"{name}-{groups.key}.pleat"
        if groups.scheme == "gptqmodel":
            packed = path.with_suffix("")
            shutil.rmtree(packed, ignore_errors=True)
            script = [sys.executable, "-P", compared.GPTQ, folder, packed]
            self.run([*script, groups.bits, groups.size, 1, self.rows("calibration")])
            self.run([self.pleat, "convert", packed, "--to", "pleat", "--force", "-o", path])
            shutil.rmtree(packed)
        else:
            how = ["--to", "pleat", "--scheme", groups.scheme]
            how += ["-b", groups.bits, "-g", groups.size, "--force"]
            self.run([self.pleat, "quantize", folder, *how, "-o", path])
        return path

    # Experiments

    def sixteen_bits(self) -> dict:
        return {"perplexity": self.judged(self.subject.folder)}

    def lora(self) -> dict:
        return self.learned("lora", self.subject.folder, judged=self.rows("judged"))

    def qlora(self) -> dict:
        """QLoRA; its merged checkpoint stays in the folder."""
        where = {"judged": self.rows("judged"), "merged": self.work / "merged"}
        return self.learned("qlora", self.subject.folder, **where)

    def rounded(self, groups: Groups) -> dict:
        """QLoRA, merged and quantized again."""
        path = self.quantized(self.work / "merged", groups, "merged")
        found = {"folded": self.judged(path)}
        path.unlink()
        return found

    def qalora(self, groups: Groups) -> dict:
        """QA-LoRA on a quantized base, before the training, kept apart, and folded."""
        base = self.quantized(self.subject.folder, groups, "base")
        adapter, tuned = base.with_suffix(".adapter"), base.with_suffix(".tuned.pleat")
        found = {"base": self.judged(base)}
        found |= self.learned("qalora", base, judged=self.rows("judged"), adapter=adapter)
        fold = [self.pleat, "fold", base, "--adapter", adapter, "--force", "--json", "-o", tuned]
        if groups.scheme == "gptqmodel":  # whole zero points become biases
            fold += ["--to", "pleat", "--bias-type", "F16"]
        said = json.loads(self.run(fold))["fold"]
        found |= {"adapterError": said["adapterError"], "changedCodes": said["changedCodeCount"]}
        found["folded"] = self.judged(tuned)
        for path in (base, tuned):
            path.unlink()
        shutil.rmtree(adapter)
        return found

    def table(self, workers: int) -> None:
        """All experiments; those of QLoRA first, because others need what it merged."""
        if not (self.work / "merged").exists():
            self.found.pop("qlora", None)
        self.once("qlora", self.qlora)
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(lambda pair: self.once(*pair), self.listed()))

    def listed(self) -> Iterator[tuple[str, Callable[[], dict]]]:
        yield "16 bits", self.sixteen_bits
        yield "lora", self.lora
        for size in self.subject.groups:
            schemes, widths = (SCHEMES, self.subject.bits) if size == FIRST else WIDER
            for bits in widths:
                for scheme in schemes:
                    groups = Groups(scheme, bits, size)
                    yield f"qalora {groups.key}", lambda groups=groups: self.qalora(groups)
                    yield f"qlora {groups.key}", lambda groups=groups: self.rounded(groups)

    def rates(self, candidates: list[float], workers: int) -> None:
        """Trains at 4 bits with several rates, judged by rows that the table does not use."""
        np.save(self.rows("tuning"), tuning())
        base = self.quantized(self.subject.folder, Groups("minmax", 4, 32), "rates")
        bases = {"lora": self.subject.folder, "qlora": self.subject.folder, "qalora": base}

        def measure(method: str, rate: float) -> dict:
            steps = len(self.subject.learned) // self.subject.batch
            return self.learned(
                method, bases[method], rate, steps=steps, judged=self.rows("tuning")
            )

        with ThreadPoolExecutor(workers) as pool:
            pairs = [(method, rate) for rate in candidates for method in bases]
            list(pool.map(
                lambda pair: self.once(f"rate {pair[0]} {pair[1]:g}", lambda: measure(*pair)), pairs
            ))  # fmt: skip

    def cost(self, steps: int, rounds: int, threads: int) -> None:
        """Time and memory of a few steps, one method after the other in each round."""
        base = self.quantized(self.subject.folder, Groups("search", 4, 32), "cost")
        bases = {"lora": self.subject.folder, "qlora": self.subject.folder, "qalora": base}
        runs: dict[str, list[dict]] = {method: [] for method in bases}
        for number in range(rounds):
            for method in bases:
                found = self.learned(method, bases[method], steps=steps, threads=threads)
                runs[method].append(found)
                self.say(f"cost, round {number + 1} of {rounds}, {method}: {found}")
        self.found["cost"] = {
            method: {
                "tokensPerSecond": sorted(
                    round(one["tokens"] / one["seconds"], 1) for one in several
                ),
                "memory": sorted(one["memory"] for one in several),
                "parameters": several[0]["parameters"],
            }
            for method, several in runs.items()
        }
        self.save()
