"""Compares numbers bit by bit."""

import numpy as np


def differing_bits(found: np.ndarray, expected: np.ndarray) -> str:
    """Empty if both have the same bits; else a description of the difference."""
    if (found.dtype, found.shape) != (expected.dtype, expected.shape):
        return f"expected {expected.dtype} {expected.shape}, found {found.dtype} {found.shape}"
    left, right = (np.ascontiguousarray(values).reshape(-1) for values in (found, expected))
    differing = np.flatnonzero((left.view(np.uint8) != right.view(np.uint8)))
    if differing.size == 0:
        return ""
    first = differing[0] // found.dtype.itemsize
    return f"element {first}: expected {right[first]!r}, found {left[first]!r}"
