"""MLX folders: mlx_lm loads and runs ours, and pleat reads its folders, bit for bit."""

import json
from pathlib import Path

import adapters
import mlx_models
import models
import numpy as np
import pytest
import rtn
import torch
import transformers
from mlx_models import PARAMETERS, arrays, decoded_by_mlx, float32, float_types, layers, load
from mlx_models import mlx_lm, mx
from pleat import PleatFile

BITS = (2, 3, 4, 5, 6, 8)
GROUP_SIZES = (32, 64, 128)
TYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
# The tolerance of logits in F32, which reach 15. Only the order of sums differs; measured: up to
# 2.5e-5. A single code of one layer that is one too high changes logits by 4.5e-4.
SUMS = 1e-4
# The tolerance in F16: MLX rounds weights, products and running sums to 11 bits. Measured: 0.05 to
# 0.11. Codes in another order in one layer change logits by 4.
HALF = 0.25
FEW = 8  # tokens that run in F16
# As for the training of the adapters: linears in groups of 32, embeddings and head in 16 bits.
AS_TRAINED = ["-g", 32, "--scheme", "minmax"]
AS_TRAINED += ["--rule", "model.embed_tokens=keep", "--rule", "lm_head=keep"]
# Every 32nd held-out row: 1020 predictions.
EVERY = 32
TOLERANCE = 0.005
LOGITS = 0.02  # the effect of F16 offsets on logits; measured in PyTorch: 0.0095


def distance(found, expected, rows: np.ndarray) -> float:
    """The largest difference between the logits of two models."""
    return float(np.abs(models.logits(found, rows) - models.logits(expected, rows)).max())


def in_transformers(pleat, folder: Path, tinylm: Path, decoded: Path):
    """The same weights, decoded by pleat and loaded in transformers."""
    pleat.run("convert", folder, "--to", "safetensors", "--dtype", "F32", "-o", decoded)
    return models.load(decoded, tinylm)


@pytest.fixture(scope="module")
def float32_tinylm(pleat, tinylm, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("float32") / "tinylm"
    pleat.run("convert", tinylm, "--to", "safetensors", "--dtype", "F32", "-o", out)
    return out


@pytest.fixture(scope="module")
def bfloat16_tinylm(tinylm, tmp_path_factory) -> Path:
    """A model that transformers loaded and saved in BF16, with both config keys for the type."""
    out = tmp_path_factory.mktemp("bfloat16") / "tinylm"
    model = transformers.AutoModelForCausalLM.from_pretrained(tinylm, dtype=torch.bfloat16)
    model.save_pretrained(out)
    transformers.AutoTokenizer.from_pretrained(tinylm).save_pretrained(out)
    config = json.loads((out / "config.json").read_text())
    assert config["dtype"] == "bfloat16"
    # mlx_lm reads this key.
    config["torch_dtype"] = "bfloat16"
    (out / "config.json").write_text(json.dumps(config))
    return out


@pytest.fixture(scope="module")
def every_combination(pleat, tinylm, tmp_path_factory):
    """A folder for each type, with all eighteen combinations: one layer for each number of bits."""
    folder = tmp_path_factory.mktemp("combinations")

    def make(type: str) -> Path:
        out = folder / type
        if out.exists():
            return out
        rules = ["--rule", "lm_head=keep"]
        for index, bits in enumerate(BITS):
            layer = f"model.layers.{index}"
            parts = ("self_attn.*", "mlp.*", "mlp.down_proj")
            for part, size in zip(parts, GROUP_SIZES, strict=True):
                rules += ["--rule", f"{layer}.{part}={bits}:{size}"]
        pleat.run("quantize", tinylm, "--to", "mlx", "--parameters", type, *rules, "-o", out)
        found = layers(out)
        assert len(found) == 43
        assert set(found.values()) == {(bits, size) for bits in BITS for size in GROUP_SIZES}
        return out

    return make


# Our folders in MLX


@pytest.mark.parametrize("group_size", GROUP_SIZES)
@pytest.mark.parametrize("bits", BITS)
def test_mlx_matches_our_decoded_weights(pleat, float32_tinylm, tinylm, tmp_path, bits, group_size):
    """All numbers are in F32, in which transformers computes too."""
    out = tmp_path / "out"
    options = ["--to", "mlx", "-b", bits, "-g", group_size, "--parameters", "F32"]
    pleat.run("quantize", float32_tinylm, *options, "-o", out)
    found = layers(out)
    assert len(found) == 44 and set(found.values()) == {(bits, group_size)}
    assert float_types(out) == {mx.float32}
    expected = in_transformers(pleat, out, tinylm, tmp_path / "decoded")
    assert distance(load(out, None), expected, models.reference_rows()[:, :32]) < SUMS


@pytest.mark.parametrize("bits", BITS)
def test_mlx_computes_in_half_precision(pleat, tinylm, tmp_path, bits):
    """All tensors are F16: a single F32 tensor would make the logits F32."""
    out = tmp_path / "out"
    pleat.run("quantize", tinylm, "--to", "mlx", "-b", bits, "-o", out)
    assert float_types(out) == {mx.float16}
    model, rows = load(out, None), models.reference_rows()[:, :FEW]
    assert model.model(mx.array(rows.astype(np.int32))).dtype == mx.float16
    expected = in_transformers(pleat, out, tinylm, tmp_path / "decoded")
    assert distance(model, expected, rows) < HALF
    model.model.set_dtype(mx.float32)
    assert distance(model, expected, rows) < SUMS


def test_mlx_runs_layers_of_all_kinds(pleat, every_combination, tinylm, tmp_path):
    out = every_combination("F16")
    expected = in_transformers(pleat, out, tinylm, tmp_path / "decoded")
    rows = models.reference_rows()
    assert distance(load(out), expected, rows) < SUMS
    assert distance(load(out, None), expected, rows[:, :FEW]) < HALF


def test_mlx_runs_shards(pleat, tinylm, tmp_path):
    whole, shards = tmp_path / "whole", tmp_path / "shards"
    pleat.run("quantize", tinylm, "--to", "mlx", "-o", whole)
    pleat.run("quantize", tinylm, "--to", "mlx", "--shard", "1MB", "-o", shards)
    assert len(list(shards.glob("model-*-of-*.safetensors"))) > 2
    assert distance(load(shards), load(whole), models.reference_rows()[:, :FEW]) == 0


def test_mlx_finds_the_tokenizer(pleat, tinylm, tmp_path):
    pleat.run("quantize", tinylm, "--to", "mlx", "-o", tmp_path / "out")
    _, found = mlx_lm.load(str(tmp_path / "out"), lazy=True)
    expected = transformers.AutoTokenizer.from_pretrained(tinylm)
    text = "def fold(self, δ):\n    return self.bias + δ\n"
    assert found.encode(text) == expected.encode(text)
    assert found.eos_token_ids == {expected.eos_token_id}


@pytest.mark.parametrize("type", TYPES)
def test_mlx_decodes_the_same_weights(pleat, every_combination, tmp_path, type):
    """Both decode in F32, bit for bit."""
    out = every_combination(type)
    ours = adapters.decoded(pleat, out, tmp_path / "decoded")
    for name, values in decoded_by_mlx(out).items():
        assert not rtn.same_bits(ours[name], values), name


@pytest.mark.parametrize("type", TYPES)
def test_mlx_rounds_the_product_and_the_sum(every_combination, type):
    """In F16 and BF16 mx.dequantize gives round(round(s · q) + b), bit for bit."""
    out = every_combination(type)
    tensors = arrays(out)

    def rounded(values: np.ndarray) -> np.ndarray:
        return torch.from_numpy(values).to(TYPES[type]).float().numpy()

    for path, (bits, size) in layers(out).items():
        words, *parameters = (tensors[f"{path}.{part}"] for part in ("weight", *PARAMETERS))
        s, b = (np.repeat(float32(part), size, axis=1) for part in parameters)
        expected = rounded(rounded(s * mlx_models.codes(words, bits)) + b)
        found = mx.dequantize(words, *parameters, size, bits)
        assert found.dtype == parameters[0].dtype
        assert not rtn.same_bits(float32(found), expected), path


# Folders of MLX in pleat


def down_proj_at_eight(path: str, _) -> bool | dict:
    if path.endswith("down_proj"):
        return {"bits": 8, "group_size": 32}
    return path != "lm_head"


MADE_BY_MLX = {
    "uniform": {"q_bits": 4, "q_group_size": 64},
    "mixed": {"q_bits": 3, "q_group_size": 128, "quant_predicate": down_proj_at_eight},
    "recipe": {"q_group_size": 64, "quant_predicate": "mixed_2_6"},
    "bfloat16": {"q_bits": 5, "q_group_size": 32, "dtype": "bfloat16"},
}


@pytest.fixture(scope="module")
def made_by_mlx(tinylm, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlx")

    def make(name: str) -> Path:
        out = folder / name
        if not out.exists():
            mlx_lm.convert(str(tinylm), str(out), quantize=True, **MADE_BY_MLX[name])
        return out

    return make


@pytest.mark.parametrize("name", MADE_BY_MLX)
def test_a_folder_of_mlx_is_read_bit_for_bit(pleat, made_by_mlx, tmp_path, name):
    theirs, out = made_by_mlx(name), tmp_path / "out.pleat"
    pleat.run("convert", theirs, "--to", "pleat", "-o", out)
    file, parts = PleatFile.open(out), adapters.parts(out)
    stored, quantized = adapters.stored(theirs), layers(theirs)
    expected = {}
    for key in stored:
        path, _, part = key.rpartition(".")
        if path not in quantized:
            expected[key] = {"values": adapters.bytes_of(stored[key])}
        elif part == "weight":
            expected[key] = {
                role: adapters.bytes_of(stored[f"{path}.{part}"])
                for role, part in (("codes", "weight"), ("scales", "scales"), ("biases", "biases"))
            }
    assert sorted(parts) == sorted(expected)
    for key, bytes in expected.items():
        assert parts[key] == bytes, key
    for path, (bits, size) in quantized.items():
        encoding = file.tensors[f"{path}.weight"]["encoding"]
        assert (encoding["bits"], encoding["groupSize"]) == (bits, size), path
    for key, values in decoded_by_mlx(theirs).items():
        assert not rtn.same_bits(file.floats(key), values), key


@pytest.mark.parametrize("name", MADE_BY_MLX)
def test_a_folder_of_mlx_survives_a_round_trip(pleat, made_by_mlx, tmp_path, name):
    theirs = made_by_mlx(name)
    through, back, direct = (tmp_path / name for name in ("through.pleat", "back", "direct"))
    pleat.run("convert", theirs, "--to", "pleat", "-o", through)
    pleat.run("convert", through, "--to", "mlx", "-o", back)
    pleat.run("convert", theirs, "--to", "mlx", "-o", direct)
    expected = adapters.stored(theirs)
    for folder in (back, direct):
        found = adapters.stored(folder)
        assert sorted(found) == sorted(expected)
        for key in expected:
            assert found[key].dtype == expected[key].dtype, key
            assert adapters.bytes_of(found[key]) == adapters.bytes_of(expected[key]), key
        assert layers(folder) == layers(theirs)
    assert distance(load(back), load(theirs), models.reference_rows()[:, :32]) == 0


# Folding


@pytest.fixture(scope="module")
def base(pleat, tinylm, tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")

    def make(bits: int) -> Path:
        out = folder / str(bits)
        if not out.exists():
            pleat.run("quantize", tinylm, "--to", "mlx", "-b", bits, *AS_TRAINED, "-o", out)
        return out

    return make


def assert_only_biases_moved(before: Path, after: Path, adapter: Path) -> None:
    """Biases change by (alpha / r) · (G / 32) · B · A, up to one unit in the last place of F16."""
    deltas = adapters.qalora_deltas(adapter)
    old, new = arrays(before), arrays(after)
    assert sorted(old) == sorted(new)
    moved = {name.replace(".weight", ".biases"): delta for name, delta in deltas.items()}
    assert len(moved) == 42
    for key, values in old.items():
        if key not in moved:
            assert mx.array_equal(values, new[key]), key
            continue
        expected = (float32(values).astype(np.float64) + moved[key]).astype(np.float16)
        found = np.array(new[key])
        assert np.all(np.abs(found - expected) <= np.spacing(np.abs(expected))), key


@pytest.mark.parametrize("bits", [4, 3, 2])
def test_a_folded_qalora_runs_in_mlx_like_the_unmerged_adapter(
    pleat, base, tinylm, trained, tmp_path, bits
):
    """The unmerged adapter runs in PyTorch, without pleat. Perplexities use every 32nd row."""
    adapter, out = trained / f"qalora_int{bits}", tmp_path / "out"
    pleat.run("fold", base(bits), "--adapter", adapter, "-o", out)
    assert_only_biases_moved(base(bits), out, adapter)
    found = load(out)
    reference = models.reference_logits(adapter / "reference.npz")
    assert np.abs(models.logits(found, models.reference_rows())[0] - reference).max() < LOGITS
    if bits != 2:  # whose loss is the largest
        return
    unmerged = models.load(tinylm, tinylm)
    weights = unmerged.state_dict()
    updates = adapters.expanded(adapter)
    for name in updates:
        weights[name].copy_(torch.from_numpy(rtn.minmax(weights[name].numpy(), bits)))
    without = models.perplexity(unmerged, "B", EVERY)
    for name, update in updates.items():
        weights[name] += torch.from_numpy(update.astype(np.float32))
    expected = models.perplexity(unmerged, "B", EVERY)
    assert expected < 0.9 * without
    assert models.perplexity(found, "B", EVERY) == pytest.approx(expected, rel=TOLERANCE)


def test_a_qalora_folds_into_a_folder_of_mlx(pleat, tinylm, trained, tmp_path):
    """About half of the scales of MLX are negative."""
    theirs, out, adapter = tmp_path / "theirs", tmp_path / "out", trained / "qalora_int4"
    mlx_lm.convert(str(tinylm), str(theirs), quantize=True, q_bits=4, q_group_size=32)
    scales = np.concatenate(
        [float32(array).ravel() for key, array in arrays(theirs).items() if key.endswith("scales")]
    )
    assert 0.3 < np.mean(scales < 0) < 0.7
    pleat.run("fold", theirs, "--adapter", adapter, "-o", out)
    assert_only_biases_moved(theirs, out, adapter)
    expected = models.load(tinylm, tinylm)
    state, updates = expected.state_dict(), adapters.expanded(adapter)
    for name, values in decoded_by_mlx(theirs).items():
        update = updates.get(name, np.float32(0))
        state[name].copy_(torch.from_numpy((values + update).astype(np.float32)))
    assert distance(load(out), expected, models.reference_rows()) < LOGITS


def test_a_folded_bf16_base_becomes_f16(pleat, bfloat16_tinylm, tinylm, trained, tmp_path):
    """All floats become F16: MLX would compute in F32 with two types."""
    source, out, adapter = tmp_path / "base", tmp_path / "out", trained / "qalora_int4"
    options = ["--to", "mlx", "-b", 4, "--parameters", "BF16"]
    pleat.run("quantize", bfloat16_tinylm, *options, *AS_TRAINED, "-o", source)
    assert float_types(source) == {mx.bfloat16}
    pleat.run("fold", source, "--adapter", adapter, "-o", out)
    assert float_types(out) == {mx.float16}
    assert_only_biases_moved(source, out, adapter)
    model, rows = load(out, None), models.reference_rows()[:, :FEW]
    assert model.model(mx.array(rows.astype(np.int32))).dtype == mx.float16
    expected = in_transformers(pleat, out, tinylm, tmp_path / "decoded")
    assert distance(model, expected, rows) < HALF
    model.model.set_dtype(mx.float32)
    assert distance(model, expected, models.reference_rows()) < SUMS


def assert_config_names(type: str, folder: Path) -> None:
    """The config names the type, to which mlx_lm casts all floats when it converts a folder."""
    config = json.loads((folder / "config.json").read_text())
    name = str(TYPES[type]).removeprefix("torch.")
    assert float_types(folder) == {getattr(mx, name)}
    assert (config["dtype"], config["torch_dtype"]) == (name, name)


@pytest.mark.parametrize("type", TYPES)
def test_a_quantized_config_names_the_type_of_the_tensors(pleat, bfloat16_tinylm, tmp_path, type):
    out = tmp_path / "out"
    pleat.run("quantize", bfloat16_tinylm, "--to", "mlx", "--parameters", type, "-o", out)
    assert_config_names(type, out)


def test_a_folded_config_names_the_type_of_the_tensors(pleat, bfloat16_tinylm, trained, tmp_path):
    source, out, adapter = tmp_path / "base", tmp_path / "out", trained / "qalora_int4"
    options = ["--to", "mlx", "-b", 4, "--parameters", "BF16", *AS_TRAINED]
    pleat.run("quantize", bfloat16_tinylm, *options, "-o", source)
    assert_config_names("BF16", source)
    pleat.run("fold", source, "--adapter", adapter, "-o", out)
    assert_config_names("F16", out)
