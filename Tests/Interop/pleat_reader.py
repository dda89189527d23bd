"""A slow, plain reader of .pleat files, written from formats/pleat.md and nothing else.

It believes nothing: whatever the format promises is checked, and Damaged says what does not hold.
"""

import json
import struct
from pathlib import Path

import google_crc32c
import numpy as np
import zstandard

MAGIC = b"\x89PLEAT\r\n"
PREAMBLE = 64
ALIGNMENT = 64
FEATURES = {"zstd", "ggml-blocks"}
FLOATS = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8"}
# The metadata types of fixed size, by number; 8 is a string and 9 an array.
RECORDS = dict(zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True))


class Damaged(Exception):
    pass


def demand(holds: bool, what: str) -> None:
    if not holds:
        raise Damaged(what)


class PleatFile:
    """A file in memory; opening it checks everything but the values."""

    def __init__(self, data: bytes):
        self.data = data
        self._read_preamble()
        self.header = json.loads(self.data[self.header_offset :])
        unknown = set(self.header["requires"]) - FEATURES
        demand(not unknown, f"unknown features {unknown}")
        self.tensors = {tensor["name"]: tensor for tensor in self.header["tensors"]}
        demand(len(self.tensors) == len(self.header["tensors"]), "a tensor is there twice")
        self.adapters = {
            adapter["name"]: adapter
            for adapter in self.header.get("adapters", [])
            if "tensors" in adapter
        }
        self._check_places()
        for name, part in self.parts():
            found = f"{google_crc32c.value(self._stored(part)):08x}"
            demand(found == part["crc32c"], f"{name}: expected {part['crc32c']}, found {found}")

    @classmethod
    def open(cls, path: Path) -> "PleatFile":
        return cls(path.read_bytes())

    def _read_preamble(self) -> None:
        demand(len(self.data) >= PREAMBLE, "shorter than a preamble")
        fields = struct.unpack("<8sHHIQQQ20sI", self.data[:PREAMBLE])
        magic, major, _, header_crc, offset, length, total, _, crc = fields
        demand(magic == MAGIC, "not a pleat file")
        demand(crc == google_crc32c.value(self.data[:60]), "the preamble is damaged")
        demand(major == 1, f"version {major}")
        demand(total == len(self.data), f"expected {total} bytes, found {len(self.data)}")
        demand(offset >= PREAMBLE and offset + length == total, "the header is not at the end")
        demand(header_crc == google_crc32c.value(self.data[offset:]), "the header is damaged")
        self.header_offset = offset

    def parts(self):
        """Every part with a name for messages."""
        yield "metadata", self.header["metadata"]
        for companion in self.header["companions"]:
            yield companion["name"], companion
        yield from _parts_of(self.header["tensors"])
        for adapter in self.adapters.values():
            yield from _parts_of(adapter["tensors"])

    # Places

    def _blocks(self, part: dict):
        """Of a compressed part, for each block: its length, its offset, the sizes of its planes."""
        stride = 1 + part["planes"]
        frames = part["frames"]
        demand(len(frames) % stride == 0, "a broken frames table")
        count = len(frames) // stride
        demand(count == -(-part["length"] // part["block"]), "too few or too many blocks")
        for index in range(count):
            length = min(part["block"], part["length"] - index * part["block"])
            offset, *sizes = frames[index * stride : (index + 1) * stride]
            yield length, offset, sizes

    def _stretches(self, part: dict) -> list[tuple[int, int]]:
        """Where the stored bytes of a part are: offsets of begin and end."""
        if "frames" not in part:
            return [(part["offset"], part["offset"] + part["length"])] if part["length"] else []
        return [(offset, offset + sum(sizes)) for _, offset, sizes in self._blocks(part)]

    def _check_places(self) -> None:
        stretches = []
        for name, part in self.parts():
            if "frames" not in part and part["length"]:
                demand(part["offset"] % ALIGNMENT == 0, f"{name} is not aligned")
            stretches += self._stretches(part)
        position = PREAMBLE
        for begin, end in [*sorted(stretches), (self.header_offset, self.header_offset)]:
            demand(begin >= position, f"the parts around {begin} overlap")
            demand(not any(self.data[position:begin]), f"the gap at {position} is not zero")
            position = end

    def _stored(self, part: dict) -> bytes:
        return b"".join(self.data[begin:end] for begin, end in self._stretches(part))

    # Bytes

    def bytes_of(self, part: dict) -> bytes:
        """The bytes of a part, decompressed."""
        if "frames" not in part:
            return self._stored(part)
        result = bytearray()
        for length, offset, sizes in self._blocks(part):
            planes = part["planes"]
            block = bytearray(length)
            for plane, size in enumerate(sizes):
                stored = self.data[offset : offset + size]
                offset += size
                if size < length // planes:
                    stored = zstandard.ZstdDecompressor().decompress(stored, length)
                demand(len(stored) == length // planes, "a frame has the wrong size")
                block[plane::planes] = stored
            result += block
        return bytes(result)

    @property
    def companions(self) -> dict[str, bytes]:
        return {part["name"]: self.bytes_of(part) for part in self.header["companions"]}

    @property
    def metadata(self) -> dict:
        """Key → value; an array is a list."""
        part = self.header["metadata"]
        records = Records(self.bytes_of(part))
        result = {records.string(): records.value(records.take("I")) for _ in range(part["count"])}
        demand(records.offset == len(records.data), "bytes after the last record")
        return result

    # Numbers

    def floats(self, name: str) -> np.ndarray:
        """The values of a tensor as float32."""
        tensor = self.tensors[name]
        shape, encoding = tensor["shape"], tensor["encoding"]
        parts = {role: self.bytes_of(part) for role, part in tensor["parts"].items()}
        if "type" in encoding:
            return _floats(parts["values"], encoding["type"]).reshape(shape)
        bits, columns = encoding["bits"], shape[-1]
        codes = _codes(parts["codes"], bits, columns)
        codes = codes.reshape(-1, columns // encoding["groupSize"], encoding["groupSize"])
        scales = _floats(parts["scales"], encoding["parameters"]).reshape(*codes.shape[:2], 1)
        if encoding["offset"] == "none":
            values = scales * (codes - np.float32(2 ** (bits - 1)))
        else:
            biases = _floats(parts["biases"], encoding["parameters"]).reshape(scales.shape)
            values = scales * codes + biases
        assert values.dtype == np.float32
        return values.reshape(shape)


def _parts_of(tensors: list):
    for tensor in tensors:
        for role, part in tensor["parts"].items():
            yield f"{tensor['name']} {role}", part


def _floats(data: bytes, type: str) -> np.ndarray:
    values = np.frombuffer(data, FLOATS[type])
    if type == "BF16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float32)


def _codes(data: bytes, bits: int, columns: int) -> np.ndarray:
    """rows × columns codes as float32; the bits that fill the last word must be zero."""
    words = -(-columns * bits // 32)
    rows = np.frombuffer(data, np.uint8).reshape(-1, 4 * words)
    stream = np.unpackbits(rows, axis=1, bitorder="little")
    demand(not stream[:, columns * bits :].any(), "a row is not filled with zero bits")
    digits = stream[:, : columns * bits].reshape(len(rows), columns, bits)
    return (digits @ (1 << np.arange(bits))).astype(np.float32)


class Records:
    """Key-value records of GGUF, version 3, little-endian."""

    def __init__(self, data: bytes):
        self.data = data
        self.offset = 0

    def take(self, code: str):
        (value,) = struct.unpack_from("<" + code, self.data, self.offset)
        self.offset += struct.calcsize("<" + code)
        return value

    def string(self) -> str:
        length = self.take("Q")
        self.offset += length
        return self.data[self.offset - length : self.offset].decode()

    def value(self, type: int):
        if type == 8:
            return self.string()
        if type == 9:
            element, count = self.take("I"), self.take("Q")
            demand(element != 9, "an array of arrays")
            return [self.value(element) for _ in range(count)]
        demand(type in RECORDS, f"metadata type {type}")
        return self.take(RECORDS[type])
