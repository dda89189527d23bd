"""Reads .pleat files as pleat.md defines them: slowly, plainly, and checking everything.

    python formats/pleat.py model.pleat        verifies it and lists what it holds

The second implementation of the document, written from its text and from nothing else, so that the
text is tested. Needs numpy; zstandard where parts are compressed. § is a section of pleat.md.
"""

import json
import re
import struct
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np

MAGIC = b"\x89PLEAT\r\n"
ALIGNMENT = PREAMBLE = 64
FEATURES = {"zstd", "ggml-blocks", "scaled-codes", "companion-folders"}
MAXIMUM = 2**63 - 1
# §6.1: the bits of an element, and the numbers that become float32.
TYPE_BITS = (
    {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}
    | dict.fromkeys("BOOL U8 I8 F8_E5M2 F8_E4M3 F8_E8M0 F8_E4M3FNUZ F8_E5M2FNUZ".split(), 8)
    | dict.fromkeys("I16 U16 F16 BF16".split(), 16)
    | dict.fromkeys("I32 U32 F32".split(), 32)
    | dict.fromkeys("C64 F64 I64 U64".split(), 64)
)
FLOATS = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8"}
GROUP_ROLES = {
    "bias": ["codes", "scales", "biases"],
    "none": ["codes", "scales"],
    "zeroPoint": ["codes", "scales", "zeros"],
}
# §6.3, from the table of gguf.md: elements and bytes of a block.
BLOCKS = {
    "Q4_0": (32, 18), "Q4_1": (32, 20), "Q5_0": (32, 22), "Q5_1": (32, 24), "Q8_0": (32, 34),
    "Q8_1": (32, 36), "Q2_K": (256, 84), "Q3_K": (256, 110), "Q4_K": (256, 144),
    "Q5_K": (256, 176), "Q6_K": (256, 210), "Q8_K": (256, 292), "IQ2_XXS": (256, 66),
    "IQ2_XS": (256, 74), "IQ3_XXS": (256, 98), "IQ1_S": (256, 50), "IQ4_NL": (32, 18),
    "IQ3_S": (256, 110), "IQ2_S": (256, 82), "IQ4_XS": (256, 136), "IQ1_M": (256, 56),
    "TQ1_0": (256, 54), "TQ2_0": (256, 66), "MXFP4": (32, 17), "NVFP4": (64, 36),
    "Q1_0": (128, 18), "Q2_0": (64, 18),
}  # fmt: skip
# §6.4: exponent and mantissa bits of codes and scales; an I8 is an integer.
CODES = {"F4": (2, 1), "F6_E2M3": (2, 3), "F8_E4M3": (4, 3), "F8_E5M2": (5, 2), "I8": None}
SCALES = {"F16", "BF16", "F32", "F8_E4M3", "F8_E8M0"}
FACTORS = {"none", "multiplier", "divisor", "largestCode"}
# §7: the metadata types of fixed size, by number; 8 is a string and 9 an array.
RECORDS = dict(zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True))


class Damaged(Exception):
    """A file that a reader refuses, and why."""


def demand(holds: bool, what: str) -> None:
    if not holds:
        raise Damaged(what)


class PleatFile:
    """A file in memory. Opening it checks preamble, header and places; verify() all else."""

    def __init__(self, data: bytes):
        self.data = data
        self.header_offset = self._preamble()
        self.header = parse_json(data[self.header_offset :])
        features = checked(self.header, "requires", list, [])
        demand(all(type(feature) is str for feature in features), "a feature that is no text")
        demand(not set(features) - FEATURES, f"unknown features: {set(features) - FEATURES}")
        checked(self.header, "writer", str, "")
        self._metadata = checked(self.header, "metadata", dict, None)
        self._companions = {}
        for companion in checked(self.header, "companions", list, []):
            add(self._companions, usable_name(companion), companion, "a companion")
        folders = {name.rpartition("/")[0] for name in self._companions}
        demand(not folders & set(self._companions), "a companion named as a folder of others")
        self.tensors = tensors_of(self.header)
        self.adapters = self._read_adapters()
        for name, part in self.parts():
            check_part(name, part)
        demand(self._metadata is None or is_count(self._metadata.get("count")), "metadata: count")
        self._check_places()

    @classmethod
    def open(cls, path: Path) -> "PleatFile":
        """A file in which everything was verified."""
        file = cls(Path(path).read_bytes())
        file.verify()
        return file

    def _preamble(self) -> int:
        """§2. Returns the offset of the header."""
        data = self.data
        demand(data[:8] == MAGIC, "not a pleat file")
        demand(len(data) >= PREAMBLE, "shorter than a preamble")
        major, _, header_crc, offset, length, total = struct.unpack_from("<HHIQQQ", data, 8)
        demand(
            struct.unpack_from("<I", data, 60)[0] == crc32c(data[:60]), "the preamble's checksum"
        )
        demand(major == 1, f"version {major}")
        demand(total == len(data), f"expected {total} bytes, found {len(data)}")
        demand(PREAMBLE <= offset and offset + length == total, "the header is not at the end")
        demand(header_crc == crc32c(data[offset:]), "the header's checksum")
        return offset

    def _read_adapters(self) -> dict[str, dict]:
        """§4.4: their structure is checked, and nothing that takes understanding."""
        adapters = {}
        for adapter in checked(self.header, "adapters", list, []):
            demand(type(adapter) is dict and type(adapter.get("name")) is str, "an adapter's name")
            demand(adapter["name"] != "", "an adapter with an empty name")
            add(adapters, adapter["name"], adapter, "an adapter")
            for name, tensor in tensors_of(adapter).items():
                plain = not {"bits", "codes", "table"} & set(tensor["encoding"])
                demand(plain, f"{adapter['name']}: has groups or codes in {name}")
        return adapters

    def parts(self):
        """Every part, with a name for messages."""
        if self._metadata is not None:
            yield "metadata", self._metadata
        yield from self._companions.items()
        yield from parts_of(self.tensors)
        for adapter in self.adapters.values():
            yield from parts_of(tensors_of(adapter))

    # §3, §9: places

    def _check_places(self) -> None:
        """No byte belongs to two parts, and none lies outside. Keeps the gaps for verify()."""
        stretches = [(PREAMBLE, PREAMBLE), (self.header_offset, self.header_offset)]
        for name, part in self.parts():
            if "frames" not in part and part["length"] > 0:
                demand(part["offset"] % ALIGNMENT == 0, f"{name}: not at a multiple of 64")
            stretches += stretches_of(name, part)
        stretches.sort()
        demand(stretches[0][0] >= PREAMBLE, "a part in the preamble")
        for (_, end), (begin, _) in pairwise(stretches):
            demand(end <= begin, f"parts overlap around {begin}")
        demand(stretches[-1][1] <= self.header_offset, "a part in the header or beyond the file")
        self._gaps = [(end, begin) for (_, end), (begin, _) in pairwise(stretches)]

    def verify(self) -> None:
        """Everything that opening leaves out: gaps, checksums, frames, records."""
        for begin, end in self._gaps:
            demand(not any(self.data[begin:end]), f"the gap at {begin} is not zero")
        for name, part in self.parts():
            stored = b"".join(self.data[begin:end] for begin, end in stretches_of(name, part))
            found = f"{crc32c(stored):08x}"
            demand(
                found == part["crc32c"].lower(), f"{name}: checksum {part['crc32c']}, is {found}"
            )
            if "frames" in part:
                self.bytes_of(part)
        self.metadata  # noqa: B018

    def bytes_of(self, part: dict) -> bytes:
        """The bytes of a part, decompressed."""
        if "frames" not in part:
            return b"".join(self.data[begin:end] for begin, end in stretches_of("", part))
        planes, result = part.get("planes", 1), bytearray()
        for length, offset, sizes in blocks_of("", part):
            block = bytearray(length)
            for plane, size in enumerate(sizes):
                stored = self.data[offset : offset + size]
                offset += size
                if size < length // planes:
                    stored = decompressed(stored, length // planes)
                block[plane::planes] = stored
            result += block
        return bytes(result)

    # What it holds

    @property
    def companions(self) -> dict[str, bytes]:
        return {name: self.bytes_of(part) for name, part in self._companions.items()}

    @property
    def metadata(self) -> dict:
        """Key → value; an array is a list, a string that is not UTF-8 has surrogates."""
        if self._metadata is None:
            return {}
        records, result = Records(self.bytes_of(self._metadata)), {}
        for _ in range(self._metadata["count"]):
            try:
                key = records.text().decode()
            except UnicodeDecodeError:
                raise Damaged("a metadata key that is not UTF-8") from None
            demand(key != "", "an empty metadata key")
            add(result, key, records.value(records.take("I")), "a metadata key")
        demand(records.offset == len(records.data), "bytes after the last metadata record")
        return result

    def floats(self, name: str, adapter: str | None = None) -> np.ndarray:
        """The values of a tensor of the model, or of an adapter, as float32."""
        tensors = self.tensors if adapter is None else tensors_of(self.adapters[adapter])
        tensor = tensors[name]
        shape, encoding = tensor["shape"], tensor["encoding"]
        parts = {role: self.bytes_of(part) for role, part in tensor["parts"].items()}
        if "type" in encoding:
            return floats(parts["values"], encoding["type"]).reshape(shape)
        if "ggml" in encoding:
            raise NotImplementedError(f"{name}: {encoding['ggml']} is carried, not decoded")
        if "bits" not in encoding:
            return scaled_floats(shape, encoding, parts).reshape(shape)
        bits, group, columns = encoding["bits"], encoding["groupSize"], shape[-1]
        codes = read_codes(parts["codes"], bits, columns).reshape(-1, columns // group, group)
        scales = floats(parts["scales"], encoding["parameters"]).reshape(*codes.shape[:2], 1)
        if encoding["offset"] == "bias":
            biases = floats(parts["biases"], encoding["parameters"]).reshape(scales.shape)
            values = scales * codes.astype(np.float32)
            values += biases
        elif encoding["offset"] == "none":
            values = scales * (codes - 2 ** (bits - 1)).astype(np.float32)
        else:
            zeros = np.frombuffer(parts["zeros"], np.uint8).reshape(scales.shape)
            values = scales * (codes - zeros.astype(np.int32)).astype(np.float32)
        return values.reshape(shape)


# §4: the header


def parse_json(text: bytes) -> dict:
    """The object of the header. What is too long for a count or is -0 becomes a float, thus none."""

    def integer(digits: str):
        return float(digits) if digits == "-0" or len(digits) > 20 else int(digits)

    def constant(name: str):
        raise Damaged(f"{name} is not JSON")

    def unique(pairs: list) -> dict:
        result = {}
        for key, value in pairs:
            add(result, key, value, "a key")
        return result

    try:
        header = json.loads(
            text.decode(), parse_int=integer, parse_constant=constant, object_pairs_hook=unique
        )
        json.dumps(header, ensure_ascii=False).encode()  # halves of surrogate pairs fail here
    except (ValueError, RecursionError) as error:
        raise Damaged(f"the header is not JSON: {error}") from None
    demand(type(header) is dict, "the header is no object")
    return header


def add(result: dict, key, value, what: str) -> None:
    demand(key not in result, f"{what} is there twice: {key!r}")
    result[key] = value


def is_count(value) -> bool:
    return type(value) is int and 0 <= value <= MAXIMUM


def checked(object: dict, key: str, kind: type, absent):
    value = object.get(key, absent)
    demand(value is absent or type(value) is kind, f"{key}: of the wrong kind")
    return value


def usable_name(companion) -> str:
    demand(type(companion) is dict and type(companion.get("name")) is str, "a companion's name")
    name = companion["name"]
    folder, slash, file = name.rpartition("/")
    for part in (folder, file) if slash else (file,):
        demand(part not in ("", ".", "..") and not set(part) & {"/", "\0"}, f"not usable: {name!r}")
    known = folder == "additional_chat_templates" or folder[:1] in set("0123456789")
    demand(not slash or known, f"not usable: {name!r}")
    return name


def tensors_of(owner: dict) -> dict[str, dict]:
    """The tensors of the model or an adapter by name, after checking what §4.3 and §6 say."""
    result = {}
    for tensor in checked(owner, "tensors", list, []):
        demand(type(tensor) is dict and type(tensor.get("name")) is str, "a tensor's name")
        name = tensor["name"]
        add(result, name, tensor, "a tensor")
        shape = checked(tensor, "shape", list, None)
        demand(shape is not None and all(map(is_count, shape)), f"{name}: shape")
        product = int(np.prod([extent for extent in shape if extent], dtype=object))
        demand(product <= MAXIMUM // 64, f"{name}: too many elements")
        encoding, parts = checked(tensor, "encoding", dict, {}), checked(tensor, "parts", dict, {})
        lengths = part_lengths(name, shape, encoding)
        demand(list(parts) == list(lengths), f"{name}: has the parts {list(parts)}")
        for role, part in parts.items():
            demand(type(part) is dict, f"{name} {role}: no part")
            demand(part.get("length") == lengths[role], f"{name} {role}: not {lengths[role]} bytes")
    return result


def part_lengths(name: str, shape: list[int], encoding: dict) -> dict[str, int]:
    """§6: the roles of the parts and their lengths."""
    forms = [form for form in ("type", "bits", "ggml", "codes", "table") if form in encoding]
    demand(len(forms) == 1, f"{name}: expected one form of encoding, found {encoding}")
    columns = shape[-1] if shape else 1
    rows = int(np.prod(shape[:-1], dtype=object))
    if forms == ["type"]:
        type_bits = lookup(TYPE_BITS, encoding["type"], f"{name}: type")
        demand(rows * columns * type_bits % 8 == 0, f"{name}: no whole number of bytes")
        return {"values": rows * columns * type_bits // 8}
    if forms == ["ggml"]:
        elements, size = lookup(BLOCKS, encoding["ggml"], f"{name}: blocks")
        demand(columns % elements == 0, f"{name}: rows are not whole blocks")
        return {"blocks": rows * columns // elements * size}
    if forms != ["bits"]:
        return scaled_lengths(name, shape, encoding)
    bits, group = encoding["bits"], encoding.get("groupSize")
    demand(type(bits) is int and bits in (2, 3, 4, 5, 6, 8), f"{name}: {bits} bits")
    demand(is_count(group) and group >= 1, f"{name}: groups of {group}")
    demand(columns > 0 and columns % group == 0, f"{name}: groups do not divide the columns")
    roles = lookup(GROUP_ROLES, encoding.get("offset"), f"{name}: offset")
    parameters = encoding.get("parameters")
    demand(parameters in ("F16", "BF16", "F32"), f"{name}: parameters {parameters}")
    groups = rows * (columns // group)
    size = groups * TYPE_BITS[parameters] // 8
    lengths = {"scales": size, "biases": size, "zeros": groups}
    lengths["codes"] = rows * 4 * -(-columns * bits // 32)
    return {role: lengths[role] for role in roles}


def scaled_lengths(name: str, shape: list[int], encoding: dict) -> dict[str, int]:
    """§6.4: the roles of the parts and their lengths."""
    demand(len(shape) >= 2 and 0 not in shape, f"{name}: a shape without tiles")
    columns, rows = shape[-1], int(np.prod(shape[:-1], dtype=object))
    table, nested = encoding.get("table"), encoding.get("nestedBlock")
    if table is None:
        lookup(CODES, encoding["codes"], f"{name}: codes")
        bits = TYPE_BITS[encoding["codes"]]
    else:
        demand(type(table) is str and re.fullmatch("[A-Za-z0-9_]{1,16}", table), f"{name}: table")
        bits = 4
    tile = [encoding.get("tileRows", rows), encoding.get("tileColumns", columns)]
    demand(all(map(is_count, tile)), f"{name}: tiles {tile}")
    demand(1 <= tile[0] <= rows and 1 <= tile[1] <= columns, f"{name}: tiles {tile}")
    demand(columns * bits % 8 == 0 and tile[1] * bits % 8 == 0, f"{name}: codes in part of a byte")
    across = len(shape) > 2 and "tileRows" in encoding and shape[-2] % tile[0] != 0
    demand(not across, f"{name}: tiles cross matrices")
    scales, factor = encoding.get("scales"), encoding.get("factor", "none")
    demand(type(factor) is str and factor in FACTORS, f"{name}: factor {factor}")
    one_tile = len(shape) > 2 and "tileRows" not in encoding
    demand(factor not in ("multiplier", "divisor") or not one_tile, f"{name}: factor of a stack")
    demand(encoding.get("decoded") in ("F16", "BF16", "F32"), f"{name}: decoded")
    integers = encoding.get("codes") == "I8" and scales == "F32"
    demand(factor != "largestCode" or integers, f"{name}: largestCode")
    if table is not None:
        demand(factor == "none" and encoding.get("tileRows") == 1, f"{name}: tiles of a table")
        demand("tileColumns" in encoding and columns % tile[1] == 0, f"{name}: blocks cross rows")
        demand(nested is not None or scales == "F32", f"{name}: scales {scales}")
    if nested is None:
        demand(type(scales) is str and scales in SCALES, f"{name}: scales {scales}")
    else:
        demand(table is not None and scales == "U8", f"{name}: nested scales {scales}")
        demand(is_count(nested) and 1 <= nested <= 65536, f"{name}: nestedBlock {nested}")
        offset = encoding.get("nestedOffset")
        demand(type(offset) in (int, float), f"{name}: nestedOffset")
        demand(bool(np.isfinite(np.float32(offset))), f"{name}: nestedOffset")
    tiles = -(-columns // tile[1]) * (-(-rows // tile[0]) if "tileRows" in encoding else 1)
    lengths = {"codes": rows * columns * bits // 8, "scales": tiles * TYPE_BITS[scales] // 8}
    if factor in ("multiplier", "divisor"):
        lengths["factor"] = 4 * int(np.prod(shape[:-2]))
    if table is not None:
        lengths["table"] = 64
    if nested is not None:
        lengths |= {"outerScales": 4 * -(-tiles // nested), "scaleTable": 1024}
    return lengths


def lookup(table: dict, key, what: str):
    demand(type(key) is str and key in table, f"{what} {key}")
    return table[key]


def parts_of(tensors: dict[str, dict]):
    for name, tensor in tensors.items():
        for role, part in tensor["parts"].items():
            yield f"{name} {role}", part


def check_part(name: str, part: dict) -> None:
    """§4.2 and §9, as far as the header tells."""
    demand(is_count(part.get("length")), f"{name}: length")
    crc = part.get("crc32c")
    demand(type(crc) is str and re.fullmatch("[0-9a-fA-F]{8}", crc) is not None, f"{name}: crc32c")
    if "frames" not in part:
        demand(is_count(part.get("offset")), f"{name}: neither offset nor frames")
        return
    planes, block, length = part.get("planes", 1), part.get("block"), part["length"]
    demand(type(planes) is int and planes in (1, 2), f"{name}: planes")
    demand(is_count(block) and block >= 1, f"{name}: block")
    demand(block % planes == 0 and length % planes == 0, f"{name}: odd lengths with two planes")
    frames = part["frames"]
    demand(type(frames) is list, f"{name}: frames")
    demand(all(map(is_count, frames)), f"{name}: frames")
    demand(len(frames) == (1 + planes) * -(-length // block), f"{name}: frames do not fit")
    for block_length, _, sizes in blocks_of(name, part):
        demand(all(0 < size <= block_length // planes for size in sizes), f"{name}: stored size")


def blocks_of(name: str, part: dict):
    """Of each block of a compressed part: its length, its offset, the stored sizes of its planes."""
    stride = 1 + part.get("planes", 1)
    for index in range(len(part["frames"]) // stride):
        offset, *sizes = part["frames"][index * stride : (index + 1) * stride]
        yield min(part["block"], part["length"] - index * part["block"]), offset, sizes


def stretches_of(name: str, part: dict) -> list[tuple[int, int]]:
    """Where the stored bytes of a part begin and end."""
    if "frames" in part:
        return [(offset, offset + sum(sizes)) for _, offset, sizes in blocks_of(name, part)]
    return [(part["offset"], part["offset"] + part["length"])] if part["length"] else []


# §6 and §7: numbers


def floats(data: bytes, type: str) -> np.ndarray:
    if type not in FLOATS:
        raise NotImplementedError(f"{type} is carried, not decoded")
    values = np.frombuffer(data, FLOATS[type])
    if type == "BF16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float32)


def read_codes(data: bytes, bits: int, columns: int) -> np.ndarray:
    """rows × columns codes; the fill of the last word is ignored."""
    width = 4 * -(-columns * bits // 32)
    rows = np.frombuffer(data, np.uint8).reshape(-1, width)
    stream = np.unpackbits(rows, axis=1, bitorder="little")[:, : columns * bits]
    return (stream.reshape(len(rows), columns, bits) << np.arange(bits)).sum(2, dtype=np.int32)


def small_floats(type: str) -> np.ndarray:
    """The numbers of all codes of a type of at most 8 bits."""
    codes = np.arange(2 ** TYPE_BITS[type])
    if type == "I8":
        return codes.astype(np.int8).astype(np.float32)
    if type == "F8_E8M0":
        return np.where(codes == 255, np.nan, np.exp2(codes - 127.0)).astype(np.float32)
    exponents, mantissas = CODES[type]
    bias = 2 ** (exponents - 1) - 1
    mantissa = codes % 2**mantissas / 2**mantissas
    exponent = codes // 2**mantissas % 2**exponents
    values = np.where(exponent, 1 + mantissa, mantissa) * np.exp2(np.maximum(exponent, 1.0) - bias)
    if type == "F8_E4M3":
        values[codes % 128 == 127] = np.nan
    if type == "F8_E5M2":
        values[codes % 128 >= 124] = np.nan
        values[codes % 128 == 124] = np.inf
    return np.where(codes >> (exponents + mantissas), -values, values).astype(np.float32)


def scaled_floats(shape: list[int], encoding: dict, parts: dict[str, bytes]) -> np.ndarray:
    """§6.4: rows × columns values."""
    columns, rows = shape[-1], int(np.prod(shape[:-1]))
    width = encoding.get("tileColumns", columns)
    across, factor = -(-columns // width), encoding.get("factor", "none")
    if "table" in encoding:
        halves = np.frombuffer(parts["codes"], np.uint8)
        codes = np.stack([halves >> 4, halves & 15], 1)
        numbers = floats(parts["table"], "F32")
    else:
        bits = TYPE_BITS[encoding["codes"]]
        stream = np.unpackbits(np.frombuffer(parts["codes"], np.uint8), bitorder="little")
        codes = (stream.reshape(-1, bits) << np.arange(bits)).sum(1, dtype=np.int32)
        numbers = small_floats(encoding["codes"])
    if "nestedBlock" in encoding:
        indices = np.frombuffer(parts["scales"], np.uint8)
        outer = np.repeat(floats(parts["outerScales"], "F32"), encoding["nestedBlock"])
        scales = floats(parts["scaleTable"], "F32")[indices] * outer[: len(indices)]
        scales = scales + np.float32(encoding["nestedOffset"])
    elif encoding["scales"] in FLOATS:
        scales = floats(parts["scales"], encoding["scales"])
    else:
        scales = small_floats(encoding["scales"])[np.frombuffer(parts["scales"], np.uint8)]
    if factor in ("multiplier", "divisor"):
        factors = floats(parts["factor"], "F32")[:, None]
        scales = scales.reshape(len(factors), -1)
        scales = scales * factors if factor == "multiplier" else scales / factors
    tile_of_row = np.arange(rows) // encoding["tileRows"] if "tileRows" in encoding else 0
    tile_of_column = np.arange(columns) // width
    row_scales = np.broadcast_to(scales.reshape(-1, across)[tile_of_row], (rows, across))
    values = numbers[codes].reshape(rows, columns) * row_scales[:, tile_of_column]
    return values * np.float32(1 / 127) if factor == "largestCode" else values


class Records:
    """Key-value records of GGUF, version 3, little-endian."""

    def __init__(self, data: bytes):
        self.data = data
        self.offset = 0

    def bytes(self, count: int) -> bytes:
        demand(count <= len(self.data) - self.offset, "metadata runs out of its part")
        self.offset += count
        return self.data[self.offset - count : self.offset]

    def take(self, code: str):
        return struct.unpack("<" + code, self.bytes(struct.calcsize("<" + code)))[0]

    def text(self) -> bytes:
        return self.bytes(self.take("Q"))

    def value(self, type: int):
        if type == 8:
            return self.text().decode(errors="surrogateescape")
        if type != 9:
            return self.take(lookup_record(type))
        element, count = self.take("I"), self.take("Q")
        if element == 8:
            return [self.value(8) for _ in range(count)]
        code = lookup_record(element)
        data = self.bytes(count * struct.calcsize("<" + code))
        return [value for (value,) in struct.iter_unpack("<" + code, data)]


def lookup_record(type: int) -> str:
    demand(type in RECORDS, f"metadata type {type}")
    return RECORDS[type]


# §8 and §9: checksums and frames


def _table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> 1) ^ np.where(table & 1, np.uint32(0x82F63B78), np.uint32(0))
    return table


TABLE = _table()
BYTES = TABLE.tolist()


def crc32c(data: bytes) -> int:
    """By a table of bytes. Of long data, 1024 stretches at once.

    What a stretch adds does not depend on those before it: their remainder, moved on by the length
    of the stretch, is added to it. To move on is to divide that many zero bytes.
    """
    width = len(data) // 1024
    count = 1024 if width else 0
    stretches = np.frombuffer(data, np.uint8, count * width).reshape(count, width)
    # The last 32 are the powers of two, to learn what moving on makes of each bit.
    remainders = np.zeros(count + 32, np.uint32)
    remainders[count:] = 1 << np.arange(32, dtype=np.uint32)
    column = np.zeros(count + 32, np.uint8)
    for index in range(width):
        column[:count] = stretches[:, index]
        remainders = TABLE[(remainders ^ column) & 0xFF] ^ (remainders >> 8)
    *own, moved = *map(int, remainders[:count]), list(map(int, remainders[count:]))
    remainder = 0xFFFFFFFF
    for result in own:
        for bit in range(32):
            result ^= moved[bit] if remainder >> bit & 1 else 0
        remainder = result
    for byte in data[count * width :]:
        remainder = BYTES[(remainder ^ byte) & 0xFF] ^ remainder >> 8
    return remainder ^ 0xFFFFFFFF


def decompressed(frame: bytes, length: int) -> bytes:
    """One zstd frame that must give so many bytes."""
    import zstandard

    decompressor = zstandard.ZstdDecompressor().decompressobj()
    try:
        result = decompressor.decompress(frame)
    except zstandard.ZstdError as error:
        raise Damaged(f"a frame: {error}") from None
    demand(decompressor.eof and not decompressor.unused_data, "not one whole frame")
    demand(len(result) == length, f"a frame of {len(result)} bytes instead of {length}")
    return result


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: pleat.py model.pleat", file=sys.stderr)
        return 64
    try:
        file = PleatFile.open(Path(arguments[0]))
    except (Damaged, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 74 if isinstance(error, OSError) else 65
    for name, tensor in file.tensors.items():
        print(ascii(name), tensor["shape"], json.dumps(tensor["encoding"]), sep="  ")
    for name, adapter in file.adapters.items():
        print("adapter", ascii(name), f"{len(tensors_of(adapter))} tensors", sep="  ")
    for name, data in file.companions.items():
        print("companion", ascii(name), f"{len(data)} bytes", sep="  ")
    print(f"metadata  {len(file.metadata)} records")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
