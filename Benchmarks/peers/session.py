"""Runs the parts of the table, and collects the results."""

import sys
from dataclasses import dataclass, field

from jobs import Job, JobFailed, JobSkipped, Run, Runner
from rows import Part


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@dataclass
class Session:
    runner: Runner
    missing: dict[str, str]  # tool: why it is missing
    rounds: int
    slow_rounds: int
    runs: dict[str, list[Run]] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    not_run: list[str] = field(default_factory=list)
    has_failed: bool = False

    def take(self, name: str, part: Part) -> None:
        """Runs the jobs of a part for all rounds, and removes their outputs."""
        try:
            if all(self.attempt(job, 0, "preparing") for job in part.prepare):
                self.alternate(name, part)
            else:
                titles = ", ".join(job.title for job in part.jobs)
                self.not_run.append(f"{titles}: the input could not be created")
        finally:
            for job in part.prepare + part.jobs:
                self.runner.clean(job)

    def alternate(self, name: str, part: Part) -> None:
        if part.is_single:
            for job in part.jobs:
                self.count(job, self.attempt(job, 1, name))
            return
        jobs = [
            job
            for job in part.jobs
            if job.is_cold_started or self.attempt(job, 0, f"{name}, warm-up")
        ]
        for number in range(self.rounds * part.repeat):
            turn = number % max(len(jobs), 1)
            for job in jobs[turn:] + jobs[:turn]:
                if job.is_slow and number >= self.slow_rounds:
                    continue
                what = f"{name}, round {number + 1} of {self.rounds * part.repeat}"
                run = self.attempt(job, number + 1, what)
                self.count(job, run)
                if run is None:
                    jobs = [other for other in jobs if other is not job]

    def count(self, job: Job, run: Run | None) -> None:
        self.jobs[job.key] = job
        if run is not None:
            self.runs.setdefault(job.key, []).append(run)

    def attempt(self, job: Job, round: int, what: str) -> Run | None:
        """Runs a job, or records why it cannot run."""
        lacking = [self.missing[tool] for tool in job.needs if tool in self.missing]
        reason = job.held_back or "; ".join(lacking)
        if not reason:
            say(f"{what}: {job.title}")
            try:
                return self.runner.run(job, round)
            except JobFailed as failure:
                self.has_failed = True
                reason = f"failed: {failure}"
            except JobSkipped as skipped:
                reason = str(skipped)
        self.not_run.append(f"{job.title} ({job.key}): {reason}")
        return None
