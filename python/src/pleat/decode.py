"""Stored bytes to numbers, bit for bit as `pleat convert --to safetensors --dtype F32`."""

from __future__ import annotations

import math

import numpy as np

from .encodings import BLOCK_SIZES, TYPE_BITS, Blocks, Encoding, Groups, Plain, Scaled, row_shape
from .error import PleatError

# The plain types that numpy has; floating-point numbers become float32.
_NUMPY_TYPES = {
    **{"U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4"},
    **{"U64": "<u8", "I64": "<i8", "C64": "<c8", "F16": "<f2", "F32": "<f4", "F64": "<f8"},
}
# The block types of GGML that Pleat decodes.
_DECODED_BLOCKS = (
    ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")
    + ("IQ4_NL", "IQ4_XS", "TQ1_0", "TQ2_0", "MXFP4", "IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS")
    + ("IQ2_S", "IQ3_XXS", "IQ3_S", "NVFP4", "Q1_0", "Q2_0")
)  # fmt: skip
# Block types that gguf does not decode: the bits of a code, what code 0 stands for, and the step to
# the next code. A block is a scale in F16 and then the codes, the first one lowest.
_CODES = {"Q1_0": (1, -1, 2), "Q2_0": (2, -1, 1)}
_CHUNK = 1 << 20  # numbers that are decoded at once


def decode(encoding: Encoding, shape: tuple[int, ...], stored: dict[str, np.ndarray]) -> np.ndarray:
    """The numbers of a tensor, from the bytes of its parts by role.

    Floating-point numbers, groups and blocks become float32; integers, booleans and complex
    numbers keep their type. Plain float32 numbers and integers may be a view of the bytes.
    """
    if isinstance(encoding, Plain):
        return _decode_plain(encoding.type, stored["values"]).reshape(shape)
    if isinstance(encoding, Blocks):
        return _decode_blocks(encoding.type, shape, stored["blocks"])
    if isinstance(encoding, Scaled):
        return _decode_scaled(encoding, shape, stored)
    return _decode_groups(encoding, shape, stored)


def as_float32(type: str, data: np.ndarray) -> np.ndarray:
    """Numbers of type F16, BF16, F32 or F64 as float32."""
    if type == "BF16":
        return (data.view("<u2").astype(np.uint32) << 16).view(np.float32)
    return data.view(_NUMPY_TYPES[type]).astype(np.float32, copy=False)


def unpack_codes(rows: np.ndarray, bits: int, columns: int) -> np.ndarray:
    """The codes of rows of bytes, one in each byte: rows × columns.

    Code j of 32 begins in the same bit of every run of `bits` words, so 32 steps unpack all.
    """
    if bits == 8:
        return rows[:, :columns]
    runs = -(-columns // 32)
    words = np.zeros((len(rows), runs * bits), "<u4")
    words.view(np.uint8)[:, : rows.shape[1]] = rows
    codes = np.empty((len(rows), runs, 32), np.uint8)
    mask = np.uint32((1 << bits) - 1)
    for index in range(32):
        word, shift = divmod(index * bits, 32)
        code = words[:, word::bits] >> np.uint32(shift)
        if shift + bits > 32:
            code |= words[:, word + 1 :: bits] << np.uint32(32 - shift)
        codes[:, :, index] = code & mask
    return codes.reshape(len(rows), -1)[:, :columns]


def _decode_plain(type: str, data: np.ndarray) -> np.ndarray:
    if type in ("F16", "BF16", "F32", "F64"):
        return as_float32(type, data)
    if type == "BOOL":
        return data != 0
    if type in _NUMPY_TYPES:
        return data.view(_NUMPY_TYPES[type])
    raise PleatError(
        "unsupported",
        f"{type} is copied, not decoded",
        hint="stored(name) gives the bytes as they are in the file",
    )


def _decode_groups(
    encoding: Groups, shape: tuple[int, ...], stored: dict[str, np.ndarray]
) -> np.ndarray:
    rows, columns = row_shape(shape)
    group_count = columns // encoding.size
    codes = stored["codes"].reshape(rows, encoding.row_bytes(columns))
    scales = as_float32(encoding.parameters, stored["scales"]).reshape(rows, group_count, 1)
    if encoding.offset == "bias":
        offsets = as_float32(encoding.parameters, stored["biases"]).reshape(scales.shape)
    elif encoding.offset == "zeroPoint":
        offsets = stored["zeros"].reshape(scales.shape).astype(np.float32)
    else:
        offsets = np.full_like(scales, 1 << (encoding.bits - 1), np.float32)
    values = np.empty((rows, group_count, encoding.size), np.float32)
    step = max(1, _CHUNK // columns)
    for start in range(0, rows, step):
        part = slice(start, start + step)
        chunk = unpack_codes(codes[part], encoding.bits, columns)
        numbers = chunk.astype(np.float32).reshape(-1, group_count, encoding.size)
        # Each operation rounds to float32 on its own, as in the format. Differences are exact.
        if encoding.offset != "bias":
            numbers -= offsets[part]
        numbers *= scales[part]
        if encoding.offset == "bias":
            numbers += offsets[part]
        values[part] = numbers
    return values.reshape(shape)


# The bits of exponents and mantissas of small floating-point types, as the OCP Microscaling
# Formats specification 1.0 defines them.
_SMALL_FLOATS = {"F4": (2, 1), "F6_E2M3": (2, 3), "F8_E4M3": (4, 3), "F8_E5M2": (5, 2)}


def _numbers(type: str) -> np.ndarray:
    """The numbers of all codes of a type of at most 8 bits, as float32."""
    codes = np.arange(1 << TYPE_BITS[type])
    if type == "I8":
        return codes.astype(np.uint8).view(np.int8).astype(np.float32)
    if type == "F8_E8M0":
        return np.append(np.exp2(codes[:-1] - 127.0), np.nan).astype(np.float32)
    exponent_bits, mantissa_bits = _SMALL_FLOATS[type]
    exponent = codes >> mantissa_bits & (1 << exponent_bits) - 1
    mantissa = (codes & (1 << mantissa_bits) - 1) / (1 << mantissa_bits)
    # Without an exponent, numbers are subnormal.
    least = 2.0 - (1 << (exponent_bits - 1))
    scale = np.exp2(np.where(exponent > 0, exponent - 1.0, 0.0) + least)
    numbers = (mantissa + (exponent > 0)) * scale
    half = 1 << exponent_bits + mantissa_bits
    magnitudes = codes & half - 1
    if type == "F8_E4M3":
        numbers[magnitudes == 0x7F] = np.nan
    elif type == "F8_E5M2":
        numbers[magnitudes >= 0x7C] = np.nan
        numbers[magnitudes == 0x7C] = np.inf
    return np.where(codes < half, numbers, -numbers).astype(np.float32)


def _decode_scaled(
    encoding: Scaled, shape: tuple[int, ...], stored: dict[str, np.ndarray]
) -> np.ndarray:
    rows, columns = row_shape(shape)
    down, across = encoding.tile_counts(shape)
    scales = _tile_scales(encoding, stored).reshape(down, across)
    numbers = stored["table"].view("<f4") if encoding.has_table else _numbers(encoding.codes)
    codes = stored["codes"].reshape(rows, -1)
    width = encoding.tile_columns or columns
    values = np.empty((rows, columns), np.float32)
    step = max(1, _CHUNK // columns)
    for start in range(0, rows, step):
        chunk = codes[start : start + step]
        if encoding.has_table:
            chunk = np.stack([chunk >> 4, chunk & 15], -1).reshape(len(chunk), columns)
        else:
            chunk = unpack_codes(chunk, encoding.bits, columns)
        tiles = np.arange(start, start + len(chunk)) // (encoding.tile_rows or rows)
        part = values[start : start + step]
        # Each operation rounds to float32 on its own, as in the format.
        np.multiply(numbers[chunk], scales[tiles].repeat(width, 1)[:, :columns], out=part)
        if encoding.factor == "largestCode":
            part *= np.float32(1 / 127)
    return values.reshape(shape)


def _tile_scales(encoding: Scaled, stored: dict[str, np.ndarray]) -> np.ndarray:
    """The scales of all tiles, with the factors of the matrices."""
    if encoding.nested_block is not None:
        codes = stored["scales"]
        outer = stored["outerScales"].view("<f4").repeat(encoding.nested_block)[: len(codes)]
        scales = stored["scaleTable"].view("<f4")[codes] * outer
        return scales + np.float32(encoding.nested_offset)
    if encoding.scales in ("F8_E4M3", "F8_E8M0"):
        scales = _numbers(encoding.scales)[stored["scales"]]
    else:
        scales = as_float32(encoding.scales, stored["scales"])
    if encoding.factor not in ("multiplier", "divisor"):
        return scales
    factors = stored["factor"].view("<f4")[:, None]
    scales = scales.reshape(len(factors), -1)
    return scales * factors if encoding.factor == "multiplier" else scales / factors


def _decode_blocks(type: str, shape: tuple[int, ...], data: np.ndarray) -> np.ndarray:
    if type not in _DECODED_BLOCKS:
        raise PleatError(
            "unsupported",
            f"{type} is copied, not decoded",
            hint="stored(name) gives the bytes as they are in the file",
        )
    if math.prod(shape) == 0:
        return np.zeros(shape, np.float32)
    rows, _ = row_shape(shape)
    blocks = np.ascontiguousarray(data).reshape(rows, -1)
    if type in _CODES:
        return _decode_codes(type, blocks).reshape(shape)
    try:
        import gguf
    except ImportError:
        raise PleatError(
            "unsupported", f"decoding blocks of {type} needs the package gguf",
            hint="pip install gguf",
        ) from None  # fmt: skip
    return gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType[type]).reshape(shape)


def _decode_codes(type: str, rows: np.ndarray) -> np.ndarray:
    bits, first, step = _CODES[type]
    blocks = rows.reshape(-1, BLOCK_SIZES[type][1])
    codes = blocks[:, 2:, None] >> np.arange(0, 8, bits, dtype=np.uint8) & ((1 << bits) - 1)
    numbers = codes.reshape(len(blocks), -1).astype(np.float32) * step + first
    return as_float32("F16", np.ascontiguousarray(blocks[:, :2])) * numbers
