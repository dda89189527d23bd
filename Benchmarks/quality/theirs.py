"""What the code of other projects makes of the same weights, decoded from what they store.

Each maker is a function that takes a weight in F16 precision, as float32, and its importance, and
returns the decoded weight and the number of stored bits.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import ggml
import gguf
import mlx.core as mx
import numpy as np
import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from compressed_tensors.quantization.utils import calculate_qparams
from origins import Origin
from torchao.quantization import quant_primitives

Made = tuple[np.ndarray, int]  # decoded, bits


@dataclass(frozen=True)
class Peer:
    """A setting of a peer.

    `rows`: if not 0, all weights go to the maker at once, as rows of this many columns. Groups of
    this size do not depend on each other, and it is many times faster.
    """

    series: str
    title: str
    make: Callable[[np.ndarray, np.ndarray], Made]
    workers: int = 1
    rows: int = 0

    def decoded(self, origin: Origin) -> tuple[float, dict[str, np.ndarray]]:
        """The stored bits per weight, and the decoded weights."""
        return self.together(origin) if self.rows else self.one_by_one(origin)

    def together(self, origin: Origin) -> tuple[float, dict[str, np.ndarray]]:
        weights = origin.weights
        joined = np.concatenate([weight.reshape(-1, self.rows) for weight in weights.values()])
        decoded, bits = self.make(joined, np.ones(self.rows))
        ends = np.cumsum([weight.size for weight in weights.values()])[:-1]
        parts = np.split(decoded.ravel(), ends)
        shaped = {
            name: part.reshape(weight.shape)
            for (name, weight), part in zip(weights.items(), parts, strict=True)
        }
        return bits / joined.size, shaped

    def one_by_one(self, origin: Origin) -> tuple[float, dict[str, np.ndarray]]:
        names = list(origin.weights)
        with ThreadPoolExecutor(self.workers) as pool:
            columns = map(origin.columns, names)
            made = pool.map(self.make, origin.weights.values(), columns)
            found = dict(zip(names, made, strict=True))
        total = sum(weight.size for weight in origin.weights.values())
        bits = sum(bits for _, bits in found.values()) / total
        return bits, {name: decoded for name, (decoded, _) in found.items()}


def by_ggml(type: str, weighted: bool, weight: np.ndarray, columns: np.ndarray) -> Made:
    importance = np.ascontiguousarray(columns, np.float32) if weighted else None
    data = np.frombuffer(ggml.quantized(weight, type, importance), np.uint8)
    data = data.reshape(len(weight), -1)
    return gguf.dequantize(data, gguf.GGMLQuantizationType[type]), 8 * data.nbytes


def by_mlx(bits: int, group: int, weight: np.ndarray, _: np.ndarray) -> Made:
    parts = mx.quantize(mx.array(weight.astype(np.float16)), group, bits)
    codes, scales, biases = parts
    scales, biases = scales.astype(mx.float32), biases.astype(mx.float32)
    decoded = mx.dequantize(codes, scales, biases, group, bits)
    return np.array(decoded), 8 * sum(part.nbytes for part in parts)


def by_compressed_tensors(
    bits: int, group: int, symmetric: bool, weight: np.ndarray, _: np.ndarray
) -> Made:
    """Its minmax rule, packed and unpacked by it."""
    arguments = QuantizationArgs(
        num_bits=bits, type="int", symmetric=symmetric, strategy="group", group_size=group
    )
    scheme = QuantizationScheme(targets=["Linear"], weights=arguments)
    values = torch.from_numpy(weight)
    groups = values.reshape(len(weight), -1, group)
    scale, zero = calculate_qparams(groups.amin(-1), groups.amax(-1), arguments)
    state = {"weight": values, "weight_scale": scale.half()}
    state |= {} if symmetric else {"weight_zero_point": zero}
    compressor = BaseCompressor.get_value_from_registry("pack-quantized")
    packed = compressor.compress(state, scheme)
    stored = sum(part.nbytes for name, part in packed.items() if name != "weight_shape")
    packed["weight_scale"] = packed["weight_scale"].float()
    return compressor.decompress(packed, scheme)["weight"].numpy(), 8 * stored


def by_hqq(bits: int, group: int, weight: np.ndarray, _: np.ndarray) -> Made:
    """HQQ as torchao has it. Codes are counted as if they were packed."""
    codes, scale, zero, _ = quant_primitives._choose_qparams_and_quantize_affine_hqq(
        torch.from_numpy(weight), nbits=bits, group_size=group, device="cpu", raw_output=True
    )
    scale, zero = scale.float()[..., None], zero.float()[..., None]
    groups = codes.float().reshape(*scale.shape[:2], group)
    decoded = ((groups - zero) * scale).reshape(weight.shape)
    return decoded.numpy(), bits * weight.size + 2 * 16 * scale.numel()


def by_gptqmodel(
    bits: int, group: int, symmetric: bool, searches: bool, weight: np.ndarray, _: np.ndarray
) -> Made:
    """Its RTN, which needs no calibration; packed and decoded by it."""
    from gptqmodel.nn_modules.qlinear.torch import TorchLinear
    from gptqmodel.quantization.config import RTNConfig, SmoothMSE
    from gptqmodel.quantization.rtn import RTN

    outputs, inputs = weight.shape
    linear = torch.nn.Linear(inputs, outputs, bias=False)
    linear.weight.data = torch.from_numpy(weight).clone()
    smooth = SmoothMSE() if searches else None
    config = RTNConfig(bits=bits, group_size=group, sym=symmetric, smooth=smooth)
    linear.weight.data, scale, zero, groups, *_ = RTN(linear, config).quantize()
    packed = TorchLinear(
        bits=bits, group_size=group, sym=symmetric, desc_act=False, in_features=inputs,
        out_features=outputs, bias=False, register_buffers=True,
    )  # fmt: skip
    packed.pack_original(linear, scale.float(), zero.int(), groups)
    stored = sum(getattr(packed, name).nbytes for name in ("qweight", "qzeros", "scales"))
    return packed.dequantize_weight().T.float().numpy(), 8 * stored


def peers(
    bits: list[int], sizes: list[int], types: list[str], codebooks: list[str]
) -> Iterator[Peer]:
    """All settings for these bits, groups and block types of llama.cpp."""
    for type in types:
        yield Peer("ggml", type, partial(by_ggml, type, False), 2)
    for type in types + codebooks:
        if type not in UNWEIGHTED:
            yield Peer("ggml, importance", type, partial(by_ggml, type, True), 2)
    for count in bits:
        for size in sizes:
            title = f"{count} bits, {{}}, groups of {size}"
            yield Peer("mlx", title.format("bias"), partial(by_mlx, count, size))
            yield Peer("hqq", title.format("bias"), partial(by_hqq, count, size))
            for symmetric, form in ((True, "symmetric"), (False, "zero point")):
                of = (count, size, symmetric)
                name = title.format(form)
                yield Peer("compressed-tensors", name, partial(by_compressed_tensors, *of))
                for series, searches in (("gptqmodel", False), ("gptqmodel, mse", True)):
                    yield Peer(series, name, partial(by_gptqmodel, *of, searches), rows=size)


UNWEIGHTED = ["MXFP4", "Q8_0"]  # types whose encoder ignores importance
# Types with codebooks, which Pleat reads but does not make.
CODEBOOKS = ["IQ2_XXS", "IQ2_S", "IQ3_XXS", "IQ3_S"]
