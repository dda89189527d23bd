"""A linear layer whose weight stays in groups, and is decoded again whenever it is needed."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .encodings import Groups

# Integers of the width of each type of scales. Scales and biases are stored as integers so that
# `model.to(torch.bfloat16)`, which casts every floating-point buffer, leaves them alone.
_STORED_TYPES = {"F16": torch.int16, "BF16": torch.int16, "F32": torch.int32}
_FLOAT_TYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}
# Weights that are decoded at once: what fits a cache of a CPU, and what fills a GPU.
_CPU_CHUNK, _GPU_CHUNK = 1 << 18, 1 << 24


class PleatLinear(nn.Module):
    """A linear layer with the codes, scales and offsets of a pleat file.

    Forward and backward each decode the weight to the type of the input; nothing of it is kept
    between them. Decoding to float32 gives the numbers of the file, to 16 bits these numbers
    rounded once. The weight is frozen: it has no gradient. A bias is an ordinary parameter.
    """

    codes: Tensor  # uint8, rows × bytes of a row
    scales: Tensor  # bits of the scales, rows × groups
    offsets: Tensor | None  # bits of the biases, or zero points in uint8, rows × groups

    def __init__(self, in_features: int, out_features: int, groups: Groups, bias: bool = False):
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.groups = groups
        count = in_features // groups.size
        stored = _STORED_TYPES[groups.parameters]

        def empty(columns: int, type: torch.dtype) -> Tensor:
            return torch.empty(out_features, columns, dtype=type, device="meta")

        self.register_buffer("codes", empty(groups.row_bytes(in_features), torch.uint8))
        self.register_buffer("scales", empty(count, stored))
        kinds = {"bias": stored, "zeroPoint": torch.uint8}
        kind = kinds.get(groups.offset)
        self.register_buffer("offsets", None if kind is None else empty(count, kind))
        self.bias = nn.Parameter(torch.empty(out_features, device="meta")) if bias else None

    @property
    def qweight(self) -> Tensor:
        """The codes, under the name by which PEFT finds the device of a quantized layer."""
        return self.codes

    @property
    def compute_dtype(self) -> torch.dtype:
        """The type in which PEFT makes adapters of this layer."""
        return torch.float32

    def fill(self, stored: dict[str, np.ndarray], device: torch.device | str) -> None:
        """Takes the bytes of the parts of a tensor, by role. On the CPU they are not copied."""
        self.codes = self._buffer(self.codes, stored["codes"], device)
        self.scales = self._buffer(self.scales, stored["scales"], device)
        if self.offsets is not None:
            role = "biases" if self.groups.offset == "bias" else "zeros"
            self.offsets = self._buffer(self.offsets, stored[role], device)

    @staticmethod
    def _buffer(buffer: Tensor, data: np.ndarray, device: torch.device | str) -> Tensor:
        return torch.from_numpy(data).view(buffer.dtype).reshape(buffer.shape).to(device)

    def decoded(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """The weight, rows × columns, rounded once if the type has 16 bits."""
        return _decode(*self._stored, dtype)

    @property
    def _stored(self) -> tuple[Tensor, Tensor, Tensor | None, int, int, int, str]:
        groups = self.groups
        numbers = (groups.bits, groups.size, self.in_features, groups.parameters)
        return (self.codes, self.scales, self.offsets, *numbers)

    def forward(self, x: Tensor) -> Tensor:
        dtype = x.dtype
        if torch.is_autocast_enabled(x.device.type):
            dtype = torch.get_autocast_dtype(x.device.type)
        bias = None if self.bias is None else self.bias.to(dtype)
        return _Product.apply(x.to(dtype), bias, *self._stored)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, {self.groups}"
        )


class _Product(torch.autograd.Function):
    """x · Wᵀ + b. Saves only what is stored of W: it is decoded again for the gradient of x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor | None, *stored: Any) -> Tensor:
        ctx.save_for_backward(*stored[:3])
        ctx.numbers = stored[3:]
        with torch.autocast(x.device.type, enabled=False):
            return nn.functional.linear(x, _decode(*stored, x.dtype), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        of_x = of_bias = None
        with torch.autocast(gradient.device.type, enabled=False):
            if ctx.needs_input_grad[0]:
                of_x = gradient @ _decode(*ctx.saved_tensors, *ctx.numbers, gradient.dtype)
            if ctx.needs_input_grad[1]:
                of_bias = gradient.reshape(-1, gradient.shape[-1]).sum(0)
        return of_x, of_bias, *[None] * 7


# An operation that torch.compile does not look into. A compiler might fuse the product and the
# sum of `s · q + b` into one rounding, and then the weights would not be those of the file.
@torch.library.custom_op("pleat::decode", mutates_args=())
def _decode(
    codes: Tensor,
    scales: Tensor,
    offsets: Tensor | None,
    bits: int,
    group: int,
    columns: int,
    parameters: str,
    dtype: torch.dtype,
) -> Tensor:
    rows = len(codes)
    weight = torch.empty(rows, columns, dtype=dtype, device=codes.device)
    chunk = _CPU_CHUNK if codes.device.type == "cpu" else _GPU_CHUNK
    step = max(1, chunk // columns)
    for start in range(0, rows, step):
        part = slice(start, start + step)
        numbers = _unpacked(codes[part], bits, columns).float().reshape(-1, columns // group, group)
        scale = _floats(scales[part], parameters).unsqueeze(2)
        # Each operation rounds to float32 on its own, as in the format. Differences are exact.
        if offsets is None:
            numbers = numbers.sub_(1 << (bits - 1)).mul_(scale)
        elif offsets.dtype == torch.uint8:
            numbers = numbers.sub_(offsets[part].float().unsqueeze(2)).mul_(scale)
        else:
            numbers = numbers.mul_(scale).add_(_floats(offsets[part], parameters).unsqueeze(2))
        weight[part] = numbers.view(-1, columns)
    return weight


@_decode.register_fake
def _(
    codes: Tensor,
    scales: Tensor,
    offsets: Tensor | None,
    bits: int,
    group: int,
    columns: int,
    parameters: str,
    dtype: torch.dtype,
) -> Tensor:
    return torch.empty(len(codes), columns, dtype=dtype, device=codes.device)


def _floats(bits: Tensor, parameters: str) -> Tensor:
    return bits.view(_FLOAT_TYPES[parameters]).float()


def _unpacked(rows: Tensor, bits: int, columns: int) -> Tensor:
    """The codes of rows of bytes: rows × columns, integers of one or four bytes."""
    if bits == 8:
        return rows[:, :columns]
    if 8 % bits == 0:
        shifts = torch.arange(0, 8, bits, dtype=torch.uint8, device=rows.device)
        codes = (rows.unsqueeze(2) >> shifts) & ((1 << bits) - 1)
        return codes.flatten(1)[:, :columns]
    # Code j of 32 begins in the same bit of every run of `bits` words.
    runs = -(-columns // 32)
    words = nn.functional.pad(rows, (0, 4 * runs * bits - rows.shape[1])).view(torch.int32)
    codes = torch.empty(len(rows), runs, 32, dtype=torch.uint8, device=rows.device)
    for index in range(32):
        word, shift = divmod(index * bits, 32)
        low = min(bits, 32 - shift)  # bits of the code in its first word
        code = (words[:, word::bits] >> shift) & ((1 << low) - 1)
        if low < bits:
            high = words[:, word + 1 :: bits] & ((1 << (bits - low)) - 1)
            code = code | (high << low)
        codes[:, :, index] = code
    return codes.flatten(1)[:, :columns]
