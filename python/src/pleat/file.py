"""Opens pleat files: preamble, parts on request, checksums on request."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .checksum import CRC32C, crc32c
from .decode import decode
from .encodings import Blocks
from .error import PleatError, located
from .header import HEADER_LIMIT, StoredAdapter, Tensor, parse_header
from .parts import PREAMBLE_BYTES, Part, check_ranges
from .records import parse_records
from .zstd import decompressed

MAGIC = b"\x89PLEAT\r\n"


def read(path: str | os.PathLike[str], *, check: bool = False) -> PleatFile:
    """Opens a pleat file: a mapping from the names of its tensors to numpy arrays.

    The file is mapped into memory, and a tensor is decoded when it is asked for: to float32, with
    the bits of `pleat convert --to safetensors --dtype F32`; integers and booleans keep their
    type. `check=True` first compares all checksums. Throws PleatError.
    """
    file = PleatFile(path)
    if check:
        file.check()
    return file


class PleatFile(Mapping[str, np.ndarray]):
    """An opened pleat file; tensors are decoded when they are asked for.

    Preamble, header, the places of all parts and the metadata are checked when it is opened. The
    file must not change while it is open.
    """

    def __init__(self, path: str | os.PathLike[str], *, writable: bool = False):
        """`writable` makes the arrays of `stored` writable; the file itself never changes."""
        self.path = os.fspath(path)
        with located(file=self.path):
            self._data = _mapped(self.path, writable)
            self._header_offset, text = _read_preamble(self._data)
            self._header = parse_header(text)
            self._gaps = check_ranges(self._header.parts, self._header_offset)
            self.metadata: dict[str, Any] = self._read_metadata()

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors of the model: shapes, encodings and parts, in the order of the file."""
        return self._header.tensors

    @property
    def adapters(self) -> dict[str, StoredAdapter]:
        """The adapters that the file carries beside the weights."""
        return self._header.adapters

    @property
    def provenance(self) -> Any:
        """The sources and the history of the weights, as they are in the header."""
        return self._header.provenance

    @property
    def companions(self) -> list[str]:
        """The names of the small files that belong to the model."""
        return list(self._header.companions)

    def companion(self, name: str) -> bytes:
        """A small file that belongs to the model, such as config.json."""
        if name not in self._header.companions:
            raise PleatError(
                "usage",
                f"the file has no companion '{name}'",
                file=self.path,
                found=", ".join(self.companions) or "no companions",
            )
        return self._bytes(self._header.companions[name]).tobytes()

    def stored(self, name: str) -> dict[str, np.ndarray]:
        """The bytes of a tensor's parts, by role; views of the file unless they are compressed."""
        return {role: self._bytes(part) for role, part in self.tensors[name].parts.items()}

    def adapter(self, name: str) -> dict[str, np.ndarray]:
        """The tensors of an adapter that the file carries."""
        return {key: self._decoded(t) for key, t in self.adapters[name].tensors.items()}

    def __getitem__(self, name: str) -> np.ndarray:
        return self._decoded(self.tensors[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def __contains__(self, name: object) -> bool:
        return name in self.tensors

    def __repr__(self) -> str:
        return f"<PleatFile {self.path!r}, {len(self)} tensors>"

    def check(self) -> None:
        """Compares every checksum, decompresses every part, and checks that gaps are zero."""
        with located(file=self.path):
            for part in self._header.parts:
                self._check_part(part)
            for start, stop in self._gaps:
                nonzero = np.flatnonzero(self._data[start:stop])
                if len(nonzero):
                    offset = start + int(nonzero[0])
                    raise PleatError(
                        "malformed",
                        "the space between parts is not zero",
                        offset=offset,
                        expected="0",
                        found=str(self._data[offset]),
                    )

    def _check_part(self, part: Part) -> None:
        checksum, ranges = CRC32C(), part.ranges()
        for start, stop in ranges:
            checksum.update(self._data[start:stop])
        if checksum.value != part.crc32c:
            raise PleatError(
                "malformed",
                f"the {part.role} are damaged: their checksum does not match",
                tensor=part.name,
                offset=ranges[0][0] if ranges else 0,
                expected=f"{part.crc32c:08x}",
                found=f"{checksum.value:08x}",
            )
        if part.frames is not None:
            with located(tensor=part.name):
                for block in part.blocks():
                    self._block(part, *block)

    def _decoded(self, tensor: Tensor) -> np.ndarray:
        with located(file=self.path, tensor=tensor.name):
            self._check_scale(tensor)
            stored = {role: self._bytes(part) for role, part in tensor.parts.items()}
            return decode(tensor.encoding, tensor.shape, stored)

    def _check_scale(self, tensor: Tensor) -> None:
        """llama.cpp multiplies the products of `x.weight` by `x.scale`, which NVFP4 needs."""
        module, _, leaf = tensor.name.rpartition(".")
        scale = f"{module}.scale"
        if tensor.encoding == Blocks("NVFP4") and leaf == "weight" and scale in self.tensors:
            raise PleatError(
                "unsupported",
                "the numbers of the weight need its scale, which is not applied",
                expected=f"no {scale}",
                found="NVFP4",
                hint="stored(name) gives the bytes as they are in the file",
            )

    def _bytes(self, part: Part) -> np.ndarray:
        """The bytes of a part, decompressed: a view of the file if they are not compressed."""
        if part.frames is None:
            start = part.offset if part.length else 0
            return self._data[start : start + part.length]
        result = np.empty(part.length, np.uint8)
        position = 0
        with located(file=self.path, tensor=part.name):
            for length, offset, sizes in part.blocks():
                result[position : position + length] = self._block(part, length, offset, sizes)
                position += length
        return result

    def _block(self, part: Part, length: int, offset: int, sizes: tuple[int, ...]) -> np.ndarray:
        block, plane_length = np.empty(length, np.uint8), length // part.planes
        for plane, size in enumerate(sizes):
            stored = self._data[offset : offset + size]
            if size < plane_length:
                stored = decompressed(stored, plane_length, offset)
            block[plane :: part.planes] = stored
            offset += size
        return block

    def _read_metadata(self) -> dict[str, Any]:
        if self._header.metadata is None:
            return {}
        records = self._bytes(self._header.metadata).tobytes()
        return parse_records(records, self._header.record_count)


_HINT = "pleat convert MODEL --to pleat -o MODEL.pleat makes one"


def _mapped(path: str, writable: bool) -> np.ndarray:
    if os.path.isdir(path):
        raise PleatError("io", "a folder, not a pleat file", hint=_HINT)
    try:
        if os.path.getsize(path) == 0:
            raise PleatError("malformed", "the file is empty", hint="perhaps a failed download")
        # An array of the plain class: slices of a memmap are slow to make.
        return np.asarray(np.memmap(path, np.uint8, "c" if writable else "r"))
    except FileNotFoundError as error:
        raise PleatError("io", "no such file or folder") from error
    except OSError as error:
        raise PleatError("io", error.strerror or str(error)) from error


def _read_preamble(data: np.ndarray) -> tuple[int, bytes]:
    """The offset of the header, and its text."""
    head = data[:PREAMBLE_BYTES].tobytes()
    if not MAGIC.startswith(head[:8]):
        raise PleatError("malformed", "not a pleat file", hint=_HINT)
    if len(head) < PREAMBLE_BYTES:
        raise PleatError(
            "malformed",
            "the file is truncated in the preamble",
            offset=0,
            expected=f"{PREAMBLE_BYTES} bytes",
            found=str(len(head)),
            hint="perhaps an incomplete download",
        )
    major, minor, header_crc, offset, length, total = struct.unpack_from("<HHIQQQ", head, 8)
    _compare("preamble", 0, struct.unpack_from("<I", head, 60)[0], data[:60])
    if major != 1:
        raise PleatError(
            "unsupported",
            "a later version of the pleat format",
            expected="version 1",
            found=f"{major}.{minor}",
            hint="a newer version of Pleat reads it",
        )
    if total != len(data):
        truncated = total > len(data)
        raise PleatError(
            "malformed",
            "the file is truncated" if truncated else "the file is too long",
            expected=f"{total} bytes",
            found=str(len(data)),
            hint="perhaps an incomplete download" if truncated else None,
        )
    if offset < PREAMBLE_BYTES or offset > total or length != total - offset:
        raise PleatError("malformed", "the header is not at the end of the file", offset=16)
    if length > HEADER_LIMIT:
        raise PleatError(
            "limit",
            "the header is too large",
            expected=f"at most {HEADER_LIMIT} bytes",
            found=str(length),
        )
    _compare("header", offset, header_crc, data[offset:])
    return offset, data[offset:].tobytes()


def _compare(what: str, offset: int, expected: int, data: np.ndarray) -> None:
    found = crc32c(data)
    if found != expected:
        raise PleatError(
            "malformed",
            f"the {what} is damaged: its checksum does not match",
            offset=offset,
            expected=f"{expected:08x}",
            found=f"{found:08x}",
        )
