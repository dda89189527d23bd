"""Weights of codes and scales: pleat decodes them as the libraries do that write them, bit for bit.

The model is tinylm. F32 is what the libraries compute, and BF16 is the same, rounded once.
"""

import json
import re
from pathlib import Path

import adapters
import converter
import foreign
import models
import numpy as np
import pytest
import rtn
import scaled_models
import torch
import transformers
from foreign import BF16, E4M3, E5M2, E8M0, F16, F32, I8, U8
from peft import PeftModel
from scaled_models import (
    FINE_GRAINED,
    LAYOUTS,
    MADE_BY_MLX,
    SCHEMES,
    dequantized,
    layers,
    layout,
    preset,
)

HALF = 2.0**-8  # half a step of BF16, relative
LAYER = "model.layers.2.self_attn.q_proj"
ROWS = 256  # of this layer, which has as many columns
LEFT_OUT = "scales of activations and caches are left out"


def written(pleat, model: Path, out: Path, *options) -> dict[str, torch.Tensor]:
    """The tensors of the folder that `pleat convert` writes."""
    pleat.run("convert", model, "--to", "safetensors", *options, "-o", out)
    return adapters.stored(out)


def assert_decoded(pleat, model: Path, expected: dict, tmp_path: Path) -> None:
    """`expected` has the float32 weight of every linear layer, by path."""
    wide = written(pleat, model, tmp_path / "wide", "--dtype", "F32")
    narrow = written(pleat, model, tmp_path / "narrow", "--dtype", "BF16")
    usual = written(pleat, model, tmp_path / "usual")
    # Without the option, weights get the type of the others of the model.
    kind = next(tensor.dtype for name, tensor in usual.items() if "embed_tokens" in name)
    assert len(expected) == 42
    for path, weight in expected.items():
        name = f"{path}.weight"
        assert not rtn.same_bits(wide[name].numpy(), weight.numpy()), name
        assert narrow[name].dtype == BF16 and torch.equal(narrow[name], weight.to(BF16)), name
        assert usual[name].dtype == kind and torch.equal(usual[name], weight.to(kind)), name


# compressed-tensors


@pytest.fixture(scope="module")
def compressed(tinylm, tmp_path_factory):
    folder = tmp_path_factory.mktemp("compressed")

    def make(name: str, type: torch.dtype) -> Path:
        path = folder / f"{name}, {type}"
        if not path.exists():
            scaled_models.compressed_model(path, tinylm, SCHEMES[name], type)
        return path

    return make


def is_packed(name: str) -> bool:
    """Whether the library decompresses a format to BF16, whatever the type of the model."""
    return "pack" in name or name.startswith("mx")


@pytest.mark.parametrize("type", [F32, BF16], ids=["F32", "BF16"])
@pytest.mark.parametrize("name", SCHEMES)
def test_compressed_tensors_decodes_the_same_weights(pleat, compressed, tmp_path, name, type):
    """The library's `decompress` returns packed formats in BF16.

    For NVFP4 this rounds once, by up to half a step. It computes in float32 before, since the scale
    of the tensor is F32 and not a scalar.
    """
    folder, scheme = compressed(name, type), SCHEMES[name]
    found, largest = layers(adapters.stored(folder)), 0
    wide = {path: scaled_models.in_float32(parts, scheme) for path, parts in found.items()}
    assert_decoded(pleat, folder, wide, tmp_path)
    for path, parts in found.items():
        theirs = scaled_models.compressor(scheme).decompress(parts, scheme)["weight"]
        assert theirs.dtype == (BF16 if is_packed(name) else type)
        assert torch.equal(theirs, wide[path].to(theirs.dtype)), path
        largest = max(largest, float((theirs.float() / wide[path] - 1).nan_to_num().abs().max()))
    is_exact = type == F32 and not is_packed(name) or name.startswith("mx")
    assert largest == 0 if is_exact else 0 < largest <= HALF


@pytest.mark.parametrize("name", SCHEMES)
def test_transformers_decompresses_to_the_same_logits(pleat, compressed, tinylm, tmp_path, name):
    folder, out = compressed(name, BF16 if is_packed(name) else F32), tmp_path / "out"
    written(pleat, folder, out, "--dtype", "F32")
    wish = transformers.CompressedTensorsConfig(dequantize=True)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=F32, quantization_config=wish
    )
    ours, rows = models.load(out, tinylm), models.reference_rows()
    for path, weight in ours.named_parameters():
        if is_packed(name) and rtn.is_linear(path):  # which the library decodes to BF16
            weight.data = weight.data.to(BF16).float()
    found, expected = (models.logits(model, rows) for model in (ours, theirs))
    assert np.array_equal(found, expected)


def test_groups_of_several_formats(pleat, tinylm, tmp_path):
    """FP8, packed integers and NVFP4 in one model, which also rounds its KV cache."""
    folder = tmp_path / "theirs"
    expected = scaled_models.mixed(folder, tinylm)
    found = adapters.decoded(pleat, folder, tmp_path / "found")
    assert len(expected) == 42 and not [name for name in found if "scale" in name]
    for path, weight in expected.items():
        assert not rtn.same_bits(found[f"{path}.weight"], weight.numpy()), path
    result = pleat.attempt("convert", folder, "--to", "safetensors", "-o", tmp_path / "out")
    assert f"6 {LEFT_OUT}" in result.stderr
    assert "round activations and the KV cache" in result.stderr


# transformers


@pytest.fixture(scope="module")
def fp8(tinylm, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("fp8") / "model"
    return scaled_models.fine_grained(folder, tinylm, "blocks of 32 × 32")


@pytest.fixture(scope="module")
def wide(pleat, fp8, tmp_path_factory) -> Path:
    """The FP8 model in F32, as pleat decodes it."""
    out = tmp_path_factory.mktemp("wide") / "out"
    pleat.run("convert", fp8, "--to", "safetensors", "--dtype", "F32", "-o", out)
    return out


@pytest.mark.parametrize("name", [*FINE_GRAINED, "DeepSeek"])
def test_transformers_loads_the_same_weights(pleat, tinylm, tmp_path, name):
    if name == "DeepSeek":
        folder = scaled_models.deepseek(tmp_path / "theirs", tinylm)
    else:
        folder = scaled_models.fine_grained(tmp_path / "theirs", tinylm, name)
    theirs, rounded = (dequantized(folder, type).state_dict() for type in (F32, BF16))
    expected = {path: theirs[f"{path}.weight"] for path in layers(theirs)}
    assert_decoded(pleat, folder, expected, tmp_path)
    wide, narrow = (adapters.stored(tmp_path / kind) for kind in ("wide", "narrow"))
    assert sorted(wide) == sorted(narrow) == sorted(theirs)
    for key in theirs:
        assert torch.equal(wide[key], theirs[key].float()), key
        assert torch.equal(narrow[key], rounded[key].to(BF16)), key


# MLX


@pytest.mark.parametrize("name", MADE_BY_MLX)
def test_mlx_decodes_the_same_weights(pleat, tinylm, tmp_path, name):
    import mlx_models

    folder, (mode, predicate, count) = tmp_path / "theirs", MADE_BY_MLX[name]
    wish = {"q_mode": mode, "quant_predicate": predicate}
    mlx_models.mlx_lm.convert(str(tinylm), str(folder), quantize=True, **wish)
    expected = scaled_models.decoded_by_mlx(folder)
    found = adapters.decoded(pleat, folder, tmp_path / "found")
    assert len(expected) == count
    for path, values in expected.items():
        assert not rtn.same_bits(found[path], values), path


def test_a_scale_of_each_expert_of_mlx_is_not_ignored(pleat, tmp_path):
    """Without it, weights are about 700 times too large."""
    out = tmp_path / "out"
    name, weights = scaled_models.mlx_experts(tmp_path)
    command = ["convert", tmp_path, "--to", "safetensors", "--dtype", "F32", "-o", out]
    result = pleat.attempt(*command)
    if result.returncode != 0:
        assert result.returncode == 69 and name.removesuffix("weight") in result.stderr
    else:
        assert not rtn.same_bits(adapters.stored(out)[name].numpy(), weights)


# modelopt and fbgemm


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name != "partial"])
def test_layouts_of_modelopt_and_fbgemm(pleat, tinylm, tmp_path, name):
    folder, count = layout(tmp_path / "theirs", tinylm, name), LAYOUTS[name][2]
    found = layers(adapters.stored(folder))
    expected = {path: scaled_models.product(parts) for path, parts in found.items()}
    assert_decoded(pleat, folder, expected, tmp_path)
    assert not [name for name in adapters.stored(tmp_path / "narrow") if "scale" in name]
    result = pleat.attempt("convert", folder, "--to", "safetensors", "-o", tmp_path / "again")
    assert re.findall(rf"note: (\d+) {LEFT_OUT}", result.stderr) == [str(count)] * (count > 0)


@pytest.mark.parametrize("name", ["FP8", "NVFP4", "MXFP8"])
def test_the_config_of_modelopt_may_be_in_a_file_of_its_own(pleat, tinylm, tmp_path, name):
    encode, folder = LAYOUTS[name][0], tmp_path / "theirs"
    config = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": name}}
    scaled_models.write(folder, tinylm, encode, {}, hf_quant_config=config)
    found = layers(adapters.stored(folder))
    expected = {path: scaled_models.product(parts) for path, parts in found.items()}
    assert_decoded(pleat, folder, expected, tmp_path)


ALL_SCALES = [(E4M3, type) for type in (F16, BF16, F32, E8M0, U8)]
ALL_SCALES += [(codes, type) for codes in (E5M2, I8) for type in (F16, BF16, F32)]


@pytest.mark.parametrize(("codes", "scales"), ALL_SCALES, ids=str)
def test_every_code_times_many_scales(pleat, tmp_path, codes, scales):
    """A row for each scale, among them subnormal ones, with all finite codes."""
    numbers = torch.arange(256).to(U8).view(codes)
    numbers = numbers[numbers.float().isfinite()]
    # From 2^-127 to 2^92, so that all products are finite.
    factors = torch.arange(0, 220, 3).to(U8).view(E8M0)
    if scales not in (U8, E8M0):
        powers = torch.linspace(-24 if scales == F16 else -130, 9, 73)
        factors = (1.1 * torch.exp2(powers)).to(scales)
    weight = numbers.expand(len(factors), -1).contiguous()
    stored = (factors.view(U8) if scales == U8 else factors)[:, None]
    foreign.save({"a.weight": weight, "a.weight_scale": stored}, tmp_path / "model.safetensors")
    config = {"quantization_config": {"quant_method": "fp8"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = written(pleat, tmp_path, tmp_path / "out", "--dtype", "F32")
    assert list(found) == ["a.weight"]
    expected = weight.float() * factors.float()[:, None]
    assert not rtn.same_bits(found["a.weight"].numpy(), expected.numpy())


# Other formats


def assert_same_tensors(found: Path, expected: Path) -> None:
    found, expected = map(scaled_models.contents, (found, expected))
    assert sorted(found) == sorted(expected) and len(expected) >= 42
    for name, content in expected.items():
        assert found[name] == content, name


TARGETS = {
    "gguf": (".gguf", ["--type", "Q4_0", "--pure"]),
    "pleat": (".pleat", []),
    "mlx": ("", ["-b", 4, "-g", 32]),
    "compressed-tensors": ("", ["-g", 32]),
}


@pytest.mark.parametrize("to", TARGETS)
def test_codes_are_quantized_like_their_numbers(pleat, fp8, wide, tmp_path, to):
    suffix, options = TARGETS[to]
    outputs = [tmp_path / f"{name}{suffix}" for name in ("found", "expected")]
    for source, out in zip((fp8, wide), outputs, strict=True):
        pleat.run("quantize", source, "--to", to, *options, "-o", out)
    assert_same_tensors(*outputs)


@pytest.mark.parametrize("name", ["NVFP4", "mxfp4-pack-quantized", "mxfp6-pack-quantized"])
def test_fewer_bits_are_quantized_only_on_request(pleat, compressed, tinylm, tmp_path, name):
    source, out = tmp_path / "theirs", tmp_path / "out.pleat"
    source = layout(source, tinylm, name) if name in LAYOUTS else compressed(name, BF16)
    command = ["quantize", source, "--to", "pleat", "-o", out]
    result = pleat.attempt(*command)
    assert result.returncode == 69 and not out.exists()
    assert re.search(r"_proj\.weight: (.|\n)*hint: .*--requantize", result.stderr)
    pleat.run(*command, "--requantize")


@pytest.mark.llama
@pytest.mark.parametrize("name", ["partial", "FP8", "int-quantized"])
def test_llama_converts_to_the_same_numbers(pleat, compressed, tinylm, tmp_path, name):
    """Also partial blocks, which transformers does not decode."""
    source = tmp_path / "theirs"
    source = layout(source, tinylm, name) if name in LAYOUTS else compressed(name, F32)
    paths = {type: tmp_path / f"theirs-{type}.gguf" for type in ("f32", "bf16")}
    converter.convert(source, paths, "gpt-2")
    for type, path in paths.items():
        out = tmp_path / f"ours-{type}.gguf"
        pleat.run("convert", source, "--to", "gguf", "--dtype", type, "-o", out)
        assert_same_tensors(out, path)


# Folding


def test_a_fold_gives_what_peft_merges(pleat, fp8, trained, tmp_path):
    """PEFT merges in float32 what transformers decodes; pleat stores its sums in F16."""
    adapter, out, off = trained / "lora_fp16", tmp_path / "out", []
    pleat.run("fold", fp8, "--adapter", adapter, "-o", out)
    base = dequantized(fp8, F32).state_dict()
    merged = PeftModel.from_pretrained(dequantized(fp8, F32), adapter).merge_and_unload()
    found, expected = adapters.stored(out), merged.state_dict()
    assert sorted(found) == sorted(expected)
    for name, tensor in expected.items():
        assert torch.equal(tensor, base[name]) != rtn.is_linear(name), name
        if rtn.is_linear(name):
            off.append(adapters.steps(found[name], tensor.half(), base[name]).ravel())
        else:
            assert torch.equal(found[name].float(), tensor), name
    off = np.concatenate(off)
    # Sums of products in another order may round to the other side of a tie.
    assert off.max() <= 1 and np.count_nonzero(off) <= 1e-3 * off.size
    command = ["verify", out, "--against", fp8, "--adapter"]
    assert "42 of 42 tensors" in pleat.run(*command, adapter)
    assert pleat.attempt(*command, trained / "qlora_int4").returncode == 1


# Refusals

REFUSED = {
    "scales of inputs": ("NVFP4", "weight", {"pre_quant_scale": torch.ones(ROWS, dtype=BF16)}),
    "zero points": ("FP8", "weight", {"weight_zero_point": torch.zeros(1, dtype=I8)}),
    "an order of columns": ("FP8", "weight", {"weight_g_idx": torch.arange(ROWS).int()}),
    "scales of no shape": ("FP8", "weight", {"weight_scale": torch.ones(5, 3)}),
    "one scale too few": ("FP8", "weight", {"weight_scale": torch.ones(ROWS - 1)}),
    "two scales": ("NVFP4", "weight_scale_2", {"weight_scale_2": torch.ones(2)}),
    "a narrow scale": ("NVFP4", "weight_scale_2", {"weight_scale_2": torch.ones((), dtype=BF16)}),
    "no scale": ("FP8", "weight", {"weight_scale": None}),
    "no scale of the tensor": ("NVFP4", "", {"weight_scale_2": None}),
}


@pytest.mark.parametrize("options", [[], ["--dtype", "BF16"]], ids=["copied", "decoded"])
@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_product_is_refused(pleat, tinylm, tmp_path, kind, options):
    """Without `--dtype` the checkpoint may also be copied as it is, with all its tensors."""
    (name, tensor, changes), out = REFUSED[kind], tmp_path / "out"
    source = layout(tmp_path / "theirs", tinylm, name, at=LAYER, **changes)
    pleat.run("inspect", source)
    result = pleat.attempt("convert", source, "--to", "safetensors", *options, "-o", out)
    if result.returncode == 0 and not options:
        assert_same_tensors(out, source)
        return
    assert result.returncode == 69 and not out.exists()
    assert f"{LAYER}.{tensor}" in result.stderr and "hint" in result.stderr


def test_zero_points_of_compressed_tensors_are_refused(pleat, tinylm, tmp_path):
    scheme = preset("INT8", "int-quantized", symmetric=False)
    source = scaled_models.compressed_model(tmp_path / "theirs", tinylm, scheme, F32)
    out = tmp_path / "out.pleat"
    result = pleat.attempt("convert", source, "-o", out)
    assert result.returncode == 69 and not out.exists()
    assert "weight_zero_point" in result.stderr and "16-bit model" in result.stderr


@pytest.mark.parametrize("to", ["safetensors", "gguf", "mlx", "pleat"])
def test_a_scale_that_is_not_a_number_is_malformed(pleat, tinylm, tmp_path, to):
    nan, out = torch.tensor(torch.nan), tmp_path / f"out.{to}"
    source = layout(tmp_path / "theirs", tinylm, "FP8", at=LAYER, weight_scale=nan)
    result = pleat.attempt("convert", source, "--to", to, "-o", out)
    assert result.returncode == 65 and not out.exists()
    assert f"{LAYER}.weight" in result.stderr
    assert pleat.attempt("inspect", source, "--check").returncode == 1


@pytest.mark.parametrize("length", [7, 1000, -1], ids=["length", "header", "data"])
def test_a_truncated_file_is_malformed(pleat, fp8, tmp_path, length):
    folder, name = tmp_path / "cut", "model.safetensors"
    folder.mkdir()
    (folder / "config.json").write_bytes((fp8 / "config.json").read_bytes())
    (folder / name).write_bytes((fp8 / name).read_bytes()[:length])
    result = pleat.attempt("convert", folder, "--to", "safetensors", "-o", tmp_path / "out")
    assert result.returncode == 65 and "truncated" in result.stderr


# Inspection


def inspected(pleat, model: Path, option: str, key: str) -> dict:
    """What `pleat inspect` reports about each tensor."""
    report = json.loads(pleat.run("inspect", model, option, "--json"))
    return {tensor["name"]: tensor[key] for tensor in report["tensors"]}


def test_inspect_names_codes_scales_and_tiles(pleat, fp8):
    found = inspected(pleat, fp8, "--tensors", "encoding")
    expected = {"type": "scaled", "codes": "F8_E4M3", "scales": "F32", "tile": [32, 32]}
    assert found[f"{LAYER}.weight"] == expected | {"tensorScale": "none"}
    assert sum(encoding["type"] == "scaled" for encoding in found.values()) == 42
    assert len(found) == 57


def test_inspect_shows_statistics_of_the_numbers(pleat, fp8, wide):
    found = inspected(pleat, fp8, "--stats", "statistics")
    assert found == inspected(pleat, wide, "--stats", "statistics")
    weight = adapters.stored(wide)[f"{LAYER}.weight"]
    assert found[f"{LAYER}.weight"]["maximum"] == float(weight.max())
