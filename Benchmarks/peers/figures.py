"""The results of the runs: medians, ratios, and whether the goals are met."""

from dataclasses import dataclass
from statistics import median

from jobs import Job, Run
from rows import MIB, Goal, Part, Row


@dataclass(frozen=True)
class Spread:
    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True)
class Side:
    """The measurements of one job in a row."""

    title: str
    wall: Spread  # seconds
    user: float  # seconds of processor time, the median
    system: float  # the same, in the kernel
    peak: int  # bytes, the maximum of all runs
    count: int  # the number of runs


@dataclass(frozen=True)
class Figure:
    """The results of a row. There is no ratio if the peer did not run."""

    row: Row
    ours: Side
    peer: Side | None
    ratio: Spread | None  # the ratio of medians; least and most are those of single rounds
    verdicts: list[tuple[Goal, float, bool]]  # the goal, the value, and whether it is met

    def document(self) -> dict:
        def side(side: Side) -> dict:
            return {
                "title": side.title, "wall": vars(side.wall), "user": side.user,
                "system": side.system, "peak": side.peak, "runs": side.count,
            }  # fmt: skip

        document = {"title": self.row.title, "job": self.row.ours, "pleat": side(self.ours)}
        if self.peer is not None and self.ratio is not None:
            document |= {"peerJob": self.row.peer, "peer": side(self.peer)}
            document |= {"ratioIs": "peer ÷ pleat" if self.row.is_in_times else "pleat ÷ peer"}
            document |= {"ratio": vars(self.ratio)}
        found = {goal: {"found": value, "met": met} for goal, value, met in self.verdicts}
        nothing = {"found": None, "met": None}
        goals = [
            {"of": goal.of, "limit": goal.limit} | found.get(goal, nothing)
            for goal in self.row.goals
        ]
        return document | {"goals": goals}


def side(job: Job, runs: list[Run], without_imports: bool) -> Side:
    walls = [seconds(run, without_imports) for run in runs]
    return Side(
        title=f"{job.title}, without imports" if without_imports else job.title,
        wall=Spread.of(walls),
        user=median(run.user for run in runs),
        system=median(run.system for run in runs),
        peak=max(run.peak for run in runs),
        count=len(runs),
    )


def seconds(run: Run, without_imports: bool) -> float:
    return run.wall - (run.imports or 0) if without_imports else run.wall


def figure(row: Row, jobs: dict[str, Job], runs: dict[str, list[Run]]) -> Figure | None:
    """The results of a row; None if pleat's job did not run."""
    if row.ours not in runs:
        return None
    ours, peer, ratio = side(jobs[row.ours], runs[row.ours], False), None, None
    if row.peer in runs:
        peer = side(jobs[row.peer], runs[row.peer], row.without_imports)
        ratio = ratio_of(row, runs)
    values = {
        "seconds": ours.wall.median,
        "processor": median(run.processor for run in runs[row.ours]),
        "memory": ours.peak,
    }
    if ratio is not None:
        values |= {of: ratio.median for of in ("ratio", "times", "work")}
    known = [(goal, values[goal.of]) for goal in row.goals if goal.of in values]
    verdicts = [(goal, value, goal.holds(value)) for goal, value in known]
    return Figure(row, ours, peer, ratio, verdicts)


def ratio_of(row: Row, runs: dict[str, list[Run]]) -> Spread:
    def time(run: Run, without_imports: bool) -> float:
        return run.processor if row.compares_work else seconds(run, without_imports)

    ours = {run.round: time(run, False) for run in runs[row.ours]}
    theirs = {run.round: time(run, row.without_imports) for run in runs[row.peer]}
    pairs = [(ours[round], theirs[round]) for round in ours if round in theirs]
    pairs.append((median(ours.values()), median(theirs.values())))
    quotients = [b / a if row.is_in_times else a / b for a, b in pairs]
    # The ratio of medians may be outside the range of single rounds, so the range includes it.
    return Spread(quotients[-1], min(quotients), max(quotients))


def largest(jobs: dict[str, Job], runs: dict[str, list[Run]], parts: list[Part]) -> Row | None:
    """The row for the largest resident memory of all jobs that wrote a model."""
    measured = [
        job
        for part in parts
        if not part.is_single
        for job in part.jobs
        if job.needs == ["pleat"] and job.results and job.key in runs
    ]
    if not measured:
        return None
    top = max(measured, key=lambda job: max(run.peak for run in runs[job.key]))
    title = f"resident memory, most of {len(measured)}: {top.title}"
    return Row(title, top.key, goals=(Goal("memory", 64 * MIB),))
