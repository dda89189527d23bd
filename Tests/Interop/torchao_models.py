"""tinylm with linear weights of torchao, saved as transformers does."""

import itertools
import json
from pathlib import Path

import adapters
import foreign
import rtn
import torch
from safetensors.torch import save_file
from torchao.prototype.safetensors.safetensors_support import flatten_tensor_state_dict
from torchao.quantization import (
    Float8Tensor,
    Int8Tensor,
    IntxUnpackedToInt8Tensor,
    MappingType,
    PerRow,
    PerTensor,
)

METHOD = {"quantization_config": {"quant_method": "torchao", "quant_type": {}}}


def intx(bits: int, size: int, **how):
    """A function that makes groups of a row from a weight."""
    kind = getattr(torch, f"int{bits}")
    return lambda weight: IntxUnpackedToInt8Tensor.from_hp(weight, (1, size), kind, **how)


LAYOUTS = {
    "int8": lambda weight: Int8Tensor.from_hp(weight, PerRow()),
    "int8, one scale": lambda weight: Int8Tensor.from_hp(weight, PerTensor()),
    "int8, zero points": lambda weight: Int8Tensor.from_hp(
        weight, PerRow(), mapping_type=MappingType.ASYMMETRIC
    ),
    "int4": intx(4, 32),
    "int4, zero points": intx(4, 32, mapping_type=MappingType.ASYMMETRIC),
    "int3": intx(3, 64, mapping_type=MappingType.ASYMMETRIC),
    "int7": intx(7, 64, mapping_type=MappingType.ASYMMETRIC),
    "int1": intx(1, 128, mapping_type=MappingType.ASYMMETRIC),
    "float8": lambda weight: Float8Tensor.from_hp(weight, granularity=PerRow()),
}


def model(folder: Path, tinylm: Path, names, type: torch.dtype) -> tuple[Path, dict]:
    """Writes tinylm in a type, and returns the folder and the weights as torchao decodes them.

    The linear layers have the layouts with these names in turn.
    """
    tensors, expected, layouts = {}, {}, itertools.cycle(names)
    for path, tensor in adapters.stored(tinylm).items():
        tensors[path] = tensor.to(type)
        if rtn.is_linear(path):
            tensors[path] = LAYOUTS[next(layouts)](tensors[path])
            expected[path] = tensors[path].dequantize()
    stored, metadata = flatten_tensor_state_dict(tensors)
    weights = folder.with_name(f"{folder.name}.safetensors")
    save_file(stored, weights, metadata=metadata | {"format": "pt"})
    config = json.loads((tinylm / "config.json").read_text()) | METHOD
    return foreign.write(folder, weights, {"config.json": config}, tinylm), expected
