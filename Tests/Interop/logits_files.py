"""Files of log probabilities (llama-perplexity --kl-divergence-base), read and written with numpy.

formats/logits.md describes them. Nothing here is shared with pleat.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

MAGIC = b"_logits_"


@dataclass
class LogitsFile:
    tokens: np.ndarray  # chunks × context
    scales: np.ndarray  # chunks × predictions
    smallest: np.ndarray
    steps: np.ndarray  # chunks × predictions × vocabulary

    @property
    def log_probabilities(self) -> np.ndarray:
        """In float32, with both operations rounded."""
        return self.scales[..., None] * self.steps.astype(np.float32) + self.smallest[..., None]


def record_type(vocabulary: int) -> np.dtype:
    numbers = (vocabulary + 1) // 2 * 2
    return np.dtype([("scale", "<f4"), ("smallest", "<f4"), ("steps", "<u2", numbers)])


def read(path: Path) -> LogitsFile:
    data = path.read_bytes()
    assert data[:8] == MAGIC
    context, vocabulary, chunks = np.frombuffer(data, "<i4", 3, 8).tolist()
    tokens = np.frombuffer(data, "<i4", chunks * context, 20).reshape(chunks, context)
    start = 20 + tokens.nbytes
    count = context - 1 - context // 2
    records = np.frombuffer(data, record_type(vocabulary), chunks * count, start)
    assert start + records.nbytes == len(data)
    records = records.reshape(chunks, count)
    steps = records["steps"][..., :vocabulary]
    assert not records["steps"][..., vocabulary:].any()
    return LogitsFile(tokens, records["scale"], records["smallest"], steps)


def write(path: Path, tokens: np.ndarray, logits: np.ndarray) -> None:
    """Writes a file for logits of all positions: chunks × context × vocabulary, in float32."""
    chunks, context = tokens.shape
    vocabulary = logits.shape[-1]
    logits = logits[:, context // 2 : -1].astype(np.float32)
    largest = logits.max(-1)
    smallest = np.maximum(logits.min(-1), largest - np.float32(16))
    total = np.exp(logits - largest[..., None]).astype(np.float64).sum(-1)
    records = np.zeros(logits.shape[:2], record_type(vocabulary))
    records["scale"] = (largest - smallest) / np.float32(65535)
    records["smallest"] = smallest - largest - np.log(total).astype(np.float32)
    inverse = np.float32(1) / records["scale"][..., None]
    steps = np.rint(inverse * (logits - smallest[..., None]))
    records["steps"][..., :vocabulary] = np.clip(steps, 0, 65535)
    sizes = np.array([context, vocabulary, chunks], "<i4")
    path.write_bytes(MAGIC + sizes.tobytes() + tokens.astype("<i4").tobytes() + records.tobytes())


def divergences(base: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """KL(base ‖ model) of each prediction, as llama-perplexity counts: without ln p ≤ −16."""
    model = logits.astype(np.float64)
    model -= model.max(-1, keepdims=True)
    model -= np.log(np.exp(model).sum(-1, keepdims=True))
    counted = np.where(base > -16, base, -np.inf).astype(np.float64)
    terms = np.exp(counted) * (np.where(base > -16, base, 0) - model)
    return terms.sum(-1)
