"""Runs one command and measures it: wall seconds, processor seconds, peak resident memory."""

import ctypes
import os
import subprocess
import sys
import time
from dataclasses import dataclass

PR_SET_CHILD_SUBREAPER = 36


@dataclass
class Measurement:
    wall: float  # seconds
    user: float  # seconds of processor time, of all threads
    system: float  # the same, in the kernel
    peak: int  # peak resident bytes
    status: int
    message: str  # the first error on standard error, or the last line if there is none


def adopt_orphans() -> bool:
    """Makes this process the parent of grandchildren whose parent ends. Works on Linux only."""
    try:
        return ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    except (AttributeError, OSError):
        return False


ADOPTING = adopt_orphans()


# The shell prints the process ID of its child and ends. The child waits for a line, and then
# executes the command.
GATE = 'out=$1; shift; exec 3<&0; { read -r go; exec "$@" </dev/null 3<&- >"$out"; } <&3 & echo $!'


def measure(arguments: list[str], output: str, errors: str) -> Measurement:
    """Runs a command to its end, with standard output and standard error in files.

    The peak memory of a process includes that of the process that forked it, and Python is larger
    than pleat. On Linux, a small shell therefore forks the command and ends, and this process
    adopts the command.
    """
    with open(errors, "wb") as messages, open(output, "wb") as out:
        if ADOPTING:
            shell = subprocess.Popen(
                ["/bin/sh", "-c", GATE, "sh", output, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=messages,
            )
            id = int(shell.stdout.readline())
            shell.wait()
            begin = time.perf_counter()
            shell.stdin.write(b"go\n")
            shell.stdin.close()
        else:
            begin = time.perf_counter()
            id = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=messages
            ).pid
        _, status, usage = os.wait4(id, 0)
        wall = time.perf_counter() - begin
    with open(errors, errors="replace") as file:
        lines = file.read().strip().splitlines()
    errors_first = (line for line in lines if line.startswith("error"))
    return Measurement(
        wall=wall,
        user=usage.ru_utime,
        system=usage.ru_stime,
        peak=usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        status=os.waitstatus_to_exitcode(status),
        message=next(errors_first, lines[-1] if lines else ""),
    )
