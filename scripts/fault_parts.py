"""Faults of an output in parts, for scripts/faults: of each part, and of `pleat finish`.

After each fault nothing but the whole output, or an old one, has the final name; the same commands,
run again, give the bytes of one run.
"""

import os
import re
import shutil
import signal
import subprocess
import time

COUNT = 3
CALLS = (
    "mkdir", "create", "pwrite", "copy", "ftruncate", "fsync", "link", "rename", "unlink", "open", "pread",
    "open direct", "pread direct",
)  # fmt: skip
READS = ("open", "pread", "open direct", "pread direct")
FINISH = "finish"
YEARS = 10 * 365 * 86_400


class Parts:
    """The parts of a job, and the folders in which some of them are complete."""

    def __init__(self, faults, job, snapshot):
        self.faults, self.job, self.snapshot = faults, job, snapshot
        self.states = job.work / "states"
        self.states.mkdir(exist_ok=True)

    def command(self, step: int | str, old: bool) -> list:
        output = self.job.out / self.job.output
        if step == FINISH:
            return ["finish", output, "--json"] + ["--force"] * old
        return [*self.faults.command(self.job), "--part", f"{step}/{COUNT}", "--json"]

    def enter(self, before: int | str, old: bool) -> None:
        """Makes the output folder as it is when only one step is left to do."""
        state = self.states / f"{before}{old}"
        if not state.exists():
            self.faults.clean(self.job.out, self.job if old else None)
            for step in (1, 2, 3):
                if step != before:
                    self.faults.run(self.command(step, old), check=True)
            shutil.copytree(self.job.out, state)
        shutil.rmtree(self.job.out)
        shutil.copytree(state, self.job.out)

    def state(self) -> str:
        found = self.snapshot(self.job.out / self.job.output)
        for name, expected in (
            ("whole", self.job.reference), ("old", self.job.old), ("absent", {}),
        ):  # fmt: skip
            if found == expected:
                return name
        return "broken"

    def count(self, fault: str, detail: str, text: str, wrong: list[str]) -> None:
        self.faults.count(fault, self.job, detail, text, wrong)

    def judge(
        self, fault: str, step: int | str, detail: str, result, *, old=False, sent=0, statuses=(74,),
    ) -> None:  # fmt: skip
        """Records the outcome of a fault, and what comes of running the rest again."""
        status, wrong, state = result.returncode, [], self.state()
        if status not in (0, -sent, *statuses):
            wrong.append(f"exit status {status}: {result.stderr[:300]}")
        lines = result.stderr.splitlines()
        if status > 0 and sum(line.startswith("error: ") for line in lines) != 1:
            wrong.append(f"no clear error: {lines[:3]}")
        if re.search("Fatal error|Crash|Thread 0|Aborted", result.stderr):
            wrong.append("a trap")
        before = "old" if old else "absent"
        # Files of a set or a folder get their names one by one; readers refuse some of them.
        is_between = state == "broken" and sent and step == FINISH
        is_between = is_between and self.faults.is_recognised(self.job)
        if state not in (before, "whole") and not is_between:
            wrong.append(f"the output is {state}")
        if state == "whole" and step != FINISH:
            wrong.append("a part gave the output its name")
        if status == 0 and step == FINISH and state != "whole":
            wrong.append(f"success, but the output is {state}")
        end = "killed" if sent and status == -sent else str(status) if status else "done"
        self.finish(wrong, step, old)
        self.count(
            fault,
            f"{step} of {COUNT}: {detail}{', over an old one' * old}",
            f"{end}, {state}",
            wrong,
        )

    def finish(self, wrong: list[str], step: int | str, old: bool) -> None:
        """Runs a step again, then `pleat finish`, which must give the output of one run."""
        for again in dict.fromkeys((step, FINISH)):
            result = self.faults.run(self.command(again, old))
            if result.returncode != 0:
                wrong.append(f"{again} again: {result.returncode} {result.stderr[:300]}")
        if self.state() != "whole":
            wrong.append(f"the output is {self.state()} in the end")
        if os.listdir(self.job.out) != [self.job.output]:
            wrong.append(f"left behind: {os.listdir(self.job.out)}")

    def calls(self, step: int | str, old: bool) -> list[list[str]]:
        """The calls of a step in order, with one worker."""
        self.enter(step, old)
        log = self.job.work / "log"
        log.unlink(missing_ok=True)
        command = [*self.command(step, old), "-t", "1"]
        self.faults.run(command, shim={"FAULTS_LOG": str(log)}, check=True)
        return [line.split("\t") for line in log.read_text().splitlines()]


def failing_calls(parts: Parts) -> None:
    """One call of a part, or of the last step, fails, or the process is killed at it."""
    faults = parts.faults
    for step, old in ((2, False), (FINISH, False), (FINISH, True)):
        counts: dict[str, int] = {}
        for call, *_ in parts.calls(step, old):
            counts[call.strip()] = counts.get(call.strip(), 0) + 1
        for call in CALLS:
            actions = (
                ["5"]
                + ["28"] * (call in ("pwrite", "mkdir"))
                + ["22"] * call.endswith("direct")
                + ["kill"] * (call not in READS)
            )
            for number in faults.numbers(counts.get(call, 0), 2):
                for action in actions:
                    parts.enter(step, old)
                    plan = {"FAULTS": f"{call}:{number}:{action}"}
                    result = faults.run(parts.command(step, old), shim=plan)
                    kind = {"5": "I/O error in", "28": "no space left in", "22": "not possible:"}
                    sent = signal.SIGKILL if action == "kill" else 0
                    fault = f"{kind[action]} {call}" if action != "kill" else "SIGKILL at a call"
                    detail = f"{call} {number}"
                    # Without direct reads, files are read as usual.
                    statuses = () if action == "22" else (74,)
                    parts.judge(fault, step, detail, result, old=old, sent=sent, statuses=statuses)
        for number in faults.numbers(counts.get("pwrite", 0), 2):
            parts.enter(step, old)
            plan = {"FAULTS": f"pwrite:{number}:short"}
            result = faults.run(parts.command(step, old), shim=plan)
            parts.judge("short write", step, f"pwrite {number}", result, old=old, statuses=())


def order_of_calls(parts: Parts) -> None:
    """A journal lists a block only after its bytes are on disk, and no name comes before them."""
    dirty, wrong = set(), []
    log = parts.calls(2, False)
    for call, path, *_ in log:
        call, path = call.strip(), path.strip()
        if call == "pwrite" and "/output/" in path:
            dirty.add(path)
        elif call == "pwrite" and "/output/" not in path and dirty:
            wrong.append(f"{os.path.basename(path)} lists blocks that are not on disk")
        elif call == "fsync":
            dirty.discard(path)
    if not any(call.strip() == "pwrite" and "/output/" in path for call, path, *_ in log):
        wrong.append("nothing was written")
    parts.count("power loss (order of calls)", "part 2", "durable", wrong)


def wrong_disk(parts: Parts) -> None:
    """`pleat finish` reads a wrong bit of what a part has written."""
    job, faults = parts.job, parts.faults
    parts.enter(FINISH, False)
    folder = job.out / f".{job.output}.parts" / "output"
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    for name, contents in files.items():
        # Zeros may be padding, or a header that is not written yet.
        offsets = [offset for offset, byte in enumerate(contents) if byte]
        for offset in job.random.sample(offsets, 12 if faults.options.full else 2):
            parts.enter(FINISH, False)
            plan = {"FAULTS": f"flip:{offset}:{name}"}
            result = faults.run(parts.command(FINISH, False), shim=plan)
            wrong = [] if "damaged: " in result.stderr else ["the damage was not reported"]
            parts.count("a bit read back is wrong", f"byte {offset}", "reported", wrong)
            detail = f"byte {offset} of {name}"
            parts.judge("a bit read back is wrong", FINISH, detail, result, statuses=(64,))


def changing_input(parts: Parts) -> None:
    """The input changes while a part reads it, and gets its old bytes and its old time later."""
    job, faults = parts.job, parts.faults
    count = sum(call.strip() == "pread" for call, *_ in parts.calls(2, False))
    source = faults.work / "in" / job.input
    source = source / "model.safetensors" if source.is_dir() else source
    kept = job.work / "kept"
    for number in faults.numbers(count, 4):
        for action, kind in (("truncate", "shrinks"), ("change", "changes")):
            parts.enter(2, False)
            inputs = job.work / "copy"
            shutil.rmtree(inputs, ignore_errors=True)
            shutil.copytree(faults.work / "in", inputs)
            target = inputs / source.relative_to(faults.work / "in")
            shutil.copy2(target, kept)
            command = [*faults.command(job, inputs), "--part", f"2/{COUNT}"]
            plan = {"FAULTS": f"pread:{number}:{action}={target}"}
            result = faults.run(command, shim=plan)
            shutil.copy2(kept, target)
            # A small input may have been read whole before it changed.
            again = faults.run(command)
            wrong = [] if again.returncode == 0 else [f"again: {again.stderr[:300]}"]
            parts.count(f"input {kind}", f"pread {number}: again", "done", wrong)
            detail = f"pread {number}"
            parts.judge(f"input {kind}", 2, detail, result, statuses=(64, 65, 74))


def other_machines(parts: Parts) -> None:
    """Each part has another host name and another clock, years apart."""
    faults, job = parts.faults, parts.job
    faults.clean(job.out)
    renames = (
        subprocess.run(["unshare", "-u", "true"], capture_output=True, check=False).returncode == 0
    )
    if not renames:
        faults.skipped.append("host names of parts: a process cannot have another one here")
    wrong: list[str] = []
    for step, shift in ((3, -YEARS), (1, YEARS), (2, -1), (FINISH, -2 * YEARS)):
        command = [faults.pleat, *map(str, parts.command(step, False))]
        if renames:
            name = ["sh", "-c", 'hostname "$0" && exec "$@"', f"host-{step}"]
            command = ["unshare", "-u", *name, *command]
        shim = {"FAULTS_CLOCK": str(shift)}
        result = subprocess.run(
            command, env=faults.environment(shim), capture_output=True, check=False, text=True,
            timeout=600,
        )  # fmt: skip
        if result.returncode != 0:
            wrong.append(f"{step}: {result.returncode} {result.stderr[:300]}")
    if parts.state() != "whole" or os.listdir(job.out) != [job.output]:
        wrong.append(f"the output is {parts.state()}")
    parts.count("other clocks and host names", "years apart", "done", wrong)


def disk_full(parts: Parts) -> None:
    """A part finds no room, and goes on when there is some."""
    faults, job = parts.faults, parts.job
    if not faults.can_mount:
        return
    size = sum(path.stat().st_size for path in job.out.rglob("*") if path.is_file())
    for share in (0.05, 0.5):
        with faults.disk(job, f"size={int(size * share) + 16384}") as out:
            out.mkdir()
            wrong: list[str] = []
            command = faults.command(job, output=out / job.output)
            for step in range(1, COUNT + 1):
                result = faults.run([*command, "--part", f"{step}/{COUNT}"])
                if result.returncode not in (0, 74):
                    wrong.append(f"part {step}: {result.returncode} {result.stderr[:300]}")
            result = faults.run(["finish", out / job.output])
            if result.returncode not in (64, 74) or (out / job.output).exists():
                wrong.append(f"finish: {result.returncode} {result.stderr[:300]}")
            subprocess.run(["mount", "-o", "remount,size=4g", out.parent], check=True)
            for step in range(1, COUNT + 1):
                faults.run([*command, "--part", f"{step}/{COUNT}"])
            faults.run(["finish", out / job.output])
            if parts.snapshot(out / job.output) != job.reference:
                wrong.append("the output is not whole with more room")
            parts.count("disk full", f"room for {share:.0%}", "74", wrong)


def kills(parts: Parts) -> None:
    """SIGKILL at random moments, until all parts and the last step are done; again and again."""
    faults, job = parts.faults, parts.job
    killed = 0
    while killed < faults.options.part_kills:
        old = killed % 2 == 1
        faults.clean(job.out, job if old else None)
        steps: list[int | str] = [1, 2, 3, FINISH]
        wrong: list[str] = []
        while steps:
            step, delay = steps[0], job.random.random() * 1.2 * job.seconds
            command = [faults.pleat, *map(str, parts.command(step, old))]
            process = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )
            if job.random.random() < 0.8:
                time.sleep(delay)
                process.kill()
            text = process.communicate(timeout=600)[1]
            if process.returncode == 0:
                steps.pop(0)
            elif process.returncode == -signal.SIGKILL:
                killed += 1
                state, wrong = parts.state(), []
                is_between = state == "broken" and step == FINISH and faults.is_recognised(job)
                if state not in ("old" if old else "absent", "whole") and not is_between:
                    wrong.append(f"the output is {state}")
                parts.count("SIGKILL", f"{step} after {delay:.4f} s", f"killed, {state}", wrong)
            else:
                parts.count("SIGKILL", f"{step}", "", [f"{process.returncode}: {text[:300]}"])
                break
        whole = parts.state() == "whole" and os.listdir(job.out) == [job.output]
        wrong = [] if whole else [f"{parts.state()}, {os.listdir(job.out)}"]
        parts.count("the runs after kills", "", "done, whole, cleared", wrong)


CALL_TRIALS = (failing_calls, order_of_calls, wrong_disk, changing_input, other_machines)
TRIALS = (disk_full,)
