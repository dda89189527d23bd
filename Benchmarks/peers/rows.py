"""Rows of the table, their jobs, and the paths of their files."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from jobs import Job, SizeOf, Step
from tools import Tools

MIB = 2**20


@dataclass(frozen=True)
class Goal:
    """A limit for pleat ÷ peer ("ratio"), for seconds, for seconds of processor time or for bytes of
    memory, which are maxima, or for peer ÷ pleat ("times", "work"), which is a minimum. "work" is
    processor time, user and system."""

    of: Literal["ratio", "times", "work", "seconds", "processor", "memory"]
    limit: float

    def holds(self, value: float) -> bool:
        return value >= self.limit if self.of in ("times", "work") else value <= self.limit


@dataclass
class Row:
    title: str
    ours: str  # the key of a job
    peer: str | None = None
    goals: tuple[Goal, ...] = ()
    without_imports: bool = False  # leaves out the imports of the peer

    @property
    def is_in_times(self) -> bool:
        """Whether the ratio is peer ÷ pleat: how many times faster pleat is."""
        return self.without_imports or any(goal.of in ("times", "work") for goal in self.goals)

    @property
    def compares_work(self) -> bool:
        """Whether the ratio is that of processor times."""
        return any(goal.of == "work" for goal in self.goals)


@dataclass
class Part:
    """Jobs that alternate, and the rows that compare them."""

    jobs: list[Job]
    rows: list[Row]
    prepare: list[Job] = field(default_factory=list)  # jobs that make inputs, not timed
    repeat: int = 1  # multiplies the number of rounds, for short jobs
    is_single: bool = False  # every job runs once, in this order, without a warm-up round


@dataclass(frozen=True)
class Place:
    model: Path  # the directory of the checkpoint
    sparse: Path
    out: Path
    weights: int  # of the model
    tools: Tools

    @property
    def importance(self) -> Path:
        return self.model / "importance.dat"

    @property
    def gguf(self) -> Path:
        return self.model / "model.gguf"

    @property
    def huggingface(self) -> Path:
        return self.model / "huggingface"

    @property
    def shards(self) -> list[Path]:
        return sorted(self.huggingface.glob("*.safetensors"))

    def pleat(self, key: str, title: str, *command, keeps: bool = False) -> Job:
        """A job of pleat that writes to out/<key>."""
        verb, *rest = command
        result = self.out / key
        whole = [self.tools.pleat, verb, *rest, "-t", self.tools.threads, "-o", result]
        return Job(key, title, [Step(whole)], [result], needs=["pleat"], keeps=keeps)

    def llama_quantize(self, key: str, type: str, *options) -> Job:
        """A job of llama-quantize that writes to out/<key>.gguf."""
        target = self.out / f"{key}.gguf"
        command = [self.tools.llama_quantize, *options, self.gguf, target, type, self.tools.threads]
        title = " ".join(["llama-quantize", *(str(one) for one in options if one == "--pure")])
        return Job(key, title, [Step(command)], [target], needs=["llama-quantize"])

    @property
    def searched(self) -> Goal:
        """The goal for a search of all weights: 8 ns of processor time for each."""
        return Goal("processor", 8e-9 * self.weights)

    def short(self, key: str, title: str, *command) -> Job:
        return Job(key, title, [Step([self.tools.pleat, *command])], needs=["pleat"])

    def packed(self) -> Job:
        """The job that writes the INT4 file, which others fold into or convert."""
        model = self.huggingface
        return self.pleat(
            "int4.pleat", "INT4 file", "quantize", model, "--to", "pleat", "--rule", "*=4",
            "--scheme", "minmax", keeps=True,
        )  # fmt: skip

    def reads_and_writes(self, key: str, inputs: list[Path], size_of: str) -> Job:
        """The baseline: reads the whole input, and writes as many bytes as the output has."""
        target = self.out / f"{key}.bin"
        head = Step(["head", "-c", SizeOf(size_of), self.gguf], target)
        return Job(key, "cat in, head -c outsize", [Step(["cat", *inputs]), head], [target])

    def synced(self, job: Job) -> Job:
        """The same job with a sync of its outputs, since pleat waits for the disk too."""
        flush = Step(["sync", *job.results])
        title = f"{job.title}, sync"
        return replace(job, key=f"{job.key}-sync", title=title, steps=[*job.steps, flush])
