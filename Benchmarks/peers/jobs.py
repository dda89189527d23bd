"""Jobs of one or several commands, and their measurement."""

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

from measure import Measurement, measure
from residency import drop_pages

SPARE = 15 * 10**9  # bytes of disk that must stay free


@dataclass(frozen=True)
class SizeOf:
    """A placeholder in a command for the number of bytes that another job wrote."""

    key: str


@dataclass(frozen=True)
class Step:
    """One command; its output goes to a file, or is discarded."""

    command: list
    stdout: Path | None = None


@dataclass
class Job:
    """Commands that run one after another and are timed together."""

    key: str
    title: str
    steps: list[Step]
    results: list[Path] = field(default_factory=list)  # its outputs; removed after each run
    cold: Path | None = None  # the input to drop from the page cache before the run
    is_slow: bool = False  # runs --slow-rounds times
    is_cold_started: bool = False  # has no warm-up round, because it takes minutes
    counts_itself: bool = False  # its last line is {"imports": seconds}
    keeps: bool = False  # keeps its outputs, which other jobs read
    needs: list[str] = field(default_factory=list)  # the tools that it needs
    room: int = 0  # the bytes that it writes, if they are many
    held_back: str = ""  # why it does not run by default


@dataclass
class Run:
    """One run of a job, with the seconds and bytes of all its commands."""

    round: int
    wall: float
    user: float
    system: float
    peak: int
    output: int  # the size of the last result in bytes
    steps: list[Measurement]
    imports: float | None = None  # seconds spent on imports, if the job reports them

    @property
    def processor(self) -> float:
        """Seconds of processor time, user and system."""
        return self.user + self.system

    def document(self) -> dict:
        keys = ("wall", "user", "system", "peak")
        steps = [
            {key: value for key, value in asdict(step).items() if key in keys}
            for step in self.steps
        ]
        document = {"round": self.round} | {key: getattr(self, key) for key in keys}
        document |= {"steps": steps} if len(steps) > 1 else {}
        return document | ({"imports": self.imports} if self.imports is not None else {})


class JobFailed(Exception):
    """A job failed; the message has its error."""


class JobSkipped(Exception):
    """A job cannot run on this machine; the message has the reason."""


class Runner:
    """Runs jobs, and remembers the sizes of their outputs."""

    def __init__(self, out: Path):
        self.out = out
        self.sizes: dict[str, int] = {}

    def run(self, job: Job, round: int) -> Run:
        """Runs a job once, after removing its outputs and writing back dirty pages."""
        self.clean(job)
        self.check_room(job)
        commands = [self.resolved(step.command) for step in job.steps]
        os.sync()
        if job.cold is not None:
            left = drop_pages(job.cold)
            if left is None or left > 0.01:
                what = "not supported" if left is None else f"{left:.0%} stayed"
                raise JobSkipped(f"cannot drop the input from the page cache: {what}")
        steps = []
        for step, command in zip(job.steps, commands):
            stdout = str(step.stdout or os.devnull)
            steps.append(measure(command, stdout, str(self.out / "stderr.txt")))
            if steps[-1].status:
                self.clean(job)
                raise JobFailed(f"exit status {steps[-1].status}: {steps[-1].message}")
        run = self.total(job, round, steps)
        self.check_size(job, run)
        self.sizes[job.key] = run.output
        if not job.keeps:
            self.clean(job)
        return run

    def check_room(self, job: Job) -> None:
        free = shutil.disk_usage(self.out).free
        if job.room and free < job.room + SPARE:
            wanted = (job.room + SPARE) / 1e9
            raise JobSkipped(f"needs {wanted:.0f} GB of free disk, found {free / 1e9:.0f}")

    def check_size(self, job: Job, run: Run) -> None:
        """Checks that a job that must write as many bytes as another one has done so."""
        for part in (part for step in job.steps for part in step.command):
            if isinstance(part, SizeOf) and run.output != self.sizes[part.key]:
                self.clean(job)
                raise JobFailed(f"expected {self.sizes[part.key]} bytes, wrote {run.output}")

    def resolved(self, command: list) -> list[str]:
        for part in command:
            if isinstance(part, SizeOf) and part.key not in self.sizes:
                raise JobSkipped(f"needs the output size of {part.key}, which did not run")
        return [
            str(self.sizes[part.key]) if isinstance(part, SizeOf) else str(part)
            for part in command
        ]

    def total(self, job: Job, round: int, steps: list[Measurement]) -> Run:
        imports = None
        if job.counts_itself:
            *_, last = job.steps[-1].stdout.read_text().splitlines()
            imports = json.loads(last)["imports"]
        return Run(
            round=round,
            wall=sum(step.wall for step in steps),
            user=sum(step.user for step in steps),
            system=sum(step.system for step in steps),
            peak=max(step.peak for step in steps),
            output=size_of(job.results[-1]) if job.results else 0,
            steps=steps,
            imports=imports,
        )

    def clean(self, job: Job) -> None:
        for path in job.results:
            remove(path)


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def size_of(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size if path.exists() else 0
