"""Runs GGUF files with llama.cpp: logits, perplexity."""

from pathlib import Path

import models
import numpy as np

F32 = 0  # the number of the type in ggml, for the KV cache
# Threads of ggml wait for each other in loops, which keeps processors busy that others use.
ONE_THREAD = {"n_threads": 1, "n_threads_batch": 1}


def logits(path: Path, rows: np.ndarray) -> np.ndarray:
    import llama_cpp

    count = rows.shape[1]
    model = llama_cpp.Llama(
        str(path),
        n_ctx=count,
        n_batch=count,
        logits_all=True,
        verbose=False,
        type_k=F32,
        type_v=F32,
        **ONE_THREAD,
    )
    results = []
    for row in rows:
        model.reset()
        model.eval(row.tolist())
        results.append(model.scores[:count].copy())
    model.close()
    return np.stack(results)


def perplexity(path, name: str, every: int = 1) -> float:
    """exp of the mean negative log-likelihood like `models.perplexity`, in llama.cpp."""
    rows = models.held_out(name)[::every]
    total, count = 0.0, 0
    for part in np.split(rows, len(rows) // 16):
        scores = logits(path, part)[:, :-1].astype(np.float64)
        scores -= scores.max(-1, keepdims=True)
        chosen = np.take_along_axis(scores, part[:, 1:, None], -1)[..., 0]
        total -= (chosen - np.log(np.exp(scores).sum(-1))).sum()
        count += chosen.size
    return float(np.exp(total / count))
