"""The folder of an adapter that PEFT saved."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from .error import PleatError

_CONFIG, _TENSORS = "adapter_config.json", "adapter_model.safetensors"
_HINT = "the folder that save_pretrained of a PEFT model writes"


def read_config(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The adapter_config.json of a folder. Throws PleatError."""
    path = _member(folder, _CONFIG)
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise PleatError(
            "malformed", "the file is not JSON", file=path, found=str(error)
        ) from error
    if not isinstance(config, dict):
        raise PleatError("malformed", "the file is not a JSON object", file=path)
    return config


def read_tensors(folder: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """The tensors of a folder. Throws PleatError."""
    return _each(folder, lambda file, name: file.get_tensor(name))


def read_shapes(folder: str | os.PathLike[str]) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors of a folder. Throws PleatError."""
    return _each(folder, lambda file, name: tuple(file.get_slice(name).get_shape()))


def _each(folder: str | os.PathLike[str], take: Callable[[Any, str], Any]) -> dict[str, Any]:
    """What `take` makes of each tensor of a folder, by its name."""
    path = _member(folder, _TENSORS)
    try:
        with safe_open(path, framework="pt") as file:
            return {name: take(file, name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise PleatError(
            "malformed",
            "the file is truncated or damaged",
            file=path,
            found=str(error),
            hint="perhaps an incomplete copy",
        ) from error


def factor_of(key: str) -> tuple[str, str] | None:
    """The layer of a factor, and whether it is A or B; None for other tensors."""
    match = re.fullmatch(r"(?:base_model\.model\.)*(.+)\.lora_([AB])\.weight", key)
    return None if match is None else (match[1], match[2])


def _member(folder: str | os.PathLike[str], name: str) -> Path:
    path = Path(folder, name)
    if not Path(folder).is_dir():
        raise PleatError("io", "no such folder", file=folder, expected=_HINT)
    if not path.is_file():
        raise PleatError("io", f"the folder has no {name}", file=folder, expected=_HINT)
    return path
