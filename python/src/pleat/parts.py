"""Parts of a pleat file: where their bytes are, sections 3, 4.2 and 9 of formats/pleat.md."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Iterable, Iterator

from .error import PleatError

PREAMBLE_BYTES = ALIGNMENT = 64
COUNT_LIMIT = 2**63 - 1
BLOCK_LIMIT = 1 << 28


def is_count(value: Any) -> bool:
    """Whether a value of the header is a count."""
    return type(value) is int and 0 <= value <= COUNT_LIMIT


@dataclass(frozen=True)
class Part:
    """A range of bytes with a checksum; if it is compressed, a range for each block."""

    name: str  # of the tensor, the companion, or "metadata"
    role: str
    length: int  # bytes, after decompression
    crc32c: int  # of the stored bytes
    offset: int = 0
    block: int = 0  # bytes of each block but the last, after decompression
    planes: int = 1
    frames: tuple[int, ...] | None = None

    def blocks(self) -> Iterator[tuple[int, int, tuple[int, ...]]]:
        """Of each block its length, its offset in the file, and the stored sizes of its planes."""
        stride = 1 + self.planes
        frames = self.frames or ()
        for index in range(len(frames) // stride):
            offset, *sizes = frames[index * stride : (index + 1) * stride]
            yield min(self.block, self.length - index * self.block), offset, tuple(sizes)

    def ranges(self) -> list[tuple[int, int]]:
        """The offsets at which its stored bytes begin and end, in order."""
        if self.frames is not None:
            return [(offset, offset + sum(sizes)) for _, offset, sizes in self.blocks()]
        return [(self.offset, self.offset + self.length)] if self.length else []


def parse_part(value: Any, name: str, role: str) -> Part:
    """A part of the header, with every number that it needs."""
    what = f"the part '{role}'"
    stated = value.get("crc32c") if type(value) is dict else None
    checksum = stated if type(stated) is str else ""
    complete = (
        type(value) is dict
        and is_count(value.get("length"))
        and re.fullmatch("[0-9a-fA-F]{8}", checksum) is not None
        and ("frames" in value or is_count(value.get("offset")))
    )
    if not complete:
        raise PleatError(
            "malformed",
            f"{what} is incomplete",
            tensor=name,
            expected="length, crc32c, and offset or frames",
        )
    length, crc = value["length"], int(checksum, 16)
    if "frames" not in value:
        return Part(name, role, length, crc, value["offset"])
    block, planes, frames = value.get("block"), value.get("planes", 1), value["frames"]
    # A block that is larger than its part is malformed: its length is not in the file.
    if is_count(block) and BLOCK_LIMIT < block <= length:
        raise PleatError(
            "limit",
            f"the blocks of {what} are too large",
            tensor=name,
            expected=f"at most {BLOCK_LIMIT} bytes",
            found=str(block),
        )
    fits = (
        is_count(block)
        and 0 < block <= BLOCK_LIMIT
        and type(planes) is int
        and planes in (1, 2)
        and block % planes == 0
        and length % planes == 0
        and type(frames) is list
        and all(map(is_count, frames))
        and len(frames) == (1 + planes) * -(-length // block)
    )
    if not fits:
        raise PleatError(
            "malformed",
            f"the frames of {what} do not make up its length",
            tensor=name,
            expected=f"{length} bytes in blocks of {block}",
            found=f"{len(frames) if type(frames) is list else 'no'} numbers for {planes} planes",
        )
    part = Part(name, role, length, crc, 0, block, planes, tuple(frames))
    for block_length, _, sizes in part.blocks():
        for size in sizes:
            if not 0 < size <= block_length // planes:
                raise PleatError(
                    "malformed",
                    "a frame has an impossible size",
                    tensor=name,
                    expected=f"1…{block_length // planes}",
                    found=str(size),
                )
    return part


def check_ranges(parts: Iterable[Part], end: int) -> list[tuple[int, int]]:
    """The gaps between parts, after checking that no part overlaps another one or lies outside."""
    ranges: list[tuple[int, int, str]] = []
    for part in parts:
        if part.frames is None and part.length and part.offset % ALIGNMENT:
            raise PleatError(
                "malformed",
                "a part is not aligned",
                tensor=part.name,
                expected=f"a multiple of {ALIGNMENT}",
                found=str(part.offset),
            )
        for start, stop in part.ranges():
            if start < PREAMBLE_BYTES or stop > end:
                raise PleatError(
                    "malformed",
                    "a part lies outside the file's data",
                    tensor=part.name,
                    expected=f"bytes {PREAMBLE_BYTES}…{end}",
                    found=f"{stop - start} bytes at {start}",
                )
            ranges.append((start, stop, part.name))
    ranges.sort()
    for (_, stop, _), (start, _, name) in pairwise(ranges):
        if start < stop:
            raise PleatError("malformed", "two parts overlap", tensor=name, offset=start)
    edges = [(0, PREAMBLE_BYTES), *((start, stop) for start, stop, _ in ranges), (end, end)]
    return [(stop, start) for (_, stop), (start, _) in pairwise(edges) if stop < start]
