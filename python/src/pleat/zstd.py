"""Planes of compressed parts: section 9 of formats/pleat.md."""

from __future__ import annotations

import numpy as np

from .error import PleatError


def decompressed(stored: np.ndarray, length: int, offset: int) -> np.ndarray:
    """The bytes of one zstd frame, which must give exactly `length`; never more are allocated."""
    try:
        import zstandard
    except ImportError:
        raise PleatError(
            "unsupported",
            "a compressed part needs the package zstandard",
            hint="pip install zstandard",
        ) from None
    frame = stored.tobytes()
    try:
        stated = zstandard.get_frame_parameters(frame).content_size
        if stated not in (length, zstandard.CONTENTSIZE_UNKNOWN):
            raise _wrong_size(stated, length, offset)
        decompressor = zstandard.ZstdDecompressor()
        data = decompressor.decompress(frame, max_output_size=length, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise PleatError(
            "malformed", f"a zstd frame cannot be decompressed: {error}", offset=offset
        ) from None
    if len(data) != length:
        raise _wrong_size(len(data), length, offset)
    return np.frombuffer(data, np.uint8)


def _wrong_size(found: int, expected: int, offset: int) -> PleatError:
    return PleatError(
        "malformed",
        "a zstd frame has the wrong size",
        offset=offset,
        expected=f"{expected} bytes",
        found=str(found),
    )
