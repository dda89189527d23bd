"""The metadata of a pleat file: key-value records of GGUF, section 7 of formats/pleat.md."""

from __future__ import annotations

import struct
from typing import Any

from .error import PleatError

# The numbers of the types of fixed size, and how struct names them.
_NUMBERS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_STRING, _ARRAY = 8, 9
_RECORD_LIMIT = 1_000_000


def parse_records(data: bytes, count: int) -> dict[str, Any]:
    """Key to value. An array is a list; bytes that are not UTF-8 become surrogates in strings."""
    if count > _RECORD_LIMIT:
        raise PleatError(
            "limit", "too much metadata", expected=f"at most {_RECORD_LIMIT} entries",
            found=str(count),
        )  # fmt: skip
    reader = _Reader(data)
    records: dict[str, Any] = {}
    for _ in range(count):
        key = reader.key()
        if key in records:
            raise PleatError("malformed", "the metadata has the key twice", tensor=key)
        records[key] = reader.value(reader.number("I", "a metadata type"))
    if reader.offset != len(data):
        raise PleatError(
            "malformed",
            "there are extra bytes after the last metadata entry",
            found=f"{len(data) - reader.offset} bytes",
        )
    return records


class _Reader:
    def __init__(self, data: bytes):
        self.data = data
        self.offset = 0

    def take(self, count: int, what: str) -> bytes:
        remaining = len(self.data) - self.offset
        if count > remaining:
            raise PleatError(
                "malformed",
                f"the metadata ends in {what}",
                offset=self.offset,
                expected=f"{count} more bytes",
                found=str(remaining),
                hint="the file is damaged or truncated",
            )
        self.offset += count
        return self.data[self.offset - count : self.offset]

    def number(self, code: str, what: str) -> Any:
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code), what))[0]

    def text(self, what: str) -> bytes:
        return self.take(self.number("Q", what), what)

    def key(self) -> str:
        try:
            key = self.text("a metadata key").decode()
        except UnicodeDecodeError:
            raise PleatError("malformed", "a metadata key is not UTF-8") from None
        if not key:
            raise PleatError("malformed", "a metadata key is empty")
        return key

    def value(self, type: int) -> Any:
        if type == _STRING:
            return self.text("a metadata string").decode(errors="surrogateescape")
        if type != _ARRAY:
            return self.number(self.code(type), "a metadata value")
        element = self.number("I", "a metadata array")
        count = self.number("Q", "a metadata array")
        if element == _ARRAY:
            raise PleatError("unsupported", "the metadata value is an array of arrays")
        if element == _STRING:
            return [self.value(_STRING) for _ in range(count)]
        code = self.code(element)
        data = self.take(count * struct.calcsize("<" + code), "a metadata array")
        return [value for (value,) in struct.iter_unpack("<" + code, data)]

    def code(self, type: int) -> str:
        if type not in _NUMBERS:
            raise PleatError("malformed", "unknown metadata type", expected="0…12", found=str(type))
        return _NUMBERS[type]
