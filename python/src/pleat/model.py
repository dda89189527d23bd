"""A transformers model from a pleat file, whose linears stay in groups."""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from accelerate import init_empty_weights
from torch import nn

from .encodings import Groups
from .error import PleatError
from .file import PleatFile
from .header import Tensor
from .layer import PleatLinear

_DECODE_HINT = (
    "pleat convert FILE --to safetensors --dtype BF16 -o decoded/ makes a folder that transformers "
    "loads; pleat.qalora trains on it"
)


def load(
    path: str | os.PathLike[str],
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    *,
    check: bool = False,
) -> transformers.PreTrainedModel:
    """Makes the transformers model that the config.json in a pleat file describes.

    Linears that are stored in groups become PleatLinear, on the CPU without copying the file;
    everything else is decoded to `dtype`: bfloat16, or float32 on the CPU. With 16 bits,
    PleatLinear computes with the weights of the file rounded once more. `check` compares the
    checksums of all parts first. Throws PleatError.
    """
    # Writable, because torch has no read-only tensors; the file itself never changes.
    file = PleatFile(path, writable=True)
    if check:
        file.check()
    device = torch.device(device)
    if dtype is None:
        dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    model = _empty_model(file, dtype)
    _refuse_experts(file)
    filled = _fill(model, file, device)
    _tie(model, file, filled)
    _check_complete(model, file, filled)
    if "generation_config.json" in file.companions:
        settings = json.loads(file.companion("generation_config.json"))
        model.generation_config = transformers.GenerationConfig.from_dict(settings)
    model.save_pretrained = _refuse_saving
    return model.to(device).eval()


def tokenizer(path: str | os.PathLike[str]) -> Any:
    """The tokenizer whose files are in a pleat file, as transformers loads it."""
    file = PleatFile(path)
    if not any(name.startswith("tokenizer") for name in file.companions):
        raise PleatError("unsupported", "the file has no tokenizer", file=path)
    with tempfile.TemporaryDirectory() as folder:
        for name in file.companions:
            target = Path(folder, name)
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(file.companion(name))
        return transformers.AutoTokenizer.from_pretrained(folder)


def _refuse_saving(*_: Any, **__: Any) -> None:
    """transformers would write codes that it does not read back."""
    raise PleatError(
        "unsupported",
        "transformers cannot save weights in groups",
        hint="save_pretrained of the model of pleat.adapt saves the adapter; " + _DECODE_HINT,
    )


def _empty_model(file: PleatFile, dtype: torch.dtype) -> transformers.PreTrainedModel:
    """The model with parameters that have no numbers yet; its buffers have theirs."""
    if "config.json" not in file.companions:
        raise PleatError(
            "unsupported",
            "the file has no config.json, so its architecture is not known",
            file=file.path,
            hint="quantize the folder of the model: pleat quantize MODEL/ --to pleat -o base.pleat",
        )
    try:
        settings = json.loads(file.companion("config.json"))
        config = transformers.AutoConfig.for_model(**settings)
    except (ValueError, TypeError) as error:
        raise PleatError(
            "unsupported",
            "transformers does not know this config.json",
            file=file.path,
            found=str(error).partition(". ")[0],
        ) from error
    config.name_or_path = file.path
    named = [getattr(transformers, name, None) for name in config.architectures or []]
    maker = next((found for found in named if found is not None), None)
    with init_empty_weights(include_buffers=False):
        if maker is not None:
            return maker._from_config(config, dtype=dtype)
        return transformers.AutoModelForCausalLM.from_config(config, dtype=dtype)


def _refuse_experts(file: PleatFile) -> None:
    for name, tensor in file.tensors.items():
        stacked = isinstance(tensor.encoding, Groups) and len(tensor.shape) > 2
        if stacked or re.search(r"\.experts\.", name):
            raise PleatError(
                "unsupported",
                "experts cannot be trained on in groups",
                file=file.path,
                tensor=name,
                hint=_DECODE_HINT,
            )


def _fill(model: nn.Module, file: PleatFile, device: torch.device) -> set[str]:
    """Gives the model the tensors of the file, and returns their names."""
    filled = set()
    for name, tensor in file.tensors.items():
        path, _, attribute = name.rpartition(".")
        module = _submodule(model, path)
        if type(module) is nn.Linear and attribute == "weight":
            _check_shape(file, tensor, module.weight.shape)
            if isinstance(tensor.encoding, Groups):
                layer = PleatLinear(
                    module.in_features, module.out_features, tensor.encoding, bias=False
                )
                layer.bias = module.bias
                layer.fill(file.stored(name), device)
                model.set_submodule(path, layer)
                filled.add(name)
                continue
        old = getattr(module, attribute, None)
        if not isinstance(old, torch.Tensor):
            continue
        _check_shape(file, tensor, old.shape)
        value = torch.from_numpy(np.array(file[name])).to(device, _dtype_of(model, name, old))
        if isinstance(old, nn.Parameter):
            value = nn.Parameter(value, requires_grad=old.requires_grad)
        setattr(module, attribute, value)
        filled.add(name)
    return filled


def _submodule(model: nn.Module, path: str) -> nn.Module | None:
    try:
        return model.get_submodule(path)
    except AttributeError:
        return None


def _check_shape(file: PleatFile, tensor: Tensor, expected: torch.Size) -> None:
    if tuple(expected) != tensor.shape:
        raise PleatError(
            "mismatch",
            "the tensor does not have the shape that config.json gives it",
            file=file.path,
            tensor=tensor.name,
            expected="×".join(map(str, expected)),
            found="×".join(map(str, tensor.shape)),
        )


def _dtype_of(model: nn.Module, name: str, old: torch.Tensor) -> torch.dtype:
    """The type of a tensor: some models keep parameters in float32 beside 16-bit ones."""
    words = list(getattr(model, "_keep_in_fp32_modules_strict", None) or [])
    if old.dtype == torch.float16:
        words += list(getattr(model, "_keep_in_fp32_modules", None) or [])
    kept = any(re.search(rf"(^|\.){word}(\.|$)", name) for word in words)
    return torch.float32 if kept and old.is_floating_point() else old.dtype


def _tie(model: transformers.PreTrainedModel, file: PleatFile, filled: set[str]) -> None:
    """Ties what config.json ties, such as the head to the embeddings, if the file agrees."""
    head = model.get_output_embeddings()
    if isinstance(head, PleatLinear):
        return
    name = next((name for name, module in model.named_modules() if module is head), "")
    stored = head.weight if f"{name}.weight" in filled else None
    model.tie_weights()
    if stored is not None and not torch.equal(stored, head.weight):
        raise PleatError(
            "mismatch",
            "config.json ties the head to the embeddings, and the file has another head",
            file=file.path,
            tensor=f"{name}.weight",
            hint="set tie_word_embeddings to false in the config.json of the model",
        )


def _check_complete(model: nn.Module, file: PleatFile, filled: set[str]) -> None:
    """Refuses a file with other tensors than the model has parameters."""
    ignored = list(getattr(model, "_keys_to_ignore_on_load_unexpected", None) or [])
    ignored.append(r"rotary_emb\.inv_freq$")  # computed; old checkpoints store it
    extra = [name for name in file.tensors if name not in filled]
    extra = [name for name in extra if not any(re.search(word, name) for word in ignored)]
    missing = [name for name, value in model.named_parameters() if value.is_meta]
    for names, what in (
        (extra, "the model that config.json describes has no place for tensors of the file"),
        (missing, "the file lacks tensors of the model that config.json describes"),
    ):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise PleatError(
                "mismatch",
                what,
                file=file.path,
                found=", ".join(names[:3]) + more,
                hint=_DECODE_HINT,
            )
