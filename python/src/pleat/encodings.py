"""How the numbers of a tensor are stored: section 6 of formats/pleat.md."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from .error import PleatError

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


Encoding = Plain | Groups | Blocks


def parse_encoding(value: Any) -> Encoding:
    """The encoding that an object of the header describes."""
    forms = [form for form in ("type", "bits", "ggml") if form in value]
    if forms == ["type"]:
        return Plain(_known(value["type"], TYPE_BITS, "unknown type"))
    if forms == ["ggml"]:
        return Blocks(_known(value["ggml"], BLOCK_SIZES, "unknown or unsuitable block type"))
    if forms != ["bits"]:
        raise PleatError(
            "malformed",
            "the encoding is invalid",
            expected="a type, or bits, groupSize and offset",
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


def _known(name: Any, names: Any, what: str) -> str:
    if type(name) is not str or name not in names:
        raise PleatError("malformed", what, found=str(name))
    return name
