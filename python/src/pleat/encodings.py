"""How the numbers of a tensor are stored: section 6 of formats/pleat.md."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from .error import PleatError
from .parts import is_count

# The bits of an element of each plain type.
TYPE_BITS: dict[str, int] = {
    **{"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6},
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0"), 8),
    **dict.fromkeys(("F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("C64", "F64", "I64", "U64"), 64),
}

# The elements and bytes of a block of each GGML type that has blocks.
BLOCK_SIZES: dict[str, tuple[int, int]] = {
    "Q4_0": (32, 18),
    "Q4_1": (32, 20),
    "Q5_0": (32, 22),
    "Q5_1": (32, 24),
    "Q8_0": (32, 34),
    "Q8_1": (32, 36),
    "Q2_K": (256, 84),
    "Q3_K": (256, 110),
    "Q4_K": (256, 144),
    "Q5_K": (256, 176),
    "Q6_K": (256, 210),
    "Q8_K": (256, 292),
    "IQ1_S": (256, 50),
    "IQ1_M": (256, 56),
    "IQ2_XXS": (256, 66),
    "IQ2_XS": (256, 74),
    "IQ2_S": (256, 82),
    "IQ3_XXS": (256, 98),
    "IQ3_S": (256, 110),
    "IQ4_NL": (32, 18),
    "IQ4_XS": (256, 136),
    "TQ1_0": (256, 54),
    "TQ2_0": (256, 66),
    "MXFP4": (32, 17),
    "NVFP4": (64, 36),
    "Q1_0": (128, 18),
    "Q2_0": (64, 18),
}

CODE_BITS = (2, 3, 4, 5, 6, 8)
PARAMETER_TYPES = ("F16", "BF16", "F32")
# Codes with scales: the types of both, and what all scales of a tensor are changed by.
CODE_TYPES = ("F4", "F6_E2M3", "F8_E4M3", "F8_E5M2", "I8")
SCALE_TYPES = ("F16", "BF16", "F32", "F8_E4M3", "F8_E8M0")
FACTORS = ("none", "multiplier", "divisor", "largestCode")
FLOAT32_LIMIT = 3.4028234663852886e38
# The part with the offsets of groups, for each kind of offset.
OFFSET_ROLES: dict[str, str | None] = {"bias": "biases", "none": None, "zeroPoint": "zeros"}
COLUMN_LIMIT = 1 << 26


def row_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """The rows and columns of a tensor. A scalar is one row of one column."""
    return (math.prod(shape[:-1]), shape[-1]) if shape else (1, 1)


@dataclass(frozen=True)
class Plain:
    """Numbers of one type, one after another."""

    type: str

    def part_lengths(self, shape: tuple[int, ...]) -> dict[str, int]:
        """The roles of the parts and their bytes."""
        bits = math.prod(shape) * TYPE_BITS[self.type]
        if bits % 8:
            raise PleatError("malformed", "the elements do not fill whole bytes", found=self.type)
        return {"values": bits // 8}

    def __str__(self) -> str:
        return self.type


@dataclass(frozen=True)
class Groups:
    """Codes of a few bits; neighbouring columns share a scale and, mostly, an offset."""

    bits: int
    size: int  # columns
    offset: str  # bias, none, zeroPoint
    parameters: str  # the type of scales and biases

    def part_lengths(self, shape: tuple[int, ...]) -> dict[str, int]:
        """The roles of the parts and their bytes."""
        rows, columns = row_shape(shape)
        if columns == 0 or columns % self.size:
            raise PleatError(
                "malformed",
                "the groups do not divide the columns",
                expected=f"a divisor of {columns}",
                found=f"groups of {self.size}",
            )
        if columns > COLUMN_LIMIT:
            raise PleatError("limit", "the rows are too long", expected=f"{COLUMN_LIMIT} columns")
        group_count = rows * (columns // self.size)
        parameter_bytes = group_count * TYPE_BITS[self.parameters] // 8
        lengths = {"codes": rows * self.row_bytes(columns), "scales": parameter_bytes}
        if self.offset == "bias":
            lengths["biases"] = parameter_bytes
        elif self.offset == "zeroPoint":
            lengths["zeros"] = group_count
        return lengths

    def row_bytes(self, columns: int) -> int:
        """The bytes of the codes of one row: whole words of 32 bits."""
        return 4 * -(-columns * self.bits // 32)

    def __str__(self) -> str:
        offset = {"bias": " and bias", "none": "", "zeroPoint": " and zero point"}[self.offset]
        return f"{self.bits}-bit, groups of {self.size}, {self.parameters} scale{offset}"


@dataclass(frozen=True)
class Blocks:
    """Blocks of GGML."""

    type: str

    def part_lengths(self, shape: tuple[int, ...]) -> dict[str, int]:
        """The roles of the parts and their bytes."""
        rows, columns = row_shape(shape)
        elements, size = BLOCK_SIZES[self.type]
        if columns % elements:
            raise PleatError(
                "malformed",
                "unknown or unsuitable block type",
                expected=f"a multiple of {elements} columns",
                found=f"{columns} columns of {self.type}",
            )
        return {"blocks": rows * (columns // elements) * size}

    def __str__(self) -> str:
        return self.type


@dataclass(frozen=True)
class Scaled:
    """Codes that are numbers themselves, with a scale for each tile of rows and columns."""

    codes: str  # the type of the codes, or the name of their table
    scales: str
    tile_rows: int | None  # None: all rows
    tile_columns: int | None
    factor: str  # none, multiplier, divisor, largestCode
    decoded: str
    has_table: bool
    nested_block: int | None = None
    nested_offset: float = 0.0

    @property
    def bits(self) -> int:
        """The bits of a code."""
        return 4 if self.has_table else TYPE_BITS[self.codes]

    def tile_counts(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """The tiles in a column and in a row."""
        rows, columns = row_shape(shape)
        down = 1 if self.tile_rows is None else -(-rows // self.tile_rows)
        return down, 1 if self.tile_columns is None else -(-columns // self.tile_columns)

    def part_lengths(self, shape: tuple[int, ...]) -> dict[str, int]:
        """The roles of the parts and their bytes."""
        rows, columns = row_shape(shape)
        if columns > COLUMN_LIMIT:
            raise PleatError("limit", "the rows are too long", expected=f"{COLUMN_LIMIT} columns")
        if not self._fits(shape):
            raise PleatError(
                "malformed",
                "the encoding is invalid",
                expected=f"tiles that fit {'×'.join(map(str, shape))}",
                found=str(self),
            )
        tiles = math.prod(self.tile_counts(shape))
        lengths = {
            "codes": rows * columns * self.bits // 8,
            "scales": tiles * TYPE_BITS[self.scales] // 8,
        }
        if self.factor in ("multiplier", "divisor"):
            lengths["factor"] = 4 * math.prod(shape[:-2])
        if self.has_table:
            lengths["table"] = 64
        if self.nested_block is not None:
            lengths |= {"outerScales": 4 * -(-tiles // self.nested_block), "scaleTable": 1024}
        return lengths

    def _fits(self, shape: tuple[int, ...]) -> bool:
        rows, columns = row_shape(shape)
        if len(shape) < 2 or 0 in shape or columns * self.bits % 8:
            return False
        # A tile does not cross from one matrix of a stack to the next.
        matrix_rows = shape[-2] if len(shape) > 2 else 0
        height, width = self.tile_rows, self.tile_columns
        if height is not None and (not 1 <= height <= rows or matrix_rows % height):
            return False
        if width is not None and (not 1 <= width <= columns or width * self.bits % 8):
            return False
        if not self.has_table:
            return height is not None or len(shape) == 2 or self.factor in ("none", "largestCode")
        in_rows = height == 1 and width is not None and columns % width == 0
        return in_rows and self.factor == "none"

    def __str__(self) -> str:
        rows, columns = self.tile_rows or "all rows", self.tile_columns or "all columns"
        scales = self.scales if self.nested_block is None else "nested"
        return f"{self.codes}, {scales} scales of {rows} × {columns}"


Encoding = Plain | Groups | Blocks | Scaled


def parse_encoding(value: Any) -> Encoding:
    """The encoding that an object of the header describes."""
    forms = [form for form in ("type", "bits", "ggml", "codes", "table") if form in value]
    if forms == ["type"]:
        return Plain(_known(value["type"], TYPE_BITS, "unknown type"))
    if forms == ["ggml"]:
        return Blocks(_known(value["ggml"], BLOCK_SIZES, "unknown or unsuitable block type"))
    if forms in (["codes"], ["table"]):
        return _scaled(value)
    if forms != ["bits"]:
        raise PleatError(
            "malformed",
            "the encoding is invalid",
            expected="a type, or bits, groupSize and offset, or codes and scales",
            found=", ".join(forms) or "none of them",
        )
    bits, size = value["bits"], value.get("groupSize")
    if type(bits) is not int or bits not in CODE_BITS or type(size) is not int or size < 1:
        raise PleatError(
            "malformed",
            "the encoding is invalid",
            expected="a type, or bits, groupSize and offset",
            found=f"{bits} bits, groups of {size}",
        )
    offset = _known(value.get("offset"), OFFSET_ROLES, "unknown offset of groups")
    parameters = _known(value.get("parameters"), PARAMETER_TYPES, "unknown type of scales")
    return Groups(bits, size, offset, parameters)


def _scaled(value: Any) -> Scaled:
    has_table = "table" in value
    if has_table:
        codes = value["table"]
        is_name = type(codes) is str and re.fullmatch("[A-Za-z0-9_]{1,16}", codes)
        if not is_name:
            raise PleatError("malformed", "the encoding is invalid", found=f"table {codes}")
    else:
        codes = _known(value["codes"], CODE_TYPES, "unknown type of codes")
    nested = value.get("nestedBlock")
    scale_types = SCALE_TYPES if nested is None else ("U8",)
    if has_table and nested is None:
        scale_types = ("F32",)
    scales = _known(value.get("scales"), scale_types, "unknown type of scales")
    factor = _known(value.get("factor", "none"), FACTORS, "unknown factor of scales")
    decoded = _known(value.get("decoded"), PARAMETER_TYPES, "unknown type of weights")
    counts = [value.get("tileRows"), value.get("tileColumns"), nested]
    offset = value.get("nestedOffset", 0.0)
    is_sane = (
        all(count is None or is_count(count) for count in counts)
        and (factor != "largestCode" or (codes, scales) == ("I8", "F32"))
        and (nested is None or (has_table and 1 <= nested <= 1 << 16))
        and type(offset) in (int, float)
        and abs(offset) <= FLOAT32_LIMIT
    )
    if not is_sane:
        raise PleatError(
            "malformed",
            "the encoding is invalid",
            expected="codes and scales of known types in tiles",
            found=", ".join(f"{key} {item}" for key, item in value.items()),
        )
    return Scaled(
        codes, scales, counts[0], counts[1], factor, decoded, has_table, nested, float(offset)
    )


def _known(name: Any, names: Any, what: str) -> str:
    if type(name) is not str or name not in names:
        raise PleatError("malformed", what, found=str(name))
    return name
