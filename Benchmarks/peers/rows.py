"""Rows of the table, the jobs behind them, and where those find their files."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from jobs import Job, SizeOf, Step
from tools import Tools

MIB = 2**20


@dataclass(frozen=True)
class Goal:
    """A limit of pleat ÷ peer, of peer ÷ pleat ("times", at least), of seconds or of bytes."""

    of: Literal["ratio", "times", "seconds", "memory"]
    limit: float

    def holds(self, value: float) -> bool:
        return value >= self.limit if self.of == "times" else value <= self.limit


@dataclass
class Row:
    title: str
    ours: str  # the key of a job
    peer: str | None = None
    goals: tuple[Goal, ...] = ()
    without_imports: bool = False  # of the peer

    @property
    def is_in_times(self) -> bool:
        """Whether the ratio says how many times faster pleat is."""
        return self.without_imports or any(goal.of == "times" for goal in self.goals)


@dataclass
class Part:
    """Jobs that alternate, and the rows that compare them."""

    jobs: list[Job]
    rows: list[Row]
    prepare: list[Job] = field(default_factory=list)  # make inputs, untimed
    repeat: int = 1  # short jobs run so many times as often
    is_single: bool = False  # every job runs once, in this order, without a warm-up


@dataclass(frozen=True)
class Place:
    model: Path  # the checkpoint's directory
    sparse: Path
    out: Path
    tools: Tools

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
        """A command that writes to out/<key>."""
        verb, *rest = command
        result = self.out / key
        whole = [self.tools.pleat, verb, *rest, "-t", self.tools.threads, "-o", result]
        return Job(key, title, [Step(whole)], [result], needs=["pleat"], keeps=keeps)

    def short(self, key: str, title: str, *command) -> Job:
        return Job(key, title, [Step([self.tools.pleat, *command])], needs=["pleat"])

    def packed(self) -> Job:
        """The INT4 file that is folded into and converted."""
        model = self.huggingface
        return self.pleat(
            "int4.pleat", "INT4 file", "quantize", model, "--to", "pleat", "--rule", "*=4",
            keeps=True,
        )  # fmt: skip

    def reads_and_writes(self, key: str, inputs: list[Path], size_of: str) -> Job:
        """The yardstick: what reading all of the input and writing as much as the output costs."""
        target = self.out / f"{key}.bin"
        head = Step(["head", "-c", SizeOf(size_of), self.gguf], target)
        return Job(key, "cat in, head -c outsize", [Step(["cat", *inputs]), head], [target])

    def synced(self, job: Job) -> Job:
        """The same, until what it wrote is on the disk, which pleat waits for too."""
        flush = Step(["sync", *job.results])
        title = f"{job.title}, sync"
        return replace(job, key=f"{job.key}-sync", title=title, steps=[*job.steps, flush])
