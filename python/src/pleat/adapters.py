"""PEFT models on quantized bases: QA-LoRA with the groups of the base, or plain LoRA."""

from __future__ import annotations

import math
import os
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeGuard, TypeVar

import peft
import torch
from peft.tuners.lora.gptq import GPTQLoraLinear
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from .error import PleatError
from .layer import PleatLinear
from .stored_adapter import factor_of, read_config, read_shapes

_FOLD_HINT = "save_pretrained, then: pleat fold base.pleat --adapter ADAPTER -o tuned.pleat"


class PooledLoraLinear(GPTQLoraLinear):
    """PEFT's layer for QA-LoRA and LoRA on quantized weights, on any base layer.

    PEFT makes it for layers of GPTQ only, but it asks nothing of its base layer that PleatLinear
    and nn.Linear cannot do.
    """

    def __init__(self, base_layer: nn.Module, adapter_name: str, config: Any, **options: Any):
        super().__init__(base_layer, adapter_name, config=config, **options)
        # A second name of the base layer, under which its tensors would be saved twice.
        del self._modules["quant_linear_module"]

    @property
    def quant_linear_module(self) -> nn.Module:
        """The base layer, as PEFT calls it."""
        return self.base_layer

    def _get_in_out_features(self, module: _Linear) -> tuple[int, int]:
        return module.in_features, module.out_features

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.contiguous())

    def merge(self, *arguments: Any, **options: Any) -> None:
        """Refused: merging into groups is what `pleat fold` does."""
        raise PleatError("unsupported", "an adapter is not merged in PyTorch", hint=_FOLD_HINT)


# PEFT looks for a config.json in a folder; that of a pleat file is inside.
warnings.filterwarnings("ignore", r"Could not find a config file in .*\.pleat ", UserWarning)

# Layers of gptqmodel count too, which have the attributes of nn.Linear that are used here.
_Linear = nn.Linear | PleatLinear
_Layer = TypeVar("_Layer", nn.Linear | PleatLinear, PleatLinear)

_LAYERS: dict[type[nn.Module], type[nn.Module]] = {PleatLinear: PooledLoraLinear}
# Keys of LoraConfig that these functions set, and the words for them here.
_OURS = {
    "lora_alpha": "alpha",
    "lora_dropout": "dropout",
    "target_modules": "targets",
    "use_qalora": "pooled, or pleat.qalora",
    "qalora_group_size": "group_size",
}
# Adapters that PEFT makes from the weights of the base, or adds as more than a product.
_PLAIN_ONLY = {"use_dora": (False, None), "init_lora_weights": (True, False, "gaussian")}


def adapt(
    model: nn.Module,
    r: int = 16,
    alpha: float = 32,
    *,
    dropout: float = 0.0,
    targets: Sequence[str] | str | None = None,
    group_size: int | None = None,
    pooled: bool = True,
    **config: Any,
) -> peft.PeftModel:
    """Makes a PEFT model with a new adapter for the PleatLinear layers of a model.

    The adapter is a QA-LoRA with the groups of the base, or of `group_size` columns, a multiple of
    these: `pleat fold` adds it to the offsets of the base. `pooled=False` makes a plain LoRA.
    `targets` are the last words of names, such as "q_proj", or complete names; by default all
    PleatLinear but the head. `config` goes to LoraConfig. Throws PleatError.
    """
    _check(model, r, dropout, config)
    layers = {
        name: module for name, module in model.named_modules() if isinstance(module, PleatLinear)
    }
    chosen = _chosen(layers, targets, model)
    if pooled:
        group_size = _group_size(chosen, group_size)
        _warn_of_zero_points(chosen)
    return _with_adapter(model, chosen, _LAYERS, group_size, r, alpha, dropout, pooled, config)


def qalora(
    model: nn.Module,
    group_size: int = 32,
    r: int = 16,
    alpha: float = 32,
    *,
    dropout: float = 0.0,
    targets: Sequence[str] | str | None = None,
    **config: Any,
) -> peft.PeftModel:
    """Makes a PEFT model with a new QA-LoRA adapter for a model that is not in a pleat file.

    Its layers are nn.Linear, or those of a GPTQ model, whose groups `group_size` should be. By
    default all of them but the head are adapted. Throws PleatError.
    """
    _check(model, r, dropout, config)
    layers = {name: module for name, module in model.named_modules() if _is_linear(module)}
    chosen = _chosen(layers, targets, model)
    for name, module in chosen.items():
        _check_whole(name, module, group_size)
    _warn_of_zero_points(chosen)
    # PEFT itself knows the layers of GPTQ. For nn.Linear it would ignore use_qalora silently.
    kinds = {**_LAYERS, nn.Linear: PooledLoraLinear}
    return _with_adapter(model, chosen, kinds, group_size, r, alpha, dropout, True, config)


def load_adapter(
    model: nn.Module, folder: str | os.PathLike[str], *, trainable: bool = False
) -> peft.PeftModel:
    """Makes a PEFT model with an adapter that `save_pretrained` wrote, to use it or to train on.

    Pass a fresh model, from `pleat.load` or, for an adapter of `pleat.qalora`, from transformers.
    Throws PleatError.
    """
    _check_fresh(model)
    kind = read_config(folder).get("peft_type")
    if kind != "LORA":
        raise PleatError("unsupported", "the adapter is not a LoRA", file=folder, found=str(kind))
    config = peft.PeftConfig.from_pretrained(os.fspath(folder))
    _check_fits(model, folder, config)
    config.inference_mode = not trainable
    kinds = {**_LAYERS, nn.Linear: PooledLoraLinear} if config.use_qalora else _LAYERS
    config._register_custom_module(dict(kinds))
    adapted = peft.PeftModel.from_pretrained(
        model, os.fspath(folder), config=config, is_trainable=trainable
    )
    return _kept_in_place(adapted)


def _check(model: nn.Module, r: int, dropout: float, config: dict[str, Any]) -> None:
    """Refuses settings that PEFT would take, ignore or misread."""
    _check_fresh(model)
    for key, word in _OURS.items():
        if key in config:
            raise PleatError("usage", f"{key} is set by {word}")
    for key, values in _PLAIN_ONLY.items():
        if config.get(key, values[0]) not in values:
            raise PleatError(
                "unsupported",
                f"{key} needs weights that are not in groups",
                expected=" or ".join(map(str, values)),
                found=str(config[key]),
            )
    if not isinstance(r, int) or r < 1:
        raise PleatError("usage", "r is not a rank", expected="a number from 1", found=str(r))
    if not 0 <= dropout < 1:
        raise PleatError(
            "usage", "dropout is not a share", expected="0 to below 1", found=str(dropout)
        )


def _check_fresh(model: nn.Module) -> None:
    if not isinstance(model, nn.Module):
        raise PleatError(
            "usage",
            "not a model",
            expected="a model of pleat.load or of transformers",
            found=type(model).__name__,
        )
    if any(isinstance(module, BaseTunerLayer) for module in model.modules()):
        raise PleatError(
            "usage",
            "the model has an adapter already",
            hint="load the base again; model.add_adapter of PEFT adds another adapter",
        )


def _check_fits(model: nn.Module, folder: str | os.PathLike[str], config: peft.LoraConfig) -> None:
    """Refuses an adapter of another model, of which PEFT would take a part."""
    layers = dict(model.named_modules())
    for key, shape in read_shapes(folder).items():
        factor = factor_of(key)
        if factor is None:
            continue
        name, letter = factor
        layer = layers.get(name)
        if layer is None or not _is_linear(layer):
            raise PleatError(
                "mismatch", "the model has no layer for a part of the adapter",
                file=folder, tensor=key,
            )  # fmt: skip
        inputs = layer.in_features
        if config.use_qalora:
            _check_whole(name, layer, config.qalora_group_size)
            inputs //= config.qalora_group_size
        side, expected = (1, inputs) if letter == "A" else (0, layer.out_features)
        if len(shape) != 2 or shape[side] != expected:
            raise PleatError(
                "mismatch",
                "a part of the adapter does not fit its layer",
                file=folder,
                tensor=key,
                expected=f"r×{expected}" if letter == "A" else f"{expected}×r",
                found="×".join(map(str, shape)),
            )


def _is_linear(module: nn.Module) -> TypeGuard[_Linear]:
    """Whether a layer is nn.Linear or one of gptqmodel's."""
    if isinstance(module, (nn.Linear, PleatLinear)):
        return True
    return _is_gptq(module)


def _is_gptq(module: nn.Module) -> TypeGuard[Any]:
    # A model with such layers has imported them; importing them here would take long.
    gptq = sys.modules.get("gptqmodel.nn_modules.qlinear")
    return gptq is not None and isinstance(module, gptq.BaseQuantLinear)


def _chosen(
    layers: Mapping[str, _Layer], targets: Sequence[str] | str | None, model: nn.Module
) -> dict[str, _Layer]:
    """The layers that are adapted."""
    if targets is None:
        find_head = getattr(model, "get_output_embeddings", None)
        head = find_head() if find_head else None
        chosen = {name: module for name, module in layers.items() if module is not head}
    else:
        words = [targets] if isinstance(targets, str) else list(targets)
        if not words:
            raise PleatError("usage", "targets names no layer")
        for word in words:
            if not any(_matches(name, word) for name in layers):
                raise PleatError(
                    "usage",
                    f"no layer that can be adapted has the name '{word}'",
                    expected=", ".join(sorted({name.rpartition(".")[2] for name in layers})),
                )
        chosen = {
            name: module
            for name, module in layers.items()
            if any(_matches(name, word) for word in words)
        }
    if not chosen:
        raise PleatError(
            "usage",
            "the model has no layers to adapt",
            hint="pleat.adapt takes a model of pleat.load, pleat.qalora any other",
        )
    return chosen


def _matches(name: str, word: str) -> bool:
    return name == word or name.endswith("." + word)


def _group_size(chosen: Mapping[str, PleatLinear], asked: int | None) -> int:
    """The columns in a group of the adapter: whole groups of every layer."""
    sizes = {module.groups.size for module in chosen.values()}
    size = math.lcm(*sizes) if asked is None else asked
    for name, module in chosen.items():
        _check_whole(name, module, size)
    return size


def _base_groups(module: _Linear) -> int:
    """The columns in a group of a layer; 1 if it has none."""
    if isinstance(module, PleatLinear):
        return module.groups.size
    return int(module.group_size) if _is_gptq(module) else 1


def _check_whole(name: str, module: _Linear, size: int) -> None:
    """Refuses groups that are not whole groups of a layer, or do not divide its inputs."""
    base = _base_groups(module)
    if size < 1 or size % base:
        raise PleatError(
            "usage",
            "the groups of the adapter are not whole groups of the base",
            tensor=name,
            expected=f"a multiple of {base}",
            found=str(size),
        )
    if module.in_features % size:
        raise PleatError(
            "usage",
            "the groups of the adapter do not divide the inputs of a layer",
            tensor=name,
            expected=f"a divisor of {module.in_features}",
            found=str(size),
            hint="targets=[…] leaves layers out; pleat.adapt(…, pooled=False) makes a plain LoRA",
        )


def _warn_of_zero_points(chosen: Mapping[str, _Linear]) -> None:
    names = [
        name
        for name, module in chosen.items()
        if _is_gptq(module)
        or isinstance(module, PleatLinear)
        and module.groups.offset == "zeroPoint"
    ]
    if names:
        warnings.warn(
            f"{names[0]} has whole zero points, which cannot take an adapter exactly: fold it with "
            "--to pleat --bias-type F16, which stores biases instead",
            stacklevel=3,
        )


def _with_adapter(
    model: nn.Module,
    chosen: Mapping[str, _Linear],
    kinds: Mapping[type[nn.Module], type[nn.Module]],
    group_size: int | None,
    r: int,
    alpha: float,
    dropout: float,
    pooled: bool,
    more: dict[str, Any],
) -> peft.PeftModel:
    settings: dict[str, Any] = {"task_type": "CAUSAL_LM", **more}
    if pooled:
        settings |= {"use_qalora": True, "qalora_group_size": group_size}
    config = peft.LoraConfig(
        r=r,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=_target_modules(chosen, model),
        **settings,
    )
    config._register_custom_module(dict(kinds))
    return _kept_in_place(peft.get_peft_model(model, config))


def _kept_in_place(model: peft.PeftModel) -> peft.PeftModel:
    """The model, of which DistributedDataParallel never sends the base between processes.

    By default it sends all buffers before every step. These never change, and neither gloo nor NCCL
    can send integers of 16 bits.
    """
    names = [
        f"{path}.{name}"
        for path, module in model.named_modules()
        if isinstance(module, PleatLinear)
        for name, _ in module.named_buffers()
    ]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, names)
    if names:
        # To find out whether the embeddings were resized, PEFT would look for the config of the base
        # in the network, under the path of the pleat file.
        model.save_pretrained = partial(model.save_pretrained, save_embedding_layers=False)
    return model


def _target_modules(chosen: Iterable[str], model: nn.Module) -> list[str]:
    """The last words of the names, if they select exactly the chosen layers; else the names."""
    words = sorted({name.rpartition(".")[2] for name in chosen})
    selected = {
        name for name, _ in model.named_modules() if any(_matches(name, word) for word in words)
    }
    return words if selected == set(chosen) else sorted(chosen)
