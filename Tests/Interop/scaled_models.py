"""tinylm with linear weights of codes and scales, as other tools store them."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import adapters
import foreign
import gguf
import numpy as np
import rtn
import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.compressors.mx_utils import decompress_mx_scale
from compressed_tensors.compressors.mxfp6.helpers import unpack_fp6_from_uint8
from compressed_tensors.compressors.nvfp4.helpers import unpack_fp4_from_uint8
from compressed_tensors.compressors.pack_quantized.helpers import unpack_from_int32
from compressed_tensors.quantization import QuantizationConfig, QuantizationScheme
from compressed_tensors.quantization.lifecycle.forward import dequantize
from compressed_tensors.quantization.quant_scheme import preset_name_to_scheme
from compressed_tensors.quantization.utils import (
    calculate_qparams,
    generate_gparam,
    maybe_pad_tensor_for_block_quant,
)
from foreign import E4M3, E8M0, I8, U8
from transformers import AutoModelForCausalLM, FineGrainedFP8Config
from transformers.integrations.finegrained_fp8 import Fp8Quantize

Tensors = dict[str, torch.Tensor]
LARGEST = torch.finfo(E4M3).max


def write(folder: Path, tinylm: Path, encode, config: dict, others=None, **documents) -> Path:
    """Writes tinylm with the parts that `encode` makes of each linear weight: suffix → tensor.

    `config` is added to its config.json, and `others` to its tensors. The documents are other
    files, by name without `.json`.
    """
    tensors = dict(others or {})
    for name, tensor in adapters.stored(tinylm).items():
        path = name.removesuffix(".weight")
        parts = encode(path, tensor.float()) if rtn.is_linear(name) else {".weight": tensor}
        tensors |= {path + suffix: part.contiguous() for suffix, part in parts.items()}
    documents["config"] = json.loads((tinylm / "config.json").read_text()) | config
    files = {f"{name}.json": content for name, content in documents.items()}
    weights = foreign.save(tensors, folder.with_name(f"{folder.name}.safetensors"))
    return foreign.write(folder, weights, files, tinylm)


def layers(tensors: Tensors) -> dict[str, Tensors]:
    """The parts of each linear layer: path → name of the part → tensor."""
    result = {}
    for name, tensor in tensors.items():
        path, _, part = name.rpartition(".")
        if rtn.is_linear(f"{path}.weight"):
            result.setdefault(path, {})[part] = tensor
    return result


def contents(path: Path) -> dict:
    """The types and bytes of the tensors of an output. In a pleat file, only of linear layers."""
    if path.suffix == ".pleat":
        return {name: part for name, part in adapters.parts(path).items() if rtn.is_linear(name)}
    if path.suffix == ".gguf":
        tensors = gguf.GGUFReader(path).tensors
        return {tensor.name: (tensor.tensor_type, tensor.data.tobytes()) for tensor in tensors}
    stored = adapters.stored(path).items()
    return {name: (tensor.dtype, adapters.bytes_of(tensor)) for name, tensor in stored}


# compressed-tensors


def preset(name: str, format: str, **weights) -> QuantizationScheme:
    """A scheme of the library, with changes to the settings of its weights."""
    scheme = preset_name_to_scheme(name, ["Linear"])
    changed = scheme.weights.model_copy(update=weights)
    return scheme.model_copy(update={"format": format, "weights": changed})


SCHEMES = {
    "float-quantized": preset("FP8_DYNAMIC", "float-quantized"),
    "float-quantized, tensors": preset("FP8", "float-quantized"),
    # The last blocks of a column have 16 or 32 rows.
    "float-quantized, blocks": preset("FP8_BLOCK", "float-quantized", block_structure=[48, 64]),
    "naive-quantized": preset("W8A16", "naive-quantized", group_size=64),
    "int-quantized": preset("INT8", "int-quantized"),
    "nvfp4-pack-quantized": preset("NVFP4", "nvfp4-pack-quantized"),
    "mxfp4-pack-quantized": preset("MXFP4A16", "mxfp4-pack-quantized"),
    "mxfp6-pack-quantized": preset("MXFP6A16", "mxfp6-pack-quantized"),
    "mxfp8-quantized": preset("MXFP8A16", "mxfp8-quantized"),
}


def extremes(weight: torch.Tensor, args) -> tuple[torch.Tensor, torch.Tensor]:
    """The lowest and the highest number of each group of weights that share a scale."""
    if args.strategy == "tensor":
        return weight.amin(), weight.amax()
    if args.strategy == "block":
        rows, columns = args.block_structure
        padded = maybe_pad_tensor_for_block_quant(weight, (rows, columns))
        blocks = padded.unflatten(1, (-1, columns)).unflatten(0, (-1, rows))
        return blocks.amin((1, 3)), blocks.amax((1, 3))
    groups = weight.unflatten(1, (-1, args.group_size or weight.shape[1]))
    return groups.amin(2), groups.amax(2)


def compressor(scheme: QuantizationScheme):
    return BaseCompressor.get_value_from_registry(scheme.format)


def compressed(weight: torch.Tensor, scheme: QuantizationScheme) -> Tensors:
    """The parts of a layer, with scales that the library computes in the type of the weight."""
    state, args = {"weight": weight}, scheme.weights
    if args.strategy == "tensor_group":
        state["weight_global_scale"] = generate_gparam(weight.amin(), weight.amax())
    low, high = extremes(weight, args)
    scales, zeros = calculate_qparams(low, high, args, state.get("weight_global_scale"))
    state |= {"weight_scale": scales, "weight_zero_point": zeros}
    return compressor(scheme).compress(state, scheme)


def floats(packed: torch.Tensor, bits: int = 4) -> torch.Tensor:
    """Codes of four or six bits as float32."""
    unpack = unpack_fp6_from_uint8 if bits == 6 else unpack_fp4_from_uint8
    rows, words = packed.shape
    return unpack(packed, rows, words * 8 // bits, torch.float32)


def in_float32(parts: Tensors, scheme: QuantizationScheme) -> torch.Tensor:
    """The weight that the library's dequantize computes in float32 from the unpacked codes.

    Its `decompress` would compute in the type of the scales, and unpacks to BF16.
    """
    codes, scale = parts.get("weight"), parts["weight_scale"]
    if "weight_shape" in parts:
        shape = torch.Size(parts["weight_shape"])
        codes = unpack_from_int32(parts["weight_packed"], scheme.weights.num_bits, shape)
    elif "weight_packed" in parts:
        codes = floats(parts["weight_packed"], scheme.weights.num_bits)
    scale = decompress_mx_scale(scale) if scale.dtype == U8 else scale
    factor = parts.get("weight_global_scale")
    args = {"args": scheme.weights, "global_scale": factor, "dtype": torch.float32}
    return dequantize(codes, scale.float(), **args)


def compressed_model(folder: Path, tinylm: Path, scheme: QuantizationScheme, type) -> Path:
    """tinylm in a numeric type, compressed with one scheme."""

    def encode(_: str, weight: torch.Tensor) -> Tensors:
        parts = compressed(weight.to(type), scheme)
        return {f".{name}": part for name, part in parts.items()}

    return write(folder, tinylm, encode, settings({"group_0": scheme}))


def settings(groups: dict[str, QuantizationScheme], **others) -> dict:
    """What the library adds to a config.json."""
    formats = {scheme.format for scheme in groups.values()}
    config = QuantizationConfig(
        config_groups=groups,
        format=formats.pop() if len(formats) == 1 else "mixed-precision",
        quantization_status="compressed",
        ignore=["lm_head"],
        **others,
    )
    return {"quantization_config": config.model_dump(mode="json")}


def mixed(folder: Path, tinylm: Path) -> Tensors:
    """Writes a model with layers of three formats, which also rounds its KV cache.

    The result is the float32 weight of every linear layer, by path.
    """
    schemes = {
        "q_proj": preset("FP8", "float-quantized"),
        "[kvo]_proj": preset("W4A16", "pack-quantized", group_size=32),
        "(gate|up|down)_proj": preset("NVFP4", "nvfp4-pack-quantized"),
    }
    groups, weights = {}, {}
    for index, (name, scheme) in enumerate(schemes.items()):
        groups[f"group_{index}"] = scheme.model_copy(update={"targets": [f"re:.*{name}$"]})

    def encode(path: str, weight: torch.Tensor) -> Tensors:
        scheme = next(scheme for name, scheme in schemes.items() if re.search(name, path))
        parts = compressed(weight, scheme)
        weights[path] = in_float32(parts, scheme)
        return {f".{name}": part for name, part in parts.items()}

    cache = {"num_bits": 8, "type": "float", "strategy": "tensor"}
    config = settings(groups, kv_cache_scheme=cache)
    scales = {f"model.layers.{index}.self_attn.k_scale": torch.ones(1) for index in range(6)}
    write(folder, tinylm, encode, config, scales)
    return weights


# transformers

FINE_GRAINED = {
    "blocks of 32 × 32": {"weight_block_size": (32, 32)},
    "blocks of 64 × 128": {"weight_block_size": (64, 128)},
    "exponents": {"weight_block_size": (128, 128), "scale_fmt": "ue8m0"},
    "tensors": {"weight_block_size": None},
}


def fine_grained(folder: Path, tinylm: Path, name: str) -> Path:
    """A checkpoint of FP8 that transformers quantizes and describes."""
    config = FineGrainedFP8Config(modules_to_not_convert=["lm_head"], **FINE_GRAINED[name])
    quantize = Fp8Quantize(SimpleNamespace(quantization_config=config))

    def encode(_: str, weight: torch.Tensor) -> Tensors:
        parts = quantize.convert({"layer.weight": weight})
        return {name.removeprefix("layer"): part for name, part in parts.items()}

    return write(folder, tinylm, encode, {"quantization_config": config.to_dict()})


def deepseek(folder: Path, tinylm: Path) -> Path:
    """Scales that are exponents, and codes of four bits in the MLP, as for the experts there."""
    config = FineGrainedFP8Config(
        weight_block_size=(64, 64),
        scale_fmt="ue8m0",
        expert_dtype="fp4",
        modules_to_not_convert=["lm_head"],
    )
    quantize = Fp8Quantize(SimpleNamespace(quantization_config=config))

    def encode(path: str, weight: torch.Tensor) -> Tensors:
        if ".mlp." in path:
            parts = compressed(weight, SCHEMES["mxfp4-pack-quantized"])
            codes, scales = parts["weight_packed"].view(I8), parts["weight_scale"].view(E8M0)
        else:
            parts = quantize.convert({"layer.weight": weight})
            codes, scales = parts["layer.weight"], parts["layer.weight_scale_inv"]
        return {".weight": codes, ".scale": scales}

    return write(folder, tinylm, encode, {"quantization_config": config.to_dict()})


def dequantized(folder: Path, type: torch.dtype) -> torch.nn.Module:
    wish = FineGrainedFP8Config(dequantize=True)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=type, quantization_config=wish)


# Layouts of other tools


def eight_bits(weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return (weight / scale).clamp(-LARGEST, LARGEST).to(E4M3)


def modelopt_fp8(path: str, weight: torch.Tensor) -> Tensors:
    scale = weight.abs().amax() / LARGEST
    parts = {".weight": eight_bits(weight, scale), ".weight_scale": scale}
    parts |= {".input_scale": torch.tensor(0.02)}
    if path.endswith(("k_proj", "v_proj")):
        parts[f".{path[-6]}_scale"] = torch.tensor(0.5)
    return parts


def modelopt_channels(_: str, weight: torch.Tensor) -> Tensors:
    scale = weight.abs().amax(1) / LARGEST
    return {".weight": eight_bits(weight, scale[:, None]), ".weight_scale": scale}


def modelopt_nvfp4(_: str, weight: torch.Tensor) -> Tensors:
    """The same codes as in compressed-tensors, with the reciprocal of its scale of the tensor."""
    parts = compressed(weight, SCHEMES["nvfp4-pack-quantized"])
    return {
        ".weight": parts["weight_packed"],
        ".weight_scale": parts["weight_scale"],
        ".weight_scale_2": 1 / parts["weight_global_scale"][0],
        ".input_scale": torch.tensor(0.02),
    }


def modelopt_mxfp8(_: str, weight: torch.Tensor) -> Tensors:
    parts = compressed(weight, SCHEMES["mxfp8-quantized"])
    return {f".{name}": part for name, part in parts.items()}


def fbgemm(_: str, weight: torch.Tensor) -> Tensors:
    scale = weight.abs().amax(1, keepdim=True) / LARGEST
    parts = {".weight": eight_bits(weight, scale), ".weight_scale": scale}
    return parts | {".input_scale_ub": torch.tensor([1200.0])}


def partial_blocks(_: str, weight: torch.Tensor) -> Tensors:
    """FP8 under the names of transformers, which has no partial blocks; llama.cpp has them."""
    parts = compressed(weight, SCHEMES["float-quantized, blocks"])
    return {".weight": parts["weight"], ".weight_scale_inv": parts["weight_scale"]}


def by_modelopt(algorithm: str) -> dict:
    return {"quant_method": "modelopt", "quant_algo": algorithm, "ignore": ["lm_head"]}


# What encodes a layer, the config, and the number of scales of activations in the model.
LAYOUTS = {
    "FP8": (modelopt_fp8, by_modelopt("FP8"), 54),
    "FP8 of rows": (modelopt_channels, by_modelopt("FP8_PER_CHANNEL_PER_TOKEN"), 0),
    "NVFP4": (modelopt_nvfp4, by_modelopt("NVFP4"), 42),
    "MXFP8": (modelopt_mxfp8, by_modelopt("MXFP8"), 0),
    "fbgemm": (fbgemm, {"quant_method": "fbgemm_fp8", "activation_scale_ub": 1200.0}, 42),
    "partial": (partial_blocks, {"quant_method": "fp8", "weight_block_size": [48, 64]}, 0),
}


def layout(folder: Path, tinylm: Path, name: str, at: str = "", **changes) -> Path:
    """A checkpoint in a layout. Parts of the layer `at` are changed; None leaves one out."""
    usual, config, _ = LAYOUTS[name]

    def encode(path: str, weight: torch.Tensor) -> Tensors:
        others = {f".{part}": tensor for part, tensor in changes.items() if path == at}
        parts = usual(path, weight) | others
        return {part: tensor for part, tensor in parts.items() if tensor is not None}

    return write(folder, tinylm, encode, {"quantization_config": config})


def product(parts: Tensors) -> torch.Tensor:
    """Each code times the scale of its tensor, row or group, in float32."""
    codes = floats(parts["weight"]) if parts["weight"].dtype == U8 else parts["weight"].float()
    scale = parts["weight_scale"]
    scale = (scale.view(E8M0) if scale.dtype == U8 else scale).float()
    scale = scale * parts.get("weight_scale_2", torch.ones(()))
    scale = scale.reshape(len(scale) if scale.dim() else 1, -1)
    return codes * scale.repeat_interleave(codes.shape[1] // scale.shape[1], 1)


# MLX


def decoded_by_mlx(folder: Path) -> dict:
    """The quantized weights by name, decoded in F32 with the mode of each layer."""
    from mlx_models import arrays, mx

    tensors, result = arrays(folder), {}
    common = json.loads((folder / "config.json").read_text())["quantization"]
    keys = ("group_size", "bits", "mode")
    for name, scales in tensors.items():
        path, _, part = name.rpartition(".")
        if part != "scales":
            continue
        own = {key: value for key, value in common.get(path, common).items() if key in keys}
        mode = {"mode": "affine"} | own | {"dtype": mx.float32}
        biases = tensors.get(f"{path}.biases")
        if biases is not None:
            scales, biases = scales.astype(mx.float32), biases.astype(mx.float32)
        weight = mx.dequantize(tensors[f"{path}.weight"], scales, biases, **mode)
        result[f"{path}.weight"] = np.array(weight)
    return result


def some_layers(path: str, _) -> bool | dict:
    if path.endswith("down_proj"):
        return {"bits": 4, "group_size": 32, "mode": "mxfp4"}
    if path.endswith("up_proj"):
        return {"bits": 4, "group_size": 16, "mode": "nvfp4"}
    return path != "lm_head"


def affine_layers(path: str, _) -> bool | dict:
    return {"bits": 6, "group_size": 64} if path.endswith("down_proj") else path != "lm_head"


MADE_BY_MLX = {
    "mxfp4": ("mxfp4", None, 44),
    "nvfp4": ("nvfp4", None, 44),
    "mxfp8": ("mxfp8", None, 44),
    "affine layers in mxfp4": ("mxfp4", affine_layers, 43),
    "mxfp4 and nvfp4 layers in affine": ("affine", some_layers, 43),
}


def mlx_experts(folder: Path) -> tuple[str, np.ndarray]:
    """Writes experts of NVFP4 with a scale of each, which mlx-lm calls `global_scale`.

    The result is the name of the weight and its numbers.
    """
    from mlx_lm.models import switch_layers
    from mlx_models import mx

    path = "model.layers.0.block_sparse_moe.switch_mlp.up_proj"
    mode = {"group_size": 16, "bits": 4, "mode": "nvfp4"}
    weight = mx.random.normal((3, 32, 64), key=mx.random.key(1))
    parts = switch_layers._quantize_experts(weight, **mode)
    names = (f"{path}.{name}" for name in ("weight", "scales", "global_scale"))
    tensors = dict(zip(names, parts, strict=True))
    mx.save_safetensors(str(folder / "model.safetensors"), tensors)
    config = {"model_type": "mixtral", "quantization": mode | {path: mode | {"global_scale": True}}}
    (folder / "config.json").write_text(json.dumps(config))
    weights = [
        mx.dequantize(words, scales, global_scale=factor, dtype=mx.float32, **mode)
        for words, scales, factor in zip(*parts, strict=True)
    ]
    return f"{path}.weight", np.array(mx.stack(weights))
