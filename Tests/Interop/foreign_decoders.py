"""The numbers of the kinds of `foreign_kinds`, as the libraries decode them."""

import foreign
import gptq_models
import numpy as np
import pytest
import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.compressors.mxfp6.helpers import unpack_fp6_from_uint8
from compressed_tensors.compressors.nvfp4.helpers import unpack_fp4_from_uint8
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from test_awq import unpacked as awq_codes


def by_compressed_tensors(format: str, **weights):
    scheme = QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(**weights))

    def decode(parts: dict) -> torch.Tensor:
        state = {name.removeprefix("."): part for name, part in parts.items()}
        state["weight_scale"] = state["weight_scale"].float()
        return BaseCompressor.get_value_from_registry(format).decompress(state, scheme)["weight"]

    return decode


def by_mlx(bits: int, group: int, mode: str):
    def decode(parts: dict) -> torch.Tensor:
        mx = pytest.importorskip("mlx.core")
        mx.set_default_device(mx.cpu)
        words = mx.array(parts[".weight"].numpy())
        scales = parts[".scales"]
        biases = parts.get(".biases")
        if biases is not None:
            scales, biases = (mx.array(part.float().numpy()) for part in (scales, biases))
        else:
            scales = mx.array(scales.numpy())
        kind = {"group_size": group, "bits": bits, "mode": mode, "dtype": mx.float32}
        return torch.from_numpy(np.array(mx.dequantize(words, scales, biases, **kind)))

    return decode


def by_gptq(version: str, bits: int):
    def decode(parts: dict) -> torch.Tensor:
        arrays = {name: part.numpy() for name, part in parts.items()}
        return torch.from_numpy(gptq_models.Layer.read(arrays, "", bits, version).weights())

    return decode


def by_awq(parts: dict) -> torch.Tensor:
    codes, zeros = awq_codes(parts[".qweight"]), awq_codes(parts[".qzeros"])
    scales = parts[".scales"].float().numpy()
    codes = codes - zeros.repeat(foreign.GROUP, 0)
    return torch.from_numpy((codes * scales.repeat(foreign.GROUP, 0)).T.astype(np.float32))


def by_hqq(bits: int):
    """The first rows of codes are in the highest bits of bytes, or of words with ten codes."""

    def decode(parts: dict) -> torch.Tensor:
        units = parts[".W_q"].view(torch.int32 if bits == 3 else torch.uint8)
        shifts = range(27, -1, -3) if bits == 3 else (4, 0)
        codes = torch.cat([units >> shift & (1 << bits) - 1 for shift in shifts]).float()
        zero, scale = parts[".zero"].float(), parts[".scale"].float()
        return ((codes[: len(zero)] - zero) * scale).reshape(parts[".shape"].tolist())

    return decode


def exponents(scale: torch.Tensor) -> torch.Tensor:
    """Scales as numbers: bytes of the type U8 are exponents."""
    return (scale.view(torch.float8_e8m0fnu) if scale.dtype == torch.uint8 else scale).float()


def fp4(packed: torch.Tensor) -> torch.Tensor:
    rows = packed.view(torch.uint8).flatten(0, -2)
    values = unpack_fp4_from_uint8(rows, len(rows), rows.shape[-1] * 2, torch.float32)
    return values.reshape(*packed.shape[:-1], -1)


def fp6(packed: torch.Tensor) -> torch.Tensor:
    rows, words = packed.shape
    return unpack_fp6_from_uint8(packed, rows, words * 4 // 3, torch.float32)


def by_scale(
    name: str, weight=lambda parts: parts[".weight"].float(), factor=lambda parts: torch.ones(())
):
    """The product of a number and the scale of its block, as all libraries have it."""

    def decode(parts: dict) -> torch.Tensor:
        found, scale = weight(parts), exponents(parts[name]) * factor(parts)
        return scaled(found, scale)

    def scaled(weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        for dimension in range(scale.dim()):
            size = -(-weight.shape[dimension] // scale.shape[dimension])
            scale = scale.repeat_interleave(size, dimension)
        return weight * scale

    return decode


INTEGERS = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": foreign.GROUP}
DECODERS = {
    "gptq v1": by_gptq("gptq", 4),
    "gptq v2": by_gptq("gptq_v2", 4),
    "gptq 3 bits": by_gptq("gptq", 3),
    "gptq 8 bits": by_gptq("gptq", 8),
    "awq gemm": by_awq,
    "hqq": by_hqq(4),
    "hqq in bf16": by_hqq(4),
    "hqq 3 bits": by_hqq(3),
    "ct pack-quantized": by_compressed_tensors("pack-quantized", symmetric=True, **INTEGERS),
    "ct pack-quantized, zero points": by_compressed_tensors(
        "pack-quantized", symmetric=False, **INTEGERS
    ),
    "mlx": by_mlx(4, foreign.GROUP, "affine"),
    "mlx mxfp4": by_mlx(4, 32, "mxfp4"),
    "mlx mxfp8": by_mlx(8, 32, "mxfp8"),
    "mlx nvfp4": by_mlx(4, 16, "nvfp4"),
    "ct int-quantized": by_scale(".weight_scale"),
    "ct naive-quantized": by_scale(".weight_scale"),
    "ct float-quantized": by_scale(".weight_scale"),
    "ct float-quantized, blocks": by_scale(".weight_scale"),
    "fp8 deepseek": by_scale(".weight_scale_inv"),
    "fp8 deepseek, ue8m0": by_scale(".scale"),
    "fp4 deepseek": by_scale(".scale", lambda parts: fp4(parts[".weight"])),
    "ct nvfp4-pack-quantized": by_scale(
        ".weight_scale",
        lambda parts: fp4(parts[".weight_packed"]),
        lambda parts: 1 / parts[".weight_global_scale"],
    ),
    "ct mxfp4-pack-quantized": by_scale(
        ".weight_scale", lambda parts: fp4(parts[".weight_packed"])
    ),
    "ct mxfp6-pack-quantized": by_scale(
        ".weight_scale", lambda parts: fp6(parts[".weight_packed"])
    ),
    "ct mxfp8-quantized": by_scale(".weight_scale"),
    "nvfp4 modelopt": by_scale(
        ".weight_scale",
        lambda parts: fp4(parts[".weight"]),
        lambda parts: parts[".weight_scale_2"],
    ),
    "mxfp4 gpt-oss": by_scale("_scales", lambda parts: fp4(parts["_blocks"].flatten(-2))),
    "fp8 experts": by_scale("_scale_inv", lambda parts: parts[""].float()),
    "fp8 llama 4": by_scale("_scale", lambda parts: parts[""].float()),
    "fp8 modelopt": by_scale(".weight_scale"),
    "fp8 fbgemm": by_scale(".weight_scale"),
    "fp8 mistral": by_scale(".qscale_weight"),
    **{f"fp8 {type}, bare": lambda parts: parts[".weight"].float() for type in ("e4m3", "e5m2")},
    "bitsandbytes int8": lambda parts: parts[".weight"] * parts[".SCB"][:, None] / 127,
    "mlx experts": by_mlx(4, foreign.GROUP, "affine"),
}
