"""compressed-tensors folders: the library unpacks ours, and pleat reads its, bit for bit."""

import json
import math
from pathlib import Path

import adapters
import models
import numpy as np
import pytest
import rtn
import safetensors.torch
import torch
import transformers
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationConfig, QuantizationScheme

BITS = (2, 3, 4, 5, 6, 8)
TYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}
CROSSING = (3, 5, 6)  # bits with codes that cross words only since version 0.18
SHAPES = ((5, 96), (33, 64), (40, 128), (1, 32))
# The tolerance of F16 logits against F32. They reach 17; measured: up to 0.016.
HALF = 0.1


def compressor():
    return BaseCompressor.get_value_from_registry("pack-quantized")


def settings(folder: Path) -> dict:
    return json.loads((folder / "config.json").read_text())["quantization_config"]


def schemes(folder: Path) -> QuantizationConfig:
    return QuantizationConfig.model_validate(settings(folder))


def unpacked(folder: Path) -> dict[str, np.ndarray]:
    """The weights of a folder with one scheme as float32, unpacked by the library."""
    (scheme,) = schemes(folder).config_groups.values()
    stored, result = adapters.stored(folder), {}
    for key in stored:
        if not key.endswith(".weight_packed"):
            continue
        path = key.removesuffix(".weight_packed")
        parts = ("packed", "scale", "shape", "zero_point")
        state = {
            f"weight_{part}": stored[f"{path}.weight_{part}"]
            for part in parts
            if f"{path}.weight_{part}" in stored
        }
        # Products of 16-bit scales and integers are exact in float32.
        state["weight_scale"] = state["weight_scale"].float()
        result[f"{path}.weight"] = compressor().decompress(state, scheme)["weight"].numpy()
    return result


def scheme(bits: int, symmetric: bool, group: int | None) -> QuantizationScheme:
    weights = QuantizationArgs(
        num_bits=bits,
        type="int",
        symmetric=symmetric,
        strategy="group" if group else "channel",
        group_size=group,
    )
    return QuantizationScheme(targets=["Linear"], weights=weights)


def whole_numbers(value: torch.Tensor, bits: int, dim: int = 1) -> torch.Tensor:
    """The packing of versions before 0.18: whole codes in each word, the first one lowest."""
    codes = (value.numpy().astype(np.int64) + 2 ** (bits - 1)).astype(np.uint32)
    codes = codes if dim == 1 else codes.T
    per = 32 // bits
    words = np.zeros((len(codes), math.ceil(codes.shape[1] / per)), np.uint32)
    for column in range(codes.shape[1]):
        words[:, column // per] |= codes[:, column] << np.uint32(bits * (column % per))
    words = words if dim == 1 else words.T
    return torch.from_numpy(np.ascontiguousarray(words).view(np.int32))


def write(folder: Path, tensors: dict, groups: dict[str, QuantizationScheme]) -> Path:
    """Writes a folder with a config of the library."""
    config = QuantizationConfig(
        config_groups=groups,
        format="pack-quantized",
        quantization_status="compressed",
        ignore=["lm_head"],
    ).to_dict()
    folder.mkdir(parents=True)
    text = {"model_type": "llama", "quantization_config": json.loads(json.dumps(config, default=str))}
    (folder / "config.json").write_text(json.dumps(text))
    safetensors.torch.save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


def made(shape: tuple, bits: int, symmetric: bool, group: int | None, type: torch.dtype, seed: int):
    """Random codes, scales and zero points, and the weights that they decode to."""
    random = np.random.default_rng(seed)
    rows, columns = shape
    groups = columns // group if group else 1
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1)
    codes = torch.from_numpy(random.integers(low, high, (rows, columns), dtype=np.int8))
    scales = torch.from_numpy(random.uniform(0.01, 0.1, (rows, groups))).to(type)
    zeros = torch.from_numpy(random.integers(low, high, (rows, groups), dtype=np.int8))
    zeros = torch.zeros_like(zeros) if symmetric else zeros
    repeats = columns // groups
    weights = (codes - zeros.repeat_interleave(repeats, 1).int()) * scales.float().repeat_interleave(
        repeats, 1
    )
    return codes, scales, zeros, weights


# Our folders in the library


@pytest.mark.parametrize("kind", ["symmetric", "zeropoint"])
@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("group", [32, "row"])
def test_the_library_unpacks_our_folder_bit_for_bit(pleat, tinylm, tmp_path, bits, kind, group):
    out = tmp_path / "out"
    options = ["-b", bits, "-g", group, "--scheme", kind]
    pleat.run("quantize", tinylm, "--to", "compressed-tensors", *options, "-o", out)
    ours, theirs = adapters.decoded(pleat, out, tmp_path / "decoded"), unpacked(out)
    assert len(theirs) == 42
    for name, values in theirs.items():
        assert not rtn.same_bits(ours[name], values), name


@pytest.mark.parametrize("type", TYPES)
def test_scales_have_the_type_of_all_floats(pleat, tinylm, tmp_path, type):
    out = tmp_path / "out"
    options = ["--parameters", type, "-g", 64, "--scheme", "zeropoint"]
    pleat.run("quantize", tinylm, "--to", "compressed-tensors", *options, "-o", out)
    found = {tensor.dtype for tensor in adapters.stored(out).values() if tensor.is_floating_point()}
    assert found == {TYPES[type]}
    config = json.loads((out / "config.json").read_text())
    assert config["dtype"] == str(TYPES[type]).removeprefix("torch.")
    if type != "F32":
        ours = adapters.decoded(pleat, out, tmp_path / "decoded")
        for name, values in unpacked(out).items():
            assert not rtn.same_bits(ours[name], values), name


def assert_runs(pleat, folder: Path, tinylm: Path, tmp_path: Path, **options) -> None:
    """The folder runs in transformers with the weights that pleat decodes."""
    found = transformers.AutoModelForCausalLM.from_pretrained(folder, **options)
    decoded = adapters.decoded(pleat, folder, tmp_path / "decoded")
    rows = torch.from_numpy(models.reference_rows()[:2, :32].astype(np.int64))
    with torch.no_grad():
        scores = found(rows).logits.float()
        expected = models.load(tmp_path / "decoded", tinylm)(rows).logits
    assert (scores - expected).abs().max() < HALF
    # The first run has unpacked the weights.
    state = found.state_dict()
    assert set(decoded) <= set(state)
    for name, values in decoded.items():
        assert torch.equal(state[name], torch.from_numpy(values).to(state[name].dtype)), name


@pytest.mark.parametrize("bits", BITS)
def test_transformers_runs_our_folder(pleat, tinylm, tmp_path, bits):
    out = tmp_path / "out"
    pleat.run("quantize", tinylm, "--to", "compressed-tensors", "-b", bits, "-g", 32, "-o", out)
    assert settings(out)["config_groups"]["group_0"]["weights"]["symmetric"] is True
    assert_runs(pleat, out, tinylm, tmp_path)


def test_transformers_runs_layers_of_several_schemes(pleat, tinylm, tmp_path):
    out = tmp_path / "out"
    rules = ["--rule", "*.down_proj=8:64", "--rule", "*.0.self_attn.*=4:row"]
    rules += ["--rule", "*.1.mlp.up_proj=keep"]
    options = ["-b", 3, "-g", 32, *rules]
    pleat.run("quantize", tinylm, "--to", "compressed-tensors", *options, "-o", out)
    assert len(schemes(out).config_groups) == 3
    assert settings(out)["ignore"] == ["lm_head", "model.layers.1.mlp.up_proj"]
    assert_runs(pleat, out, tinylm, tmp_path)


def test_transformers_runs_zero_points_if_dequantized(pleat, tinylm, tmp_path):
    """Otherwise transformers 5.23 expects unpacked zero points, and fails."""
    out = tmp_path / "out"
    options = ["-g", 32, "--scheme", "zeropoint"]
    pleat.run("quantize", tinylm, "--to", "compressed-tensors", *options, "-o", out)
    wish = transformers.CompressedTensorsConfig(dequantize=True)
    assert_runs(pleat, out, tinylm, tmp_path, quantization_config=wish)


# Folders of the library in pleat


@pytest.mark.parametrize("type", TYPES)
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("group", [32, None])
@pytest.mark.parametrize("bits", BITS)
def test_a_folder_packed_by_the_library_is_read_bit_for_bit(
    pleat, tmp_path, bits, group, symmetric, type
):
    chosen, tensors, expected = scheme(bits, symmetric, group), {}, {}
    for index, shape in enumerate(SHAPES):
        codes, scales, zeros, weights = made(shape, bits, symmetric, group, TYPES[type], index)
        state = {"weight": weights, "weight_scale": scales.float(), "weight_zero_point": zeros}
        packed = compressor().compress(state, chosen)
        assert symmetric == ("weight_zero_point" not in packed)
        packed["weight_scale"] = scales
        tensors |= {f"{index}.{name}": tensor for name, tensor in packed.items()}
        expected[f"{index}.weight"] = weights.numpy()
    folder = write(tmp_path / "theirs", tensors, {"group_0": chosen})
    found = adapters.decoded(pleat, folder, tmp_path / "decoded")
    assert sorted(found) == sorted(expected)
    for name, values in expected.items():
        assert not rtn.same_bits(found[name], values), name
    # The folder survives a round trip through a pleat file.
    pleat.run("convert", folder, "--to", "pleat", "-o", tmp_path / "through.pleat")
    back = tmp_path / "back"
    pleat.run("convert", tmp_path / "through.pleat", "--to", "compressed-tensors", "-o", back)
    again = adapters.stored(back)
    assert sorted(again) == sorted(tensors)
    for name, tensor in tensors.items():
        assert again[name].dtype == tensor.dtype, name
        assert torch.equal(again[name], tensor), name


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", BITS)
def test_the_packing_of_older_versions_is_read(pleat, tmp_path, bits, symmetric):
    chosen, tensors, expected, dense = scheme(bits, symmetric, 32), {}, {}, {}
    for index, shape in enumerate(SHAPES):
        codes, scales, zeros, weights = made(shape, bits, symmetric, 32, torch.bfloat16, index)
        parts = {"weight_packed": whole_numbers(codes, bits), "weight_scale": scales}
        parts["weight_shape"] = torch.tensor(shape)
        if not symmetric:
            parts["weight_zero_point"] = whole_numbers(zeros, bits, dim=0)
        tensors |= {f"{index}.{name}": tensor for name, tensor in parts.items()}
        expected[f"{index}.weight"] = weights.numpy()
        state = {"weight": weights, "weight_scale": scales.float(), "weight_zero_point": zeros}
        dense[f"{index}.weight_packed"] = compressor().compress(state, chosen)["weight_packed"]
    differ = any(
        tensors[name].shape != tensor.shape or not torch.equal(tensors[name], tensor)
        for name, tensor in dense.items()
    )
    assert differ == (bits in CROSSING)
    folder = write(tmp_path / "theirs", tensors, {"group_0": chosen})
    found = adapters.decoded(pleat, folder, tmp_path / "decoded")
    for name, values in expected.items():
        assert not rtn.same_bits(found[name], values), name
    # pleat writes it with the current packing.
    pleat.run("convert", folder, "--to", "compressed-tensors", "-o", tmp_path / "new")
    again = adapters.stored(tmp_path / "new")
    for name, tensor in dense.items():
        assert torch.equal(again[name], tensor), name


def test_a_group_index_is_applied(pleat, tmp_path):
    """Version 0.16 wrote it for actorder "group". Later versions neither write nor read it."""
    chosen, random = scheme(4, False, 32), np.random.default_rng(5)
    codes, scales, zeros, _ = made((40, 128), 4, False, 32, torch.float16, 6)
    index = random.permutation(np.repeat(np.arange(4), 32)).astype(np.int32)
    weights = (codes.int() - zeros[:, index].int()) * scales.float()[:, index]
    tensors = {
        "a.weight_packed": whole_numbers(codes, 4),
        "a.weight_scale": scales,
        "a.weight_zero_point": whole_numbers(zeros, 4, dim=0),
        "a.weight_shape": torch.tensor(codes.shape),
        "a.weight_g_idx": torch.from_numpy(index),
    }
    folder = write(tmp_path / "theirs", tensors, {"group_0": chosen})
    found = adapters.decoded(pleat, folder, tmp_path / "decoded")
    assert not rtn.same_bits(found["a.weight"], weights.numpy())
    refusal = pleat.attempt("convert", folder, "--to", "compressed-tensors", "-o", tmp_path / "out")
    assert refusal.returncode != 0 and "scattered" in refusal.stderr


# Folding


@pytest.mark.parametrize("kind", ["symmetric", "zeropoint"])
def test_a_fold_changes_only_zero_points(pleat, tinylm, trained, tmp_path, kind):
    source, out = tmp_path / "base", tmp_path / "out"
    options = ["-b", 8, "-g", 32, "--scheme", kind]
    pleat.run("quantize", tinylm, "--to", "compressed-tensors", *options, "-o", source)
    adapter = trained / "qalora_int4"
    refusal = pleat.attempt("fold", source, "--adapter", adapter, "-o", out)
    assert refusal.returncode != 0 and "--round accepts the loss" in refusal.stderr
    assert "--bias-type" not in refusal.stderr
    pleat.run("fold", source, "--adapter", adapter, "--round", "-o", out)
    before, after = adapters.stored(source), adapters.stored(out)
    assert settings(out)["config_groups"]["group_0"]["weights"]["symmetric"] is False
    for name, tensor in before.items():
        if not name.endswith("zero_point"):
            assert torch.equal(after[name], tensor), name
    base, folded = unpacked(source), unpacked(out)
    for name, delta in adapters.expanded(adapter).items():
        step = before[name.replace(".weight", ".weight_scale")].float().numpy()
        step = np.repeat(np.abs(step), 32, axis=1)
        zeros = (np.abs(folded[name] - base[name] - delta) <= 0.501 * step + 1e-6)
        # Zero points are clamped to the range of codes.
        assert zeros.mean() > 0.99, name
