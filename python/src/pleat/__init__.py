"""Pleat for Python: reads pleat files, and trains QA-LoRA adapters on them.

    pleat.read("base.pleat")                      names to numpy arrays
    model = pleat.load("base.pleat")              a transformers model whose linears stay in groups
    model = pleat.adapt(model, r=16, alpha=32)    a PEFT model with a QA-LoRA adapter

Reading needs numpy; the rest needs torch, transformers and peft, which are imported when used.
"""

from typing import Any

from .error import PleatError
from .file import PleatFile, read

__version__ = "0.1.0"
# What needs torch, by the module that has it.
_LAZY = {
    "PleatLinear": "layer",
    "load": "model",
    "tokenizer": "model",
    "adapt": "adapters",
    "load_adapter": "adapters",
    "qalora": "adapters",
    "verify_fold": "folding",
}
__all__ = ["PleatError", "PleatFile", "read", *_LAZY]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'pleat' has no attribute {name!r}")
    from importlib import import_module

    try:
        return getattr(import_module(f".{_LAZY[name]}", __name__), name)
    except ModuleNotFoundError as error:
        what = f"pleat.{name} needs the package {error.name}"
        hint = "pip install './python[train]'"
        raise PleatError("unsupported", what, hint=hint) from error
