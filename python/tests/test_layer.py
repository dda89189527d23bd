"""PleatLinear computes what nn.Linear computes with the decoded weight, and keeps no copy of it."""

import itertools

import numpy as np
import pytest
import torch
from pleat import PleatLinear
from pleat.decode import decode
from pleat.encodings import Groups
from torch import nn
from torch.utils.checkpoint import checkpoint

ROWS = 24
KINDS = list(itertools.product([2, 3, 4, 5, 6, 8], ["bias", "none", "zeroPoint"]))


def parts(groups: Groups, columns: int) -> dict[str, np.ndarray]:
    """Random bytes of a weight; the fill of each row is random, too."""
    random = np.random.default_rng(groups.bits)
    lengths = groups.part_lengths((ROWS, columns))
    stored = {role: random.integers(0, 256, length, np.uint8) for role, length in lengths.items()}
    for role in ("scales", "biases"):
        if role in stored:
            values = torch.from_numpy(random.standard_normal(ROWS * columns // groups.size) * 0.02)
            types = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}
            stored[role] = values.to(types[groups.parameters]).view(torch.uint8).numpy()
    if "zeros" in stored:
        stored["zeros"] >>= 8 - groups.bits
    return stored


def layer_of(groups: Groups, columns: int, bias: bool = False) -> tuple[PleatLinear, np.ndarray]:
    """A layer, and its weight as pleat.read decodes it."""
    stored = parts(groups, columns)
    layer = PleatLinear(columns, ROWS, groups, bias)
    layer.fill(stored, "cpu")
    if bias:
        layer.bias = nn.Parameter(torch.randn(ROWS))
    return layer, decode(groups, (ROWS, columns), stored)


@pytest.mark.parametrize("parameters", ["F16", "BF16", "F32"])
@pytest.mark.parametrize("columns", [48, 144])
def test_every_kind_of_groups_decodes_to_the_same_bits(columns, parameters):
    for bits, offset in KINDS:
        layer, expected = layer_of(Groups(bits, 16, offset, parameters), columns)
        assert layer.decoded().numpy().tobytes() == expected.tobytes(), (bits, offset)
        rounded = torch.from_numpy(expected).to(torch.bfloat16)
        assert torch.equal(layer.decoded(torch.bfloat16), rounded), (bits, offset)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_outputs_and_gradients_are_those_of_a_decoded_linear(dtype, bias):
    layer, weight = layer_of(Groups(3, 16, "bias", "F16"), 96, bias)
    linear = nn.Linear(96, ROWS, bias)
    linear.weight = nn.Parameter(torch.from_numpy(weight), requires_grad=False)
    if bias:
        linear.bias = nn.Parameter(layer.bias.detach().clone())
    inputs = torch.randn(2, 5, 96, dtype=dtype)
    results = []
    for module in (layer, linear.to(dtype)):
        x = inputs.clone().requires_grad_()
        y = module(x)
        y.float().square().sum().backward()
        results.append((y, x.grad, module.bias.grad.to(dtype) if bias else torch.zeros(1)))
    for found, expected in zip(*results, strict=True):
        assert found.dtype == expected.dtype
        torch.testing.assert_close(found, expected)


def test_autocast_decides_the_type_as_for_nn_linear():
    layer, weight = layer_of(Groups(4, 32, "bias", "F16"), 64)
    x = torch.randn(3, 64, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
        expected = nn.functional.linear(x, torch.from_numpy(weight))
    assert y.dtype == torch.bfloat16 and torch.equal(y, expected)
    y.sum().backward()
    assert x.grad.dtype == torch.float32


def test_only_stored_tensors_are_saved_for_backward():
    layer, _ = layer_of(Groups(4, 32, "bias", "F16"), 64)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        layer(torch.randn(3, 64, requires_grad=True)).sum().backward()
    stored = {buffer.data_ptr() for buffer in layer.buffers()}
    assert saved and all(tensor.data_ptr() in stored for tensor in saved)


def test_casting_a_model_leaves_the_weights_alone():
    layer, weight = layer_of(Groups(4, 32, "bias", "F32"), 64)
    layer.to(torch.bfloat16).half().double()
    assert layer.decoded().numpy().tobytes() == weight.tobytes()


def test_checkpoints_give_the_same_gradients():
    layer, _ = layer_of(Groups(5, 16, "zeroPoint", "BF16"), 64)
    inputs, gradients = torch.randn(3, 64), []
    for use in (False, True):
        x = inputs.clone().requires_grad_()
        y = checkpoint(layer, x, use_reentrant=False) if use else layer(x)
        y.square().sum().backward()
        gradients.append(x.grad)
    assert torch.equal(*gradients)


def test_compiled_layers_compute_the_same():
    """In one graph, with the weights decoded by an operation that no compiler changes."""
    layer, _ = layer_of(Groups(3, 16, "bias", "F16"), 64)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    inputs, results = torch.randn(3, 64), []
    for module in (layer, compiled):
        x = inputs.clone().requires_grad_()
        y = module(x)
        y.square().sum().backward()
        results.append((y, x.grad))
    for found, expected in zip(*results, strict=True):
        assert torch.equal(found, expected)
