"""Writes pleat files byte by byte, which pleat itself would not write."""

import json
import struct

import google_crc32c
from pleat import MAGIC

EMPTY = {"offset": 0, "length": 0, "crc32c": "00000000"}


def file_of(header: dict | bytes, data: bytes, version=(1, 0)) -> bytes:
    """A file with these bytes between preamble and header, and valid checksums."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    offset = 64 + len(data)
    preamble = struct.pack(
        "<8sHHIQQQ20x", MAGIC, *version, google_crc32c.value(text), offset, len(text),
        offset + len(text),
    )  # fmt: skip
    return preamble + struct.pack("<I", google_crc32c.value(preamble)) + data + text


def checksum(data: bytes) -> str:
    return f"{google_crc32c.value(data):08x}"


class Writer:
    """Collects parts and returns their locations."""

    def __init__(self, data: bytes = b""):
        self.data = data

    def raw(self, contents: bytes) -> dict:
        self.align()
        offset = 64 + len(self.data)
        self.data += contents
        return {"offset": offset, "length": len(contents), "crc32c": checksum(contents)}

    def compressed(self, stored: list[bytes], length: int, planes: int = 1) -> dict:
        """Adds a block of planes that are compressed already."""
        frames = [64 + len(self.data), *map(len, stored)]
        self.data += b"".join(stored)
        crc = checksum(b"".join(stored))
        part = {"length": length, "block": length, "planes": planes, "frames": frames}
        return part | {"crc32c": crc}

    def align(self) -> None:
        self.data += bytes(-len(self.data) % 64)

    def file(self, header: dict | bytes) -> bytes:
        self.align()
        return file_of(header, self.data)
