"""AWQ folders, against a copy of AutoAWQ's packing, since the library can no longer be imported."""

import json
from pathlib import Path

import adapters
import numpy as np
import pytest
import rtn
import safetensors.torch
import torch
import transformers

# awq/utils/packing_utils.py of autoawq 0.2.9: the column of each nibble of a word, lowest first.
ORDER = [0, 2, 4, 6, 1, 3, 5, 7]
TYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}


def packed(values: np.ndarray) -> torch.Tensor:
    """Packs 4-bit values [n, out] into words [n, out / 8]."""
    words = np.zeros((len(values), values.shape[1] // 8), np.uint32)
    for nibble, column in enumerate(ORDER):
        words |= values[:, column::8].astype(np.uint32) << np.uint32(4 * nibble)
    return torch.from_numpy(words.view(np.int32))


def unpacked(words: torch.Tensor) -> np.ndarray:
    words = words.numpy().view(np.uint32)
    values = np.zeros((len(words), 8 * words.shape[1]), np.int32)
    for nibble, column in enumerate(ORDER):
        values[:, column::8] = words >> np.uint32(4 * nibble) & 15
    return values


def decoded(folder: Path) -> dict[str, np.ndarray]:
    """The weights as float32 [out, in]: (code − zero) · scale."""
    tensors, result = adapters.stored(folder), {}
    for key in tensors:
        if key.endswith(".qweight"):
            path = key.removesuffix(".qweight")
            codes, zeros = unpacked(tensors[key]), unpacked(tensors[f"{path}.qzeros"])
            scales = tensors[f"{path}.scales"].float().numpy()
            size = len(codes) // len(scales)
            weights = (codes - zeros.repeat(size, axis=0)) * scales.repeat(size, axis=0)
            result[f"{path}.weight"] = np.ascontiguousarray(weights.astype(np.float32).T)
    return result


def settings(folder: Path) -> dict:
    return json.loads((folder / "config.json").read_text())["quantization_config"]


def write(folder: Path, layers: dict, group: int) -> Path:
    """Writes layers of codes [in, out], zeros and scales as AutoAWQ does."""
    tensors = {}
    for path, (codes, zeros, scales) in layers.items():
        tensors[f"{path}.qweight"] = packed(codes)
        tensors[f"{path}.qzeros"] = packed(zeros)
        tensors[f"{path}.scales"] = scales
    quantization = {
        "quant_method": "awq",
        "zero_point": True,
        "group_size": group,
        "bits": 4,
        "version": "gemm",
        "modules_to_not_convert": None,
    }
    folder.mkdir(parents=True)
    config = {"model_type": "llama", "quantization_config": quantization}
    (folder / "config.json").write_text(json.dumps(config))
    safetensors.torch.save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.mark.parametrize("group", [32, 64, 128, "row"])
def test_the_packing_of_autoawq_decodes_our_folder_bit_for_bit(pleat, tinylm, tmp_path, group):
    out = tmp_path / "out"
    pleat.run("quantize", tinylm, "--to", "awq", "-g", group, "-o", out)
    ours, theirs = adapters.decoded(pleat, out, tmp_path / "decoded"), decoded(out)
    assert len(theirs) == 42
    for name, values in theirs.items():
        assert not rtn.same_bits(ours[name], values), name
    assert settings(out)["group_size"] == (-1 if group == "row" else group)
    shapes = {name: tuple(tensor.shape) for name, tensor in adapters.stored(out).items()}
    path = "model.layers.0.mlp.down_proj"
    groups = 1 if group == "row" else 768 // group
    assert shapes[f"{path}.qweight"] == (768, 256 // 8)
    assert shapes[f"{path}.qzeros"] == (groups, 256 // 8)
    assert shapes[f"{path}.scales"] == (groups, 256)


def test_codes_are_rounded_to_nearest(pleat, tinylm, tmp_path):
    """AutoAWQ's formula without its search: errors are within the rounding."""
    out = tmp_path / "out"
    how = ["-g", 32, "--scheme", "zeropoint"]
    pleat.run("quantize", tinylm, "--to", "awq", *how, "-o", out)
    source, found, stored = adapters.stored(tinylm), decoded(out), adapters.stored(out)
    for name, values in found.items():
        scales = stored[name.replace(".weight", ".scales")].float().numpy().T
        error = np.abs(values - source[name].float().numpy())
        # Half a step for the code, and half a step for the zero point if a group excludes zero.
        assert (error <= 1.01 * np.repeat(scales, 32, axis=1)).all(), name


@pytest.mark.parametrize("type", TYPES)
@pytest.mark.parametrize("group", [32, 128, -1])
def test_a_folder_packed_like_autoawq_is_read_bit_for_bit(pleat, tmp_path, group, type):
    random, layers, expected = np.random.default_rng(7), {}, {}
    for index, (rows, columns) in enumerate([(8, 128), (40, 256), (264, 384)]):
        size = columns if group == -1 else group
        codes = random.integers(0, 16, (columns, rows))
        zeros = random.integers(0, 16, (columns // size, rows))
        scales = torch.from_numpy(random.uniform(0.01, 0.1, zeros.shape)).to(TYPES[type])
        layers[f"model.layers.{index}.q_proj"] = codes, zeros, scales
        weights = (codes - zeros.repeat(size, 0)) * scales.float().numpy().repeat(size, 0)
        expected[f"model.layers.{index}.q_proj.weight"] = np.ascontiguousarray(
            weights.astype(np.float32).T
        )
    theirs = write(tmp_path / "theirs", layers, group)
    found = adapters.decoded(pleat, theirs, tmp_path / "decoded")
    assert sorted(found) == sorted(expected)
    for name, values in expected.items():
        assert not rtn.same_bits(found[name], values), name
    if type != "F16":
        return
    through, back = tmp_path / "through.pleat", tmp_path / "back"
    pleat.run("convert", theirs, "--to", "pleat", "-o", through)
    pleat.run("convert", through, "--to", "awq", "-o", back)
    before, after = adapters.stored(theirs), adapters.stored(back)
    assert sorted(before) == sorted(after)
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor), name


def test_transformers_reads_our_config(pleat, tinylm, tmp_path):
    out = tmp_path / "out"
    rule = ["--rule", "*.1.mlp.up_proj=keep"]
    pleat.run("quantize", tinylm, "--to", "awq", "-g", 64, *rule, "-o", out)
    config = transformers.AwqConfig.from_dict(settings(out))
    assert (config.bits, config.group_size, config.zero_point) == (4, 64, True)
    assert config.format == "gemm"
    assert config.modules_to_not_convert == ["lm_head", "model.layers.1.mlp.up_proj"]
    assert config.quant_method == "awq"
    found = {tensor.dtype for tensor in adapters.stored(out).values()}
    assert found == {torch.int32, torch.float16}
    assert json.loads((out / "config.json").read_text())["dtype"] == "float16"


def test_awq_and_compressed_tensors_hold_the_same_codes(pleat, tinylm, tmp_path):
    first, second, third = (tmp_path / name for name in ("1", "2", "3"))
    pleat.run("quantize", tinylm, "--to", "awq", "-g", 32, "-o", first)
    pleat.run("convert", first, "--to", "compressed-tensors", "-o", second)
    pleat.run("convert", second, "--to", "awq", "-o", third)
    pleat.run("verify", second, "--against", first, "--tolerance", 0)
    before, after = adapters.stored(first), adapters.stored(third)
    assert sorted(before) == sorted(after)
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor), name
    assert settings(third) == settings(first)


def test_a_symmetric_model_gets_central_zero_points(pleat, tinylm, tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    options = ["-b", 4, "-g", 32, "--scheme", "symmetric"]
    pleat.run("quantize", tinylm, "--to", "compressed-tensors", *options, "-o", source)
    pleat.run("convert", source, "--to", "awq", "-o", out)
    for name, tensor in adapters.stored(out).items():
        if name.endswith(".qzeros"):
            assert (unpacked(tensor) == 8).all(), name
    pleat.run("verify", out, "--against", source, "--tolerance", 0)


def test_a_fold_changes_only_zero_points(pleat, tinylm, trained, tmp_path):
    source, out, adapter = tmp_path / "base", tmp_path / "out", trained / "qalora_int4"
    pleat.run("quantize", tinylm, "--to", "awq", "-g", 32, "-o", source)
    refusal = pleat.attempt("fold", source, "--adapter", adapter, "-o", out)
    assert refusal.returncode != 0 and "--round accepts the loss" in refusal.stderr
    assert "--widen" not in refusal.stderr and "--bias-type" not in refusal.stderr
    pleat.run("fold", source, "--adapter", adapter, "--round", "-o", out)
    before, after = adapters.stored(source), adapters.stored(out)
    deltas = adapters.qalora_deltas(adapter)
    for name, tensor in before.items():
        if not name.endswith(".qzeros"):
            assert torch.equal(after[name], tensor), name
            continue
        path = name.removesuffix(".qzeros")
        scales = before[f"{path}.scales"].double().numpy()
        moved = unpacked(tensor) - deltas[f"{path}.weight"].T / scales
        expected = np.clip(np.rint(moved), 0, 15)
        # Sums in float32 may round differently near a half.
        near = np.abs(moved - np.floor(moved) - 0.5) < 1e-3
        assert ((unpacked(after[name]) == expected) | near).all(), name
