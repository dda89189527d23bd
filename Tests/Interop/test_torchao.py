"""Checkpoints of torchao: decoded to the numbers that torchao computes, bit for bit."""

import json

import adapters
import pytest
import rtn
import torch
import transformers
from foreign import BF16, F32
from safetensors import safe_open

torchao_models = pytest.importorskip("torchao_models")
LAYER = "model.layers.2.mlp.down_proj.weight"


def plain(pleat, model, out, *options) -> dict:
    pleat.run("convert", model, "--to", "safetensors", *options, "-o", out)
    return adapters.stored(out)


@pytest.mark.parametrize("type", ["F32", "BF16"])
@pytest.mark.parametrize("names", [torchao_models.LAYOUTS, ["int8"]], ids=["all", "int8"])
def test_weights_are_decoded_to_the_same_bits(pleat, tinylm, tmp_path, names, type):
    kind = {"F32": F32, "BF16": BF16}[type]
    folder, expected = torchao_models.model(tmp_path / "theirs", tinylm, names, kind)
    found = plain(pleat, folder, tmp_path / "out", "--dtype", type)
    assert found.keys() == adapters.stored(tinylm).keys() and len(expected) == 42
    for path, weight in expected.items():
        assert found[path].dtype == kind and torch.equal(found[path], weight), path
    with safe_open(tmp_path / "out" / "model.safetensors", "pt") as file:
        assert set(file.metadata()) <= {"format"}


def test_a_model_that_transformers_saved(pleat, tinylm, tmp_path):
    quantization = pytest.importorskip("torchao.quantization")
    kind = quantization.IntxWeightOnlyConfig(
        weight_dtype=torch.int4, granularity=quantization.PerGroup(64)
    )
    wish = transformers.TorchAoConfig(kind)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        tinylm, dtype=BF16, quantization_config=wish
    )
    model.save_pretrained(tmp_path / "theirs")
    found = plain(pleat, tmp_path / "theirs", tmp_path / "out")
    for name, weight in model.named_parameters():
        wanted = weight.dequantize() if rtn.is_linear(name) else weight
        assert found[name].dtype == BF16 and torch.equal(found[name], wanted), name
    assert "quantization_config" not in json.loads((tmp_path / "out" / "config.json").read_text())


def test_compressed_tensors_keeps_codes_and_scales(pleat, tinylm, tmp_path):
    """Groups without zero points are the same there, so that both decode to the same numbers."""
    folder, expected = torchao_models.model(tmp_path / "theirs", tinylm, ["int4"], BF16)
    packed = tmp_path / "packed"
    pleat.run("convert", folder, "--to", "compressed-tensors", "-o", packed)
    assert adapters.stored(packed)[LAYER + "_packed"].dtype == torch.int32
    found = plain(pleat, packed, tmp_path / "out", "--dtype", "BF16")
    assert torch.equal(found[LAYER], expected[LAYER])


def test_layouts_of_kernels_are_refused_by_name(pleat, tinylm, tmp_path):
    folder, _ = torchao_models.model(tmp_path / "theirs", tinylm, ["int8"], BF16)
    path = (folder / "model.safetensors").resolve()
    path.write_bytes(path.read_bytes().replace(b"Int8Tensor", b"Int4Tensor"))
    result = pleat.attempt("convert", folder, "--to", "gguf", "-o", tmp_path / "out.gguf")
    assert result.returncode == 69 and "found Int4Tensor" in result.stderr, result.stderr
    assert "expected Int8Tensor, IntxUnpackedToInt8Tensor, Float8Tensor" in result.stderr
