"""Tensors that llama.cpp arranges in another way, from quantized checkpoints; MXFP4 that is kept."""

import json
import shutil
from pathlib import Path

import architectures
import converter
import gguf
import gguf_files
import numpy as np
import pytest
import safetensors.torch
import torch
from architecture_tokenizers import PRE_TOKENIZERS
from architectures import CASES
from arranged_architectures import ARRANGED_CASES
from engine_runs import MEANS, evaluation, losses
from llama_runs import logits
from more_architectures import MORE_CASES
from recurrent_architectures import RECURRENT_CASES
from test_architectures import EXACT
from test_llama import rms

pytestmark = pytest.mark.llama
ROWS = architectures.tokens(64)


def make(name: str, folder: Path) -> Path:
    return architectures.make(
        next(
            case
            for case in [*CASES, *ARRANGED_CASES, *RECURRENT_CASES, *MORE_CASES]
            if case.name == name
        ),
        folder,
    )


def rewrite(folder: Path, change) -> None:
    """Replaces the tensors of a folder by those that `change` yields for each."""
    path = folder / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    changed = {name: value for item in tensors.items() for name, value in change(*item)}
    safetensors.torch.save_file(changed, path, metadata={"format": "pt"})


def configure(folder: Path, **values) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def codes(generator: torch.Generator, *extents: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random codes of MXFP4, two in a byte, and their exponents: rows × columns."""
    packed = torch.randint(0, 256, (*extents[:-1], extents[-1] // 2), generator=generator)
    scales = torch.randint(117, 124, (*extents[:-1], extents[-1] // 32), generator=generator)
    return packed.to(torch.uint8), scales.to(torch.uint8)


def tensors(path: Path) -> dict:
    return {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}


# gpt-oss as it is published


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    folder = make("gpt-oss", tmp_path_factory.mktemp("gpt-oss"))
    generator = torch.Generator().manual_seed(21)

    def coded(name, value):
        if not name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            return [(name, value)]
        experts, inputs, outputs = value.shape
        packed, scales = codes(generator, experts, outputs, inputs)
        blocks = packed.reshape(experts, outputs, inputs // 32, 16)
        return [(f"{name}_blocks", blocks), (f"{name}_scales", scales)]

    rewrite(folder, coded)
    configure(folder, quantization_config={"quant_method": "mxfp4"})
    return folder


@pytest.fixture(scope="module")
def decoded(pleat, published) -> Path:
    path = published.parent / "decoded"
    pleat.run("convert", published, "--to", "safetensors", "--dtype", "BF16", "-o", path)
    return path


def test_blocks_are_those_of_the_converter(pleat, published, tmp_path):
    theirs = tmp_path / "theirs.gguf"
    converter.convert(published, {"bf16": theirs}, PRE_TOKENIZERS["qwen2"])
    pleat.run("convert", published, "--to", "gguf", "-o", tmp_path / "ours.gguf")
    found, expected = tensors(tmp_path / "ours.gguf"), tensors(theirs)
    assert sorted(found) == sorted(expected)
    for name, tensor in expected.items():
        assert found[name].tensor_type == tensor.tensor_type, name
        assert found[name].data.tobytes() == tensor.data.tobytes(), name
    kinds = [tensor.tensor_type.name for tensor in expected.values()]
    assert kinds.count("MXFP4") == 3 * 2


def test_decoded_weights_are_those_of_transformers(published, decoded):
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    source = safetensors.torch.load_file(published / "model.safetensors")
    found = safetensors.torch.load_file(decoded / "model.safetensors")
    stacks = [name for name in source if name.endswith("_blocks")]
    assert len(stacks) == 2 * 2
    for name in stacks:
        scales = source[name.replace("_blocks", "_scales")]
        expected = convert_moe_packed_tensors(source[name], scales)
        assert torch.equal(found[name.removesuffix("_blocks")], expected), name
    assert not any("blocks" in name or "scales" in name for name in found)
    assert "quantization_config" not in json.loads((decoded / "config.json").read_text())


def test_llama_computes_what_transformers_does(pleat, published, decoded, tmp_path):
    expected = architectures.logits(decoded, ROWS)
    assert rms(expected) > 2
    path = tmp_path / "f32.gguf"
    pleat.run("convert", published, "--to", "gguf", "--dtype", "F32", "-o", path)
    assert np.abs(logits(path, ROWS) - expected).max() < EXACT
    # With codes, llama.cpp rounds activations to 8 bits. A router may then choose another expert.
    path = tmp_path / "kept.gguf"
    pleat.run("convert", published, "--to", "gguf", "-o", path)
    noise = np.sqrt(np.mean(np.square(logits(path, ROWS) - expected), axis=-1))
    assert np.median(noise) < 0.2


def test_the_engine_computes_what_transformers_does(pleat, published, decoded, tmp_path):
    """From codes of the published form, and of that of MLX."""
    expected = losses(architectures.logits(decoded, ROWS), ROWS).mean(1)
    folded = tmp_path / "mlx"
    pleat.run("convert", published, "--to", "mlx", "-o", folded)
    for folder in (published, folded):
        report = evaluation(pleat, folder, ROWS, tmp_path)
        assert np.allclose(report["chunkLosses"], expected, rtol=MEANS)
    options = ("--max-tokens", 8, "--raw", "--json")
    tokens = [
        json.loads(pleat.run("run", folder, "abc", *options))["tokens"]
        for folder in (published, folded, decoded)
    ]
    assert tokens[0] == tokens[1] == tokens[2]


def test_mlx_computes_what_transformers_does(pleat, published, decoded, tmp_path):
    load = pytest.importorskip("mlx_lm.utils").load_model
    import mlx.core as mx

    expected = architectures.logits(decoded, ROWS)
    for source, options in [(published, []), (decoded, ["--dtype", "F32"])]:
        path = tmp_path / f"mlx-{source.name}"
        pleat.run("convert", source, "--to", "mlx", *options, "-o", path)
        mode = json.loads((path / "config.json").read_text()).get("quantization", {}).get("mode")
        assert mode == (None if options else "mxfp4")
        model, _ = load(path)
        found = np.array(model(mx.array(np.array(ROWS))).astype(mx.float32))
        noise = np.sqrt(np.mean(np.square(found - expected), axis=-1))
        assert np.median(noise) < (1e-3 if options else 0.2)


# Experts that are stored as inputs × outputs


@pytest.mark.parametrize("name", ["qwen3-vl-moe", "llama4-pictures"])
def test_mlx_runs_transposed_experts(pleat, tmp_path, name):
    load = pytest.importorskip("mlx_lm.utils").load_model
    import mlx.core as mx

    folder = make(name, tmp_path)
    plain, groups = tmp_path / "plain", tmp_path / "groups"
    pleat.run("convert", folder, "--to", "mlx", "--dtype", "F32", "-o", plain)
    options = ["-b", 8, "-g", 32, "--parameters", "F32"]
    pleat.run("quantize", folder, "--to", "mlx", *options, "-o", groups)
    pleat.run("verify", groups, "--against", folder, "--tolerance", 0.02)
    expected = architectures.logits(folder, ROWS)
    for path, limit in [(plain, 1e-3), (groups, 0.2)]:
        model, _ = load(path)
        model.set_dtype(mx.float32)
        found = np.array(model(mx.array(np.array(ROWS))).astype(mx.float32))
        noise = np.sqrt(np.mean(np.square(found - expected), axis=-1))
        assert np.median(noise) < limit


# MXFP4 of other programs


def test_mxfp4_keeps_its_codes(pleat, tmp_path):
    """From compressed-tensors to GGUF and MLX, and from GGUF to MLX."""
    mx = pytest.importorskip("mlx.core")
    folder = make("llama", tmp_path)
    generator = torch.Generator().manual_seed(22)
    packed = {}

    def coded(name, value):
        if not name.endswith("_proj.weight"):
            return [(name, value)]
        packed[name] = codes(generator, *value.shape)
        return [(f"{name}_packed", packed[name][0]), (f"{name}_scale", packed[name][1])]

    rewrite(folder, coded)
    weights = {"num_bits": 4, "type": "float", "strategy": "group", "group_size": 32}
    groups = {"group_0": {"targets": ["Linear"], "weights": weights, "format": None}}
    tool = {"quant_method": "compressed-tensors", "format": "mxfp4-pack-quantized"}
    configure(folder, quantization_config=tool | {"config_groups": groups, "ignore": ["lm_head"]})
    path = tmp_path / "kept.gguf"
    pleat.run("convert", folder, "--to", "gguf", "-o", path)
    kinds = [tensor.tensor_type.name for tensor in gguf.GGUFReader(path).tensors]
    assert kinds.count("MXFP4") == len(packed) == 7 * 2
    plain = tmp_path / "plain.gguf"
    pleat.run("convert", folder, "--to", "gguf", "--dtype", "F32", "-o", plain)
    found, expected = gguf_files.values(path), gguf_files.values(plain)
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    for number, source in enumerate([folder, path]):
        output = tmp_path / f"mlx-{number}"
        pleat.run("convert", source, "--to", "mlx", "-o", output)
        stored = mx.load(str(output / "model.safetensors"))
        for name, (words, scales) in packed.items():
            ours = np.array(stored[name]).view(np.uint8)
            assert np.array_equal(ours, words.numpy()), name
            own = np.array(stored[name.replace(".weight", ".scales")])
            assert np.array_equal(own, scales.numpy()), name
    # A weight of MLX decodes to the same numbers.
    name = "model.layers.0.mlp.up_proj.weight"
    scales = stored[name.replace(".weight", ".scales")]
    values = mx.dequantize(stored[name], scales, None, 32, 4, "mxfp4").astype(mx.float32)
    assert np.array_equal(np.array(values), expected["blk.0.ffn_up.weight"])


def test_an_exponent_that_means_nan_is_refused(pleat, published, tmp_path):
    folder = tmp_path / "damaged"
    shutil.copytree(published, folder)

    def damaged(name, value):
        if name == "model.layers.1.mlp.experts.down_proj_scales":
            value[2, 5, 1] = 255
        return [(name, value)]

    rewrite(folder, damaged)
    for format in ("gguf", "mlx"):
        result = pleat.attempt("convert", folder, "--to", format, "-o", tmp_path / format)
        assert result.returncode == 65
        assert "experts.down_proj" in result.stderr
        assert "not finite" in result.stderr


# Quantized checkpoints whose tensors are arranged


@pytest.mark.parametrize("format", ["pleat", "gptq", "compressed-tensors"])
@pytest.mark.parametrize("name", ["deepseek3", "qwen3.5-prediction", "qwen3-next"])
def test_arranging_commutes_with_decoding(pleat, tmp_path, name, format):
    folder = make(name, tmp_path)
    quantized = tmp_path / ("model.pleat" if format == "pleat" else format)
    bits = ["-b", "4", "-g", "32", "--to", format]
    pleat.run("quantize", folder, *bits, "-o", quantized)
    plain = tmp_path / "plain"
    pleat.run("convert", quantized, "--to", "safetensors", "--dtype", "F32", "-o", plain)
    paths = [tmp_path / f"{number}.gguf" for number in range(3)]
    pleat.run("convert", plain, "--to", "gguf", "--dtype", "F32", "-o", paths[0])
    pleat.run("convert", quantized, "--to", "gguf", "--dtype", "F32", "-o", paths[1])
    pleat.run("convert", quantized, "--to", "gguf", "--round", "-o", paths[2])
    expected, found, kept = (gguf_files.values(path) for path in paths)
    assert sorted(found) == sorted(kept) == sorted(expected)
    for tensor, values in expected.items():
        np.testing.assert_array_equal(found[tensor], values, err_msg=tensor)
        np.testing.assert_allclose(kept[tensor], values, rtol=0.02, atol=2e-3, err_msg=tensor)
    kinds = {tensor.tensor_type.name for tensor in gguf.GGUFReader(paths[2]).tensors}
    assert kinds & {"Q4_0", "Q4_1"}
    result = pleat.attempt("verify", paths[1], "--against", plain)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", [case.name for case in [*ARRANGED_CASES, *RECURRENT_CASES]])
def test_verify_compares_with_the_checkpoint(pleat, tmp_path, name):
    folder = make(name, tmp_path)
    path = tmp_path / "model.gguf"
    pleat.run("convert", folder, "--to", "gguf", "--dtype", "F32", "-o", path)
    report = json.loads(pleat.run("verify", path, "--against", folder, "--json"))
    assert report["holds"] and not report["mismatches"]
    compared = {tensor["name"].split("[")[0] for tensor in report["tensors"]}
    assert compared == set(tensors(path)) - {"rope_freqs.weight"}
    assert all(tensor["largestError"] < 1e-6 for tensor in report["tensors"])
