"""The outputs of a layer with a QA-LoRA adapter, in each of the three dialects.

x: [rows, columns], A: [r, groups], B: [outputs, r]; a group is `columns // groups` adjacent inputs.
Every function returns what the adapter adds to the output of the base layer.
"""

import torch
from peft import LoraConfig
from peft.tuners.lora.gptq import GPTQLoraLinear
from torch import nn


def paper(x, a, b, alpha):
    """Algorithm 1 of arXiv 2309.14717: an average pool over D_in // L inputs, times D_in // L.

    That is the sum over each group. s = alpha / r.
    """
    width = x.shape[1] // a.shape[1]
    pooled = nn.functional.avg_pool1d(x[:, None], width)[:, 0] * width
    return alpha / len(a) * (pooled @ a.T @ b.T)


def authors(x, a, b, alpha):
    """The published code of the authors: only AvgPool1d, hence the mean over each group."""
    width = x.shape[1] // a.shape[1]
    pooled = nn.AvgPool1d(width)(x[:, None])[:, 0]
    return alpha / len(a) * (pooled @ a.T @ b.T)


def peft(x, a, b, alpha):
    """PEFT's layer for GPTQ models, with a base layer that gives zeros."""
    columns, outputs, groups = x.shape[1], len(b), a.shape[1]
    base = nn.Linear(columns, outputs, bias=False, dtype=x.dtype)
    nn.init.zeros_(base.weight)
    config = LoraConfig(
        r=len(a), lora_alpha=alpha, use_qalora=True, qalora_group_size=columns // groups
    )
    layer = GPTQLoraLinear(base, "default", config, r=len(a), lora_alpha=alpha).to(x.dtype)
    assert layer.lora_A["default"].weight.shape == a.shape
    layer.lora_A["default"].weight.data.copy_(a)
    layer.lora_B["default"].weight.data.copy_(b)
    with torch.no_grad():
        return layer.eval()(x)


# The names of the dialects in `--pooling`.
DIALECTS = {"sum": paper, "mean": authors, "peft": peft}
