"""NVFP4 that keeps its codes in GGUF, where llama.cpp multiplies by the scale of a tensor."""

import json
from pathlib import Path

import adapters
import architectures
import converter
import gguf
import pytest
import safetensors.torch
import scaled_models
import torch
from architectures import CASES
from expert_architectures import EXPERT_CASES
from llama_runs import logits
from scaled_models import LAYOUTS, SCHEMES, contents, layout
from test_llama import rms

pytestmark = pytest.mark.llama


def assert_multiplied(pleat, source: Path, found: Path) -> None:
    """llama.cpp computes what it computes with decoded weights, but rounds activations."""
    plain, rows = found.with_name("plain.gguf"), architectures.tokens(32)
    pleat.run("convert", source, "--to", "gguf", "--dtype", "F32", "-o", plain)
    left, right = logits(found, rows), logits(plain, rows)
    assert rms(left - right) < 0.1 * rms(right)


@pytest.mark.parametrize("name", ["NVFP4", "nvfp4-pack-quantized"])
def test_llama_reads_the_codes(pleat, tinylm, tmp_path, name):
    """Codes and scales stay the same, and the scale of a tensor is a tensor beside it."""
    source = tmp_path / "theirs"
    if name in LAYOUTS:
        layout(source, tinylm, name)
    else:
        scaled_models.compressed_model(source, tinylm, SCHEMES[name], torch.float32)
    theirs, ours, back = (tmp_path / f for f in ("theirs.gguf", "ours.gguf", "back.gguf"))
    converter.convert(source, {"f32": theirs}, "gpt-2")
    pleat.run("convert", source, "--to", "gguf", "-o", ours)
    expected, found = contents(theirs), contents(ours)
    kinds = [type.name for type, _ in found.values()]
    assert kinds.count("NVFP4") == 7 * 6
    # The scales of activations are left out: llama.cpp does not read them on a CPU.
    expected = {key: value for key, value in expected.items() if not key.endswith(".input_scale")}
    assert found.keys() == expected.keys()
    for key, (type, data) in found.items():
        if type.name == "NVFP4" or key.endswith(".scale"):
            assert (type, data) == expected[key], key
    reader = gguf.GGUFReader(ours)
    assert reader.fields["general.file_type"].contents() == 39
    assert_multiplied(pleat, source, ours)
    # Through a pleat file nothing changes.
    kept = tmp_path / "ours.pleat"
    pleat.run("convert", ours, "--to", "pleat", "-o", kept)
    pleat.run("convert", kept, "--to", "gguf", "-o", back)
    assert contents(back) == found
    pleat.run("verify", ours, "--against", kept)


def quantized(folder: Path) -> None:
    """Writes the matrices of a folder as modelopt stores NVFP4, except routers."""
    usual, config, _ = LAYOUTS["NVFP4"]
    tensors = {}
    for name, tensor in adapters.stored(folder).items():
        path = name.removesuffix(".weight")
        if path.endswith("_proj"):
            parts = usual(path, tensor.float())
            tensors |= {path + suffix: part.contiguous() for suffix, part in parts.items()}
        else:
            tensors[name] = tensor
    for path in folder.glob("*.safetensors"):
        path.unlink()
    safetensors.torch.save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization_config": config}))


# In each layer: the weights that keep their codes. Rows of the other ones are no whole blocks, or
# llama.cpp ignores the scale.
KEPT = {
    "qwen3": ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"],
    "qwen2": ["attn_q", "attn_k", "attn_v", "attn_output"],
    "qwen3-moe": ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate_exps", "ffn_up_exps"],
}


@pytest.mark.parametrize("name", KEPT)
def test_a_scale_that_llama_ignores_is_applied(pleat, tmp_path, name):
    case = next(case for case in [*CASES, *EXPERT_CASES] if case.name == name)
    folder = architectures.make(case, tmp_path)
    quantized(folder)
    ours = tmp_path / "ours.gguf"
    pleat.run("convert", folder, "--to", "gguf", "-o", ours)
    types = {tensor.name: tensor for tensor in gguf.GGUFReader(ours).tensors}
    kept = [key for key, tensor in types.items() if tensor.tensor_type.name == "NVFP4"]
    assert sorted(kept) == sorted(
        f"blk.{layer}.{role}.weight" for layer in range(2) for role in KEPT[name]
    )
    for key in kept:
        scale = types[key.replace(".weight", ".scale")]
        assert scale.data.size == (4 if "_exps" in key else 1)
    assert_multiplied(pleat, folder, ours)
