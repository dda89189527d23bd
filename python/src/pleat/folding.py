"""The adapter error of a fold, computed apart from the command: formats/adapters.md, section 6."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .error import PleatError
from .file import PleatFile
from .stored_adapter import factor_of, read_config, read_tensors

_HINT = "pleat verify TUNED --against BASE --adapter ADAPTER checks adapters of every kind"


def verify_fold(
    base: str | os.PathLike[str],
    adapter: str | os.PathLike[str],
    tuned: str | os.PathLike[str],
    *,
    scale: float = 1.0,
    pooling: str | None = None,
) -> float:
    """The adapter error of a folded pleat file: ‖(W' − W) − ΔW‖ / ‖ΔW‖ over all adapted weights.

    W and W' are the decoded weights of `base` and `tuned`, ΔW is what the PEFT adapter in the
    folder `adapter` adds. 0 means that all of it arrived, 1 that nothing did. Every other tensor
    must have equal numbers in both files, up to one rounding. `scale` multiplies ΔW as
    `pleat fold --scale` does; `pooling` is needed only if the config does not state it. Throws
    PleatError.
    """
    before, after = PleatFile(base), PleatFile(tuned)
    if before.keys() != after.keys():
        odd = sorted(before.keys() ^ after.keys())
        raise PleatError("mismatch", "the files have different tensors", file=tuned, found=odd[0])
    updates = _read_updates(Path(adapter), scale, pooling)
    for name in updates.keys() - before.keys():
        raise PleatError(
            "mismatch", "the base has no tensor for a part of the adapter", file=base, tensor=name
        )
    missed = added = 0.0
    for name, tensor in before.tensors.items():
        if name in updates:
            change = updates[name].matrix(tensor.shape)
            lost = after[name].astype(np.float64) - before[name] - change
            missed += float(np.square(lost).sum())
            added += float(np.square(change).sum())
        elif not _are_equal(before, after, name):
            raise PleatError(
                "mismatch", "a tensor that the adapter does not change differs",
                file=tuned, tensor=name,
            )  # fmt: skip
    if added == 0:
        return 0.0 if missed == 0 else math.inf
    return math.sqrt(missed / added)


@dataclass
class _Update:
    """ΔW of one weight: factor · B · A, each column of A repeated for the inputs of its group."""

    name: str
    a: np.ndarray  # r × inputs or groups
    b: np.ndarray  # outputs × r
    factor: float
    pooling: str | None

    def matrix(self, shape: tuple[int, ...]) -> np.ndarray:
        groups = self.a.shape[1]
        if len(shape) != 2 or shape[0] != len(self.b) or shape[1] % groups:
            raise PleatError(
                "mismatch",
                "the adapter does not fit the weight",
                tensor=self.name,
                expected="×".join(map(str, shape)),
                found=f"{len(self.b)}×{groups}",
            )
        size = shape[1] // groups
        product = self.b.astype(np.float64) @ self.a.astype(np.float64)
        return np.repeat(self.factor * self._pooling_factor(groups, size) * product, size, axis=1)

    def _pooling_factor(self, groups: int, size: int) -> float:
        factors = {"sum": 1.0, "mean": 1 / size, "peft": groups / size}
        if size == 1:
            return 1.0
        if self.pooling not in factors:
            raise PleatError(
                "usage",
                "the config does not state how inputs are pooled",
                tensor=self.name,
                hint='pass pooling="sum", "mean" or "peft"',
            )
        return factors[self.pooling]


def _are_equal(before: PleatFile, after: PleatFile, name: str) -> bool:
    """Whether a tensor has the same numbers, rounded once if it got a plain type of 16 bits."""
    left, right = before.tensors[name], after.tensors[name]
    if left.shape != right.shape:
        return False
    if left.encoding == right.encoding:
        stored = before.stored(name), after.stored(name)
        return all(np.array_equal(stored[0][role], stored[1][role]) for role in left.parts)
    expected = torch.from_numpy(np.array(before[name]))
    rounded = {"F16": torch.float16, "BF16": torch.bfloat16}.get(str(right.encoding))
    if rounded is not None:
        expected = expected.to(rounded).float()
    return np.array_equal(expected.numpy(), after[name])


def _read_updates(folder: Path, scale: float, pooling: str | None) -> dict[str, _Update]:
    """The updates of a PEFT folder, by the name of the weight."""
    config, tensors = read_config(folder), read_tensors(folder)
    _refuse_other_kinds(folder, config)
    if config.get("use_qalora"):
        pooling = "peft"
    updates = {}
    for key in tensors:
        factor = factor_of(key)
        if factor is None:
            raise PleatError(
                "unsupported", "only factors of linears are read", file=folder, tensor=key,
                hint=_HINT,
            )  # fmt: skip
        layer, letter = factor
        if letter == "A":
            a = tensors[key].float().numpy()
            b = tensors[key.replace(".lora_A.", ".lora_B.")].float().numpy()
            size = scale * _factor(config, layer, len(a))
            updates[f"{layer}.weight"] = _Update(f"{layer}.weight", a, b, size, pooling)
    if not updates:
        raise PleatError("malformed", "the adapter has no factors", file=folder)
    return updates


def _refuse_other_kinds(folder: Path, config: dict[str, Any]) -> None:
    """Refuses what is not a plain product of factors."""
    asked = [key for key in config if key.startswith("use_") and config[key]]
    asked = [key for key in asked if key not in ("use_rslora", "use_qalora")]
    if config.get("peft_type", "LORA") != "LORA":
        asked.append(f"peft_type {config['peft_type']}")
    if config.get("fan_in_fan_out"):
        asked.append("fan_in_fan_out")
    if asked:
        raise PleatError(
            "unsupported", "only LoRA and QA-LoRA are read", file=folder, found=", ".join(asked),
            hint=_HINT,
        )  # fmt: skip


def _factor(config: dict[str, Any], layer: str, rank: int) -> float:
    alpha = config.get("lora_alpha", 8)
    for pattern, value in (config.get("alpha_pattern") or {}).items():
        if re.fullmatch(rf"(.*\.)?({pattern})", layer):
            alpha = value
            break
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
