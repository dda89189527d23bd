"""tinylm with linear weights as hqq stores them: codes, scales, zero points, and a description.

The layout is that of hqq 0.2.8 (`HQQLinear.state_dict` and `BitPack`), which the tests do not need.
"""

from pathlib import Path

import scaled_models
import torch

METHOD = {"quantization_config": {"quant_method": "hqq", "quant_config": {}, "skip_modules": []}}
PACKINGS = {1: "1bit_u8", 1.58: "2bit_u8", 2: "2bit_u8", 3: "3bit_32", 4: "4bit_u8"}


def packed(codes: torch.Tensor, packing: str) -> torch.Tensor:
    """Rows of codes in the units of a packing; the first of the rows are in the highest bits."""
    if packing == "8bit_u8":
        return codes
    bits, unit = int(packing[0]), torch.int32 if packing == "3bit_32" else torch.uint8
    fields = 10 if bits == 3 else 8 // bits
    rows = -(-len(codes) // fields)
    padded = torch.zeros(fields * rows, codes.shape[1], dtype=torch.int64)
    padded[: len(codes)] = codes
    runs = padded.unflatten(0, (fields, rows))
    shifts = bits * torch.arange(fields - 1, -1, -1)
    return (runs << shifts[:, None, None]).sum(0).to(unit)


def quantized(weight: torch.Tensor, bits: float, size: int, axis: int, type: torch.dtype):
    """Codes, scales and zero points of the weight in groups, rounded as hqq does at the start."""
    groups = weight.float().reshape((-1, size) if axis == 1 else (size, -1))
    low, high = groups.amin(axis, keepdim=True), groups.amax(axis, keepdim=True)
    largest = round(2**bits - 1)
    inverse = largest / (high - low)
    zero = -low * inverse
    codes = (groups * inverse + zero).round().clamp(0, largest)
    return codes.to(torch.uint8), (1 / inverse).to(type), zero.to(type)


def text(value: str) -> torch.Tensor:
    return torch.tensor(list(value.encode()), dtype=torch.uint8)


def flag(value: bool) -> torch.Tensor:
    return torch.tensor(int(value), dtype=torch.uint8)


def layer(weight, bits=4, size=64, axis=1, type=torch.float16, in_floats=False) -> dict:
    """The tensors of a layer: suffix → tensor."""
    codes, scale, zero = quantized(weight, bits, size, axis, type)
    packing = PACKINGS.get(bits, "8bit_u8")
    units = packed(codes, packing)
    kind = torch.float32 if isinstance(bits, float) else torch.int32
    return {
        ".W_q": units.view(type) if in_floats else units,
        ".scale": scale,
        ".zero": zero,
        ".nbits": torch.tensor(bits, dtype=kind),
        ".group_size": torch.tensor(size, dtype=torch.int32),
        ".shape": torch.tensor(weight.shape),
        ".axis": torch.tensor(axis, dtype=torch.int32),
        ".packing": text(packing),
        ".unpack_view_dtype": text("torch.int32" if bits == 3 else "torch.uint8"),
        ".view_as_float": flag(in_floats),
        ".quant_scale": flag(False),
        ".quant_zero": flag(False),
        ".compute_dtype": text(str(type)),
        ".offload_meta": flag(False),
        ".encoded_state_dict": flag(True),
        ".stores_quant_config": flag(True),
        ".channel_wise": flag(True),
        ".optimize": flag(True),
        ".round_zero": flag(bits == 4),
    }


def model(folder: Path, tinylm: Path, **how) -> Path:
    """Writes tinylm; the arguments are those of `layer`."""
    return scaled_models.write(folder, tinylm, lambda _, weight: layer(weight, **how), METHOD)


def decoded(weight: torch.Tensor, bits=4, size=64, axis=1, type=torch.float16, **_):
    """What `Quantizer.dequantize` computes with the compute type float32."""
    codes, scale, zero = quantized(weight, bits, size, axis, type)
    return ((codes.float() - zero.float()) * scale.float()).reshape(weight.shape)
