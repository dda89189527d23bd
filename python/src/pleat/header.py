"""The header of a pleat file: section 4 of formats/pleat.md."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .encodings import Encoding, parse_encoding
from .error import PleatError, located
from .parts import COUNT_LIMIT, Part, is_count, parse_part

FEATURES = ("zstd", "ggml-blocks", "scaled-codes", "companion-folders")
HEADER_LIMIT = 100_000_000
TENSOR_LIMIT = 2_000_000
NESTING_LIMIT = 64


@dataclass(frozen=True)
class Tensor:
    """A tensor of the file: its name, its shape, how its numbers are stored, and where."""

    name: str
    shape: tuple[int, ...]  # outermost first
    encoding: Encoding
    parts: dict[str, Part]  # by role


@dataclass(frozen=True)
class StoredAdapter:
    """An adapter that the file carries beside the weights."""

    name: str
    kind: str
    config: Any
    pooling: str | None
    tensors: dict[str, Tensor]


@dataclass
class Header:
    """The contents of the header, checked as far as the header alone tells."""

    writer: str
    companions: dict[str, Part]
    metadata: Part | None
    record_count: int
    tensors: dict[str, Tensor]
    adapters: dict[str, StoredAdapter]
    provenance: Any = None
    parts: list[Part] = field(default_factory=list)


def parse_header(text: bytes) -> Header:
    """Reads the header. Errors have no file yet."""
    document = _parse_json(text)
    _check_features(_value(document, "requires", list, []))
    companions = _parse_companions(_value(document, "companions", list, []))
    metadata = _value(document, "metadata", dict, None)
    record_count = 0 if metadata is None else metadata.get("count")
    if not is_count(record_count):
        raise PleatError("malformed", "the metadata has no count of its records")
    header = Header(
        writer=_value(document, "writer", str, ""),
        companions=companions,
        metadata=None if metadata is None else parse_part(metadata, "metadata", "bytes"),
        record_count=record_count,
        tensors=_parse_tensors(_value(document, "tensors", list, [])),
        adapters=_parse_adapters(_value(document, "adapters", list, [])),
        provenance=document.get("provenance"),
    )
    header.parts = [*companions.values()]
    header.parts += [] if header.metadata is None else [header.metadata]
    owners = [header.tensors, *(adapter.tensors for adapter in header.adapters.values())]
    for tensors in owners:
        header.parts += [part for tensor in tensors.values() for part in tensor.parts.values()]
    return header


def _check_features(names: list[Any]) -> None:
    for name in names:
        if type(name) is not str:
            raise PleatError("malformed", "a feature is not a text", found=str(name))
        if name not in FEATURES:
            raise PleatError(
                "unsupported",
                "the file needs a feature that this version does not know",
                expected=", ".join(FEATURES),
                found=name,
                hint="a newer version of Pleat reads it",
            )


def _parse_companions(values: list[Any]) -> dict[str, Part]:
    companions: dict[str, Part] = {}
    for value in values:
        name = value.get("name") if type(value) is dict else None
        if type(name) is not str or not _is_usable(name) or name in companions:
            raise PleatError(
                "malformed",
                "the name of a companion file is not usable",
                expected="a file name, used once, at most with a folder such as 1_Pooling",
                found=str(name),
            )
        companions[name] = parse_part(value, name, "bytes")
    folders = {name.partition("/")[0] for name in companions if "/" in name}
    for name in folders & companions.keys():
        raise PleatError(
            "malformed", "a companion file has the name of a folder of companions", tensor=name
        )
    return companions


def _is_usable(name: str) -> bool:
    folder, slash, file = name.rpartition("/")
    names = [folder, file] if slash else [file]
    if any(part in ("", ".", "..") or "/" in part or "\0" in part for part in names):
        return False
    return not slash or folder == "additional_chat_templates" or folder[0] in "0123456789"


def _parse_tensors(values: list[Any]) -> dict[str, Tensor]:
    if len(values) > TENSOR_LIMIT:
        raise PleatError("limit", "too many tensors", expected=f"at most {TENSOR_LIMIT}")
    tensors: dict[str, Tensor] = {}
    for value in values:
        name = value.get("name") if type(value) is dict else None
        if type(name) is not str:
            raise PleatError("malformed", "a tensor has no name")
        if name in tensors:
            raise PleatError("malformed", "the header has the tensor twice", tensor=name)
        with located(tensor=name):
            tensors[name] = _parse_tensor(name, value)
    return tensors


def _parse_tensor(name: str, value: dict[str, Any]) -> Tensor:
    shape = value.get("shape")
    if type(shape) is not list or not all(map(is_count, shape)):
        raise PleatError("malformed", "the shape is not a list of counts", found=str(shape))
    if math.prod(extent for extent in shape if extent) > COUNT_LIMIT // 64:
        raise PleatError("malformed", "the shape overflows", found=str(shape))
    encoding = parse_encoding(_value(value, "encoding", dict, {}))
    lengths = encoding.part_lengths(tuple(shape))
    stored = _value(value, "parts", dict, {})
    if list(stored) != list(lengths):
        raise PleatError(
            "malformed",
            "the tensor has the wrong parts",
            expected=", ".join(lengths),
            found=", ".join(stored),
        )
    parts = {role: parse_part(stored[role], name, role) for role in lengths}
    for role, length in lengths.items():
        if parts[role].length != length:
            raise PleatError(
                "malformed",
                f"the {role} have the wrong size",
                expected=f"{length} bytes for {'×'.join(map(str, shape))} {encoding}",
                found=str(parts[role].length),
            )
    return Tensor(name, tuple(shape), encoding, parts)


def _parse_adapters(values: list[Any]) -> dict[str, StoredAdapter]:
    adapters: dict[str, StoredAdapter] = {}
    for value in values:
        stated = value.get("name") if type(value) is dict else None
        name = stated if type(stated) is str else ""
        tensors = {}
        usable = name != "" and name not in adapters
        if usable:
            tensors = _parse_tensors(_value(value, "tensors", list, []))
            usable = not any("codes" in tensor.parts for tensor in tensors.values())
        if not usable:
            raise PleatError(
                "malformed",
                "an attached adapter is not usable",
                tensor=name if type(stated) is str else None,
                expected="a name, used once, and tensors that are not grouped",
            )
        kind, config, pooling = (value.get(key) for key in ("kind", "config", "pooling"))
        adapters[name] = StoredAdapter(name, kind, config, pooling, tensors)
    return adapters


def _value(owner: dict[str, Any], key: str, kind: type, absent: Any) -> Any:
    value = owner.get(key, absent)
    if value is not absent and type(value) is not kind:
        raise PleatError(
            "malformed",
            f"'{key}' is of the wrong kind",
            expected=_KINDS[kind],
            found=type(value).__name__,
        )
    return value


_KINDS: dict[type, str] = {list: "an array", dict: "an object", str: "a text"}


def _parse_json(text: bytes) -> dict[str, Any]:
    _check_nesting(text)
    try:
        document = json.loads(
            text.decode(),
            parse_int=_integer,
            parse_constant=_refuse_constant,
            object_pairs_hook=_unique,
        )
        if b"\\u" in text:  # an escape may stand for half of a surrogate pair
            json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise PleatError("malformed", f"the header is not valid JSON: {error}") from None
    if type(document) is not dict:
        raise PleatError("malformed", "the header is not valid JSON", expected="an object")
    return document


def _check_nesting(text: bytes) -> None:
    bare = np.frombuffer(re.sub(rb'"(?:[^"\\]|\\.)*"', b"", text, flags=re.DOTALL), np.uint8)
    opened = ((bare == ord("{")) | (bare == ord("["))).astype(np.int32)
    closed = ((bare == ord("}")) | (bare == ord("]"))).astype(np.int32)
    if len(bare) and int(np.cumsum(opened - closed).max()) > NESTING_LIMIT:
        raise PleatError(
            "limit", "the JSON text is nested too deeply",
            expected=f"at most {NESTING_LIMIT} levels",
        )  # fmt: skip


def _integer(digits: str) -> int | float:
    """A count, or a float for what cannot be one: -0, and more digits than 64 bits need."""
    return float(digits) if digits == "-0" or len(digits) > 20 else int(digits)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise PleatError("malformed", f"the header has '{twice}' twice")
    return result
