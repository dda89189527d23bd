"""Round-to-nearest in groups along the input, written in numpy independently of pleat."""

import numpy as np

LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def is_linear(name: str) -> bool:
    """Whether a Hugging Face name is one of the seven linears of a layer."""
    return name.endswith(".weight") and name.split(".")[-2] in LINEARS


def minmax(weight: np.ndarray, bits: int, group_size: int = 32) -> np.ndarray:
    """The decoded weights as float32: w' = s·q + b.

    s and b are rounded to half precision first. Codes are computed with the rounded values:
    q = round-half-even((w − b) / s), clamped. Every step is one float32 operation.
    """
    w = weight.astype(np.float32).reshape(weight.shape[0], -1, group_size)
    n = np.float32(2**bits - 1)
    low, high = w.min(axis=2, keepdims=True), w.max(axis=2, keepdims=True)
    s = ((high - low) / n).astype(np.float16).astype(np.float32)
    b = low.astype(np.float16).astype(np.float32)
    quotient = np.divide(w - b, s, out=np.zeros_like(w), where=s != 0)
    q = np.clip(np.rint(quotient), np.float32(0), n)
    decoded = s * q + b
    assert decoded.dtype == np.float32
    return decoded.reshape(weight.shape)


def same_bits(found: np.ndarray, expected: np.ndarray) -> str:
    """Empty if both have the same bits; else a description of the difference."""
    if (found.dtype, found.shape) != (expected.dtype, expected.shape):
        return f"expected {expected.dtype} {expected.shape}, found {found.dtype} {found.shape}"
    unsigned = f"u{found.dtype.itemsize}"
    differing = np.flatnonzero(
        np.ascontiguousarray(found).view(unsigned).ravel()
        != np.ascontiguousarray(expected).view(unsigned).ravel()
    )
    if differing.size == 0:
        return ""
    first = differing[0]
    return (
        f"{differing.size} of {found.size} values differ; the first is element {first}: "
        f"expected {expected.ravel()[first]!r}, found {found.ravel()[first]!r}"
    )
