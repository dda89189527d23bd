"""Checkpoints of HQQ: decoded to the numbers that hqq computes in float32, bit for bit."""

import adapters
import gguf
import hqq_models
import numpy as np
import pytest
import rtn
import torch
from foreign import BF16, F16, F32

LAYER = "model.layers.2.mlp.down_proj"
LAYOUTS = {
    "4 bits": {},
    "4 bits, stored as BF16": {"type": BF16, "in_floats": True},
    "4 bits, axis 0": {"axis": 0},
    "3 bits": {"bits": 3, "type": BF16},
    "3 bits, axis 0, stored as F32": {"bits": 3, "axis": 0, "type": F32, "in_floats": True},
    "2 bits": {"bits": 2, "size": 16},
    "1.58 bits": {"bits": 1.58, "size": 32},
    "1 bit": {"bits": 1, "size": 8},
    "8 bits, rows": {"bits": 8, "size": 256},
    "6 bits": {"bits": 6, "size": 128, "type": F32},
    "5 bits": {"bits": 5},
}


def linears(tinylm) -> dict:
    """The original linear weights, by name."""
    stored = adapters.stored(tinylm)
    return {name: tensor.float() for name, tensor in stored.items() if rtn.is_linear(name)}


@pytest.fixture(scope="module")
def four_bits(tinylm, tmp_path_factory):
    return hqq_models.model(tmp_path_factory.mktemp("hqq") / "model", tinylm)


@pytest.mark.parametrize("name", LAYOUTS)
def test_weights_are_decoded_to_the_same_bits(pleat, tinylm, tmp_path, name):
    how, out = LAYOUTS[name], tmp_path / "out"
    theirs = hqq_models.model(tmp_path / "theirs", tinylm, **how)
    pleat.run("convert", theirs, "--to", "safetensors", "--dtype", "F32", "-o", out)
    found, expected = adapters.stored(out), linears(tinylm)
    assert found.keys() == adapters.stored(tinylm).keys() and len(expected) == 42
    for weight, original in expected.items():
        wanted = hqq_models.decoded(original, **how)
        assert not rtn.same_bits(found[weight].numpy(), wanted.numpy()), weight
    assert "quantization_config" not in (out / "config.json").read_text()


def test_weights_get_the_type_of_their_scales(pleat, tinylm, tmp_path):
    theirs = hqq_models.model(tmp_path / "theirs", tinylm, type=BF16)
    pleat.run("convert", theirs, "--to", "safetensors", "-o", tmp_path / "out")
    found = adapters.stored(tmp_path / "out")[f"{LAYER}.weight"]
    wanted = hqq_models.decoded(linears(tinylm)[f"{LAYER}.weight"], type=BF16)
    assert found.dtype == BF16 and torch.equal(found, wanted.to(BF16))


def parameters(tinylm) -> tuple:
    """Codes, scales, and the biases −scale · zero point of a layer, rounded once to F16."""
    original = linears(tinylm)[f"{LAYER}.weight"]
    codes, scale, zero = hqq_models.quantized(original, 4, 64, 1, F16)
    bias = (-scale.float() * zero.float()).to(F16)
    groups = (len(original), -1)
    return codes.reshape(original.shape), scale.reshape(groups), bias.reshape(groups)


def test_mlx_keeps_codes_and_scales(pleat, tinylm, four_bits, tmp_path):
    out = tmp_path / "out"
    result = pleat.attempt("convert", four_bits, "--to", "mlx", "-o", out)
    assert "zero points of 42 weights become biases, each rounded once to F16" in result.stderr
    stored, (codes, scale, bias) = adapters.stored(out), parameters(tinylm)
    words = stored[f"{LAYER}.weight"].numpy().view(np.uint8)
    found = np.stack([words & 15, words >> 4], axis=-1).reshape(codes.shape)
    assert np.array_equal(found, codes.numpy())
    assert torch.equal(stored[f"{LAYER}.scales"], scale)
    assert torch.equal(stored[f"{LAYER}.biases"], bias)


def test_gguf_keeps_codes_and_scales(pleat, tinylm, four_bits, tmp_path):
    out = tmp_path / "out.gguf"
    pleat.run("convert", four_bits, "--to", "gguf", "-o", out)
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(out).tensors}
    tensor, (codes, scale, bias) = tensors["blk.2.ffn_down.weight"], parameters(tinylm)
    assert tensor.tensor_type == gguf.GGMLQuantizationType.Q4_1
    found = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
    products = codes.float() * scale.float().repeat_interleave(64, 1)
    wanted = products + bias.float().repeat_interleave(64, 1)
    assert not rtn.same_bits(found, wanted.numpy())


def test_formats_with_whole_zero_points_are_refused(pleat, four_bits, tmp_path):
    for format in ("gptq", "awq", "compressed-tensors"):
        result = pleat.attempt("convert", four_bits, "--to", format, "-o", tmp_path / "out")
        assert result.returncode == 69 and "fractional zero point" in result.stderr, result.stderr
        assert "--dtype F16 decodes it" in result.stderr


def test_codes_are_quantized_again_only_on_request(pleat, four_bits, tmp_path):
    command = ["quantize", four_bits, "--to", "gptq", "-o", tmp_path / "out"]
    result = pleat.attempt(*command)
    assert result.returncode == 69 and "--requantize" in result.stderr
    pleat.run(*command, "--requantize")


def test_inspect_shows_the_groups(pleat, four_bits):
    text = pleat.run("inspect", four_bits, "--tensors")
    assert "4-bit, groups of 64, F16 scale and fractional zero point" in text
