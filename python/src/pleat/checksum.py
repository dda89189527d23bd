"""CRC-32C: by google_crc32c if its compiled form is installed, otherwise by numpy."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

_POLYNOMIAL = 0x82F63B78
_PIECE = 1 << 22  # bytes at once, so that a checksum needs little memory
_LANES = 1 << 14  # stretches of a piece that are divided side by side

try:
    import google_crc32c

    _extend = google_crc32c.extend if google_crc32c.implementation == "c" else None
except ImportError:
    _extend = None


class CRC32C:
    """The checksum of bytes that are given piece by piece."""

    def __init__(self) -> None:
        self.value = 0

    def update(self, data: np.ndarray) -> None:
        """Adds bytes, an array of uint8."""
        for start in range(0, len(data), _PIECE):
            piece = data[start : start + _PIECE]
            if _extend is not None:
                self.value = _extend(self.value, piece.tobytes())
            else:
                self.value = extended(self.value, piece)


def crc32c(data: np.ndarray) -> int:
    """The checksum of bytes, an array of uint8."""
    checksum = CRC32C()
    checksum.update(data)
    return checksum.value


def extended(value: int, data: np.ndarray) -> int:
    """The checksum of bytes that follow others with this checksum, by numpy.

    The remainder so far is added to the first four bytes; leading zeros then change nothing, so the
    bytes are padded to equal stretches. All stretches are divided at once, two bytes at a time. The
    remainders of neighbours are then combined in pairs: that of the left one is moved on by the
    length of the right one.
    """
    remainder = value ^ 0xFFFFFFFF
    if len(data) < 4:
        for byte in data.tolist():
            remainder = int(_byte_table()[(remainder ^ byte) & 0xFF]) ^ remainder >> 8
        return remainder ^ 0xFFFFFFFF
    lanes = min(_LANES, 1 << max(0, len(data) // 256).bit_length())
    width = -(-len(data) // (2 * lanes))
    padded = np.zeros(2 * lanes * width, np.uint8)
    padded[-len(data) :] = data
    first = len(padded) - len(data)
    padded[first : first + 4] ^= np.array([remainder], "<u4").view(np.uint8)
    steps = np.ascontiguousarray(padded.view("<u2").reshape(lanes, width).T)
    remainders, table = np.zeros(lanes, np.uint32), _pair_table()
    for step in steps:
        remainders = table[(remainders ^ step) & 0xFFFF] ^ (remainders >> 16)
    length = 2 * width
    while len(remainders) > 1:
        remainders = _apply(_moves(length), remainders[0::2]) ^ remainders[1::2]
        length *= 2
    return int(remainders[0]) ^ 0xFFFFFFFF


@lru_cache(maxsize=1)
def _byte_table() -> np.ndarray:
    table: np.ndarray = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> 1) ^ np.where(table & 1, np.uint32(_POLYNOMIAL), np.uint32(0))
    return table


@lru_cache(maxsize=1)
def _pair_table() -> np.ndarray:
    """What dividing two bytes leaves of each of their values."""
    table = np.arange(1 << 16, dtype=np.uint32)
    for _ in range(2):
        table = _byte_table()[table & 0xFF] ^ (table >> 8)
    return table


@lru_cache(maxsize=128)
def _moves(length: int) -> np.ndarray:
    """What becomes of each bit of a remainder when that many zero bytes follow."""
    bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
    if length == 0:
        return bits
    if length % 2:
        moved = _moves(length - 1)
        return _byte_table()[moved & 0xFF] ^ (moved >> 8)
    half = _moves(length // 2)
    return _apply(half, half)


def _apply(moves: np.ndarray, remainders: np.ndarray) -> np.ndarray:
    result = np.zeros(len(remainders), np.uint32)
    for bit in range(32):
        result ^= np.where(remainders >> np.uint32(bit) & 1, moves[bit], np.uint32(0))
    return result
