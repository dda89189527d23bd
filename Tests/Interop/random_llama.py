"""Runs llama.cpp in a process of its own, because it aborts on some files.

As a program, this file answers requests, one a line, until its input ends.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np

ANSWER = "answer: "
SECONDS = 300  # a request takes less than one
F32 = 0  # the number of the type in ggml, for the KV cache


class Llama:
    """A process that is started when it is needed, and again after it has aborted."""

    def __init__(self):
        self.process = None

    def logits(self, path: Path, rows: np.ndarray, lora: Path | None = None) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            tokens, scores = Path(folder) / "tokens.npy", Path(folder) / "scores.npy"
            np.save(tokens, rows)
            answer = self._ask([str(path), str(lora or ""), str(tokens), str(scores)])
            assert answer == "done", f"llama.cpp: {answer}"
            return np.load(scores)

    def _ask(self, request: list[str]) -> str:
        if self.process is None or self.process.poll() is not None:
            self.process = subprocess.Popen(
                [sys.executable, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=os.environ | {"GGML_NO_BACKTRACE": "1"},
            )
        timer = threading.Timer(SECONDS, self.process.kill)
        timer.start()
        try:
            print(json.dumps(request), file=self.process.stdin, flush=True)
            for line in self.process.stdout:  # debuggers may write lines of their own
                if line.startswith(ANSWER):
                    return line.removeprefix(ANSWER).strip()
            return f"aborted with status {self.process.wait()}"
        finally:
            timer.cancel()

    def close(self) -> None:
        if self.process:
            self.process.stdin.close()
            self.process.wait()


def run(path: str, lora: str, tokens: str, scores: str) -> None:
    import llama_cpp

    rows, results = np.load(tokens), []
    count = rows.shape[1]
    options = {"lora_path": lora} if lora else {}
    model = llama_cpp.Llama(
        path,
        n_ctx=count,
        n_batch=count,
        logits_all=True,
        verbose=False,
        type_k=F32,
        type_v=F32,
        n_threads=1,
        n_threads_batch=1,
        **options,
    )
    for row in rows:
        model.reset()
        model.eval(row.tolist())
        results.append(model.scores[:count].copy())
    model.close()
    np.save(scores, np.stack(results))


def main() -> None:
    for line in sys.stdin:
        try:
            run(*json.loads(line))
            answer = "done"
        except Exception as error:
            answer = f"{type(error).__name__}: {error}".replace("\n", " ")
        print(ANSWER + answer, flush=True)


if __name__ == "__main__":
    main()
