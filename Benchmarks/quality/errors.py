"""Errors of quantized weights, and bits per weight."""

from dataclasses import dataclass

import numpy as np
from origins import Origin


@dataclass(frozen=True)
class Error:
    """Relative RMS errors of decoded weights w' against the weights w.

    Importance has another unit in each matrix, so the weighted error is a mean over matrices.
    """

    plain: float  # √(Σ (w' − w)² / Σ w²), over all weights
    weighted: float  # √ of the mean over matrices of Σ ω (w' − w)² / Σ ω w²; ω: importance

    def document(self) -> dict:
        return {"error": round(self.plain, 6), "weightedError": round(self.weighted, 6)}


def error(origin: Origin, decoded: dict[str, np.ndarray]) -> Error:
    assert decoded.keys() == origin.weights.keys()
    plain, sizes, weighted = 0.0, 0.0, []
    for name, weight in origin.weights.items():
        square = np.square(decoded[name] - weight, dtype=np.float64)
        size = np.square(weight, dtype=np.float64)
        columns = origin.columns(name).astype(np.float64)
        plain, sizes = plain + square.sum(), sizes + size.sum()
        weighted.append((square @ columns).sum() / (size @ columns).sum())
    return Error(float(np.sqrt(plain / sizes)), float(np.sqrt(np.mean(weighted))))
