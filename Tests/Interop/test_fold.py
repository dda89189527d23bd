"""Adapters folded into tinylm run in transformers like the unmerged adapters in PyTorch."""

import json

import adapters
import gguf
import gguf_files
import models
import numpy as np
import pytest
import rtn
import safetensors.numpy
from tinylm_gguf import checkpoint

# All values were computed with PyTorch in float32, without pleat, from the adapters in
# fixtures/adapters; see fixtures/README.md. They are perplexities on the set B, which is Python
# source, like the training data of the adapters.
QALORA = 51.623  # at two bits, both unmerged and folded
LORA = 45.885  # on the 16-bit base
LORA_THEN_ROUNDED = 46.891  # at three bits
QLORA_ROUNDED_AGAIN = 46.161  # at four bits
TOLERANCE = 0.005
# In PyTorch, rounding the folded offsets to F16 changed logits by 0.0057 to 0.0095.
LOGITS = 0.02
ATTENTION_HEADS = (4, 2)
# The share of weights of a matrix whose group has a sum that rounds to the other side of a tie.
TIES = 1e-3  # measured: at most 4.6e-4; without the adapter, 0.99 of them differ
AS_TRAINED = ["-g", 32, "--scheme", "minmax"]


@pytest.fixture(scope="module")
def base(pleat, tinylm, tmp_path_factory):
    """tinylm quantized as for the training of the adapters, once for each number of bits."""
    folder = tmp_path_factory.mktemp("base")

    def make(bits: int):
        path = folder / f"{bits}.pleat"
        if not path.exists():
            pleat.run("quantize", tinylm, "--to", "pleat", "-b", bits, *AS_TRAINED, "-o", path)
        return path

    return make


@pytest.fixture(scope="module")
def folded(pleat, base, trained, tmp_path_factory):
    """The QA-LoRA adapter for a number of bits, folded into the base with these bits."""
    folder = tmp_path_factory.mktemp("folded")

    def make(bits: int):
        path = folder / f"{bits}.pleat"
        if not path.exists():
            pleat.run("fold", base(bits), "--adapter", trained / f"qalora_int{bits}", "-o", path)
        return path

    return make


def model_of(pleat, path, tinylm, folder):
    pleat.run("convert", path, "--to", "safetensors", "--dtype", "F32", "-o", folder)
    return models.load(folder, tinylm)


def assert_logits(model, reference, tolerance=LOGITS) -> None:
    found = models.logits(model, models.reference_rows())[0]
    largest = float(np.abs(found - models.reference_logits(reference)).max())
    assert largest < tolerance


def assert_perplexity(model, expected: float) -> None:
    assert models.perplexity(model, "B") == pytest.approx(expected, rel=TOLERANCE)


@pytest.mark.parametrize("bits", [4, 3, 2])
def test_the_base_is_the_one_that_the_adapter_was_trained_on(pleat, base, tinylm, tmp_path, bits):
    reference = models.REFERENCE / f"reference_rtn_int{bits}.npz"
    assert_logits(model_of(pleat, base(bits), tinylm, tmp_path / "model"), reference, 1e-3)


@pytest.mark.parametrize("bits", [4, 3, 2])
def test_a_folded_qalora_runs_like_the_unmerged_adapter(
    pleat, folded, tinylm, trained, tmp_path, bits
):
    model = model_of(pleat, folded(bits), tinylm, tmp_path / "model")
    assert_logits(model, trained / f"qalora_int{bits}" / "reference.npz")
    if bits == 2:  # the bits of all of them are compared below
        assert_perplexity(model, QALORA)


@pytest.mark.parametrize("bits", [4, 3, 2])
def test_float32_offsets_lose_nothing(pleat, base, tinylm, trained, tmp_path, bits):
    """In PyTorch, logits with the unmerged adapter were within 1.6e-5 of these."""
    adapter, path = trained / f"qalora_int{bits}", tmp_path / "folded.pleat"
    pleat.run("fold", base(bits), "--adapter", adapter, "--bias-type", "F32", "-o", path)
    model = model_of(pleat, path, tinylm, tmp_path / "model")
    assert_logits(model, adapter / "reference.npz", 1e-4)


def test_a_folded_lora_runs_like_the_unmerged_adapter(pleat, tinylm, trained, tmp_path):
    pleat.run("fold", tinylm, "--adapter", trained / "lora_fp16", "-o", tmp_path / "merged")
    model = models.load(tmp_path / "merged", tinylm)
    assert_logits(model, trained / "lora_fp16" / "reference.npz")
    assert_perplexity(model, LORA)


@pytest.mark.parametrize("bits", [4, 3, 2])
def test_quantizing_with_an_adapter_merges_first(pleat, tinylm, trained, tmp_path, bits):
    path = tmp_path / "model.pleat"
    adapter = trained / "lora_fp16"
    options = ["--adapter", adapter, "--to", "pleat", "-b", bits]
    pleat.run("quantize", tinylm, *options, *AS_TRAINED, "-o", path)
    found, updates = adapters.decoded(pleat, path, tmp_path / "model"), adapters.updates(adapter)
    assert len(updates) == 42
    for name, values in checkpoint(tinylm).items():
        if name not in updates:
            assert not rtn.same_bits(found[name], values.astype(np.float32)), name
            continue
        expected = rtn.minmax((values + updates[name]).astype(np.float32), bits)
        assert np.mean(found[name] != expected) < TIES, name
    if bits == 3:
        assert_perplexity(models.load(tmp_path / "model", tinylm), LORA_THEN_ROUNDED)


@pytest.mark.parametrize("bits", [4, 2])
def test_quantizing_with_a_pooled_adapter_quantizes_and_then_folds(
    pleat, tinylm, folded, trained, tmp_path, bits
):
    """The adapter was trained on rounded weights, so it must be added after rounding."""
    path, adapter = tmp_path / "model.pleat", trained / f"qalora_int{bits}"
    options = ["--to", "pleat", "-b", bits, *AS_TRAINED]
    pleat.run("quantize", tinylm, "--adapter", adapter, *options, "-o", path)
    assert adapters.parts(path) == adapters.parts(folded(bits))


def test_plain_lora_is_requantized_only_on_request(pleat, base, tinylm, trained, tmp_path):
    path = tmp_path / "model.pleat"
    command = ["fold", base(4), "--adapter", trained / "qlora_int4", "-o", path]
    refused = pleat.attempt(*command)
    assert refused.returncode != 0 and "--requantize" in refused.stderr
    assert not path.exists()
    pleat.run(*command, "--requantize")
    assert_perplexity(model_of(pleat, path, tinylm, tmp_path / "model"), QLORA_ROUNDED_AGAIN)


@pytest.mark.parametrize("bits", [4, 3, 2])
def test_a_fold_changes_only_biases_and_by_the_update(pleat, base, folded, trained, bits):
    """The update of each group is (alpha / r) · (G / 32) · B · A, and the sum is rounded to F16."""
    before, after = (adapters.parts(path) for path in (base(bits), folded(bits)))
    assert sorted(before) == sorted(after)
    deltas = adapters.qalora_deltas(trained / f"qalora_int{bits}")
    assert len(deltas) == 42
    count = differing = 0
    for name, parts in before.items():
        if name not in deltas:
            assert after[name] == parts, name
            continue
        assert after[name]["codes"] == parts["codes"], name
        assert after[name]["scales"] == parts["scales"], name
        old = np.frombuffer(parts["biases"], "<f2").astype(np.float64).reshape(deltas[name].shape)
        expected = (old + deltas[name]).astype(np.float16)
        found = np.frombuffer(after[name]["biases"], "<f2").reshape(expected.shape)
        assert np.all(np.abs(found - expected) <= np.spacing(np.abs(expected))), name
        count += expected.size
        differing += np.count_nonzero(found != expected)
    # A sum in float32 may round to the other side of a tie.
    assert differing <= 1e-3 * count


def test_a_report_states_the_adapter_error(pleat, base, tinylm, trained, tmp_path):
    out = tmp_path / "out.pleat"
    text = pleat.run("fold", base(4), "--adapter", trained / "qalora_int4", "-o", out, "--json")
    report = json.loads(text)
    assert report["schema"] == "pleat.result.1"
    fold = report["fold"]
    linears = sorted(name for name in checkpoint(tinylm) if rtn.is_linear(name))
    assert sorted(module["name"] for module in fold["modules"]) == linears
    assert fold["changedCodeCount"] == 0
    assert 0 < fold["adapterError"] < 0.01
    assert max(module["adapterError"] for module in fold["modules"]) < 0.05


@pytest.mark.parametrize("bits", [4, 3, 2])
def test_verify_confirms_a_fold_and_refuses_another(pleat, base, folded, trained, bits):
    command = ["verify", folded(bits), "--against", base(bits), "--adapter"]
    pleat.run(*command, trained / f"qalora_int{bits}")
    other = trained / f"qalora_int{2 if bits == 4 else 4}"
    assert pleat.attempt(*command, other).returncode == 1
    assert pleat.attempt(*command, trained / f"qalora_int{bits}", "--scale=1.1").returncode == 1
    unfolded = pleat.attempt(
        "verify", base(bits), "--against", base(bits), "--adapter", trained / f"qalora_int{bits}"
    )
    assert unfolded.returncode == 1


def test_folding_into_gguf_gives_the_same_weights(
    pleat, tinylm_f16_gguf, folded, trained, tmp_path
):
    """GGUF has other names, and rows of queries and keys in another order."""
    source, path = tmp_path / "source.gguf", tmp_path / "folded.gguf"
    pleat.run("quantize", tinylm_f16_gguf, "--to", "gguf", "-b", 4, *AS_TRAINED, "-o", source)
    pleat.run("fold", source, "--adapter", trained / "qalora_int4", "-o", path)
    assert gguf_files.types(path) == gguf_files.types(source)
    weights = adapters.decoded(pleat, folded(4), tmp_path / "decoded")
    expected = gguf_files.under_gguf_names(weights, *ATTENTION_HEADS)
    found = gguf_files.values(path)
    for name in filter(gguf_files.is_block_matrix, found):
        assert not rtn.same_bits(found[name], expected[name]), name
    pleat.run("verify", path, "--against", source, "--adapter", trained / "qalora_int4")


def test_folding_a_lora_into_gguf_gives_the_same_weights(
    pleat, tinylm, tinylm_f16_gguf, trained, tmp_path
):
    adapter = trained / "lora_fp16"
    pleat.run("fold", tinylm_f16_gguf, "--adapter", adapter, "-o", tmp_path / "merged.gguf")
    pleat.run("fold", tinylm, "--adapter", adapter, "-o", tmp_path / "merged")
    expected = gguf_files.under_gguf_names(checkpoint(tmp_path / "merged"), *ATTENTION_HEADS)
    found = gguf_files.values(tmp_path / "merged.gguf")
    assert sorted(found) == sorted(expected)
    for name, values in expected.items():
        assert not rtn.same_bits(found[name], values.astype(np.float32)), name


@pytest.mark.parametrize(("type", "folded_type"), [("Q4_0", "Q4_1"), ("Q5_0", "Q5_1")])
def test_types_without_an_offset_become_types_with_one(
    pleat, quantized_gguf, trained, tmp_path, type, folded_type
):
    """Codes are unchanged. Values change by the adapter, up to the rounding of the new offsets."""
    source, path = quantized_gguf(type), tmp_path / "folded.gguf"
    pleat.run("fold", source, "--adapter", trained / "qalora_int4", "-o", path)
    before, after = gguf_files.values(source), gguf_files.values(path)
    old_types, types = gguf_files.types(source), gguf_files.types(path)
    updates = {
        name: update.astype(np.float32)
        for name, update in adapters.expanded(trained / "qalora_int4").items()
    }
    for name, update in gguf_files.under_gguf_names(updates, *ATTENTION_HEADS).items():
        assert types[name] == folded_type, name
        error = np.linalg.norm(after[name] - before[name] - update) / np.linalg.norm(update)
        assert error < 0.01, name
    untouched = [name for name in before if types[name] == old_types[name]]
    assert "output_norm.weight" in untouched
    for name in untouched:
        assert not rtn.same_bits(after[name], before[name]), name


@pytest.mark.parametrize("position", [0, 2, 7], ids=["scale", "offset", "codes"])
def test_verify_detects_one_wrong_block(pleat, quantized_gguf, trained, tmp_path, position):
    """A block of Q4_1 has 20 bytes: the scale and the offset in F16, then the codes."""
    path, source = tmp_path / "folded.gguf", quantized_gguf("Q4_1")
    pleat.run("fold", source, "--adapter", trained / "qalora_int4", "-o", path)
    tensor = next(t for t in gguf.GGUFReader(path).tensors if t.name == "blk.2.ffn_up.weight")
    contents = bytearray(path.read_bytes())
    contents[tensor.data_offset + 4 * 20 + position] ^= 0x20
    path.write_bytes(contents)
    result = pleat.attempt(
        "verify", path, "--against", source, "--adapter", trained / "qalora_int4"
    )
    assert result.returncode == 1
    assert "blk.2.ffn_up.weight" in result.stdout + result.stderr


@pytest.mark.parametrize("name", ["model.layers.4.mlp.up_proj.weight", "model.norm.weight"])
def test_verify_detects_one_wrong_weight(pleat, tinylm, trained, tmp_path, name):
    """An error of two units in the last place, in a changed weight and in an unchanged one."""
    out, adapter = tmp_path / "merged", trained / "lora_fp16"
    pleat.run("fold", tinylm, "--adapter", adapter, "-o", out)
    command = ["verify", out, "--against", tinylm, "--adapter", adapter]
    pleat.run(*command)
    tensors = safetensors.numpy.load_file(out / "model.safetensors")
    tensors[name].view(np.uint16).reshape(-1)[100] ^= 2
    safetensors.numpy.save_file(tensors, out / "model.safetensors", {"format": "pt"})
    result = pleat.attempt(*command)
    assert result.returncode == 1
    assert name in result.stdout + result.stderr


def test_a_fold_can_be_undone_in_float32(pleat, tinylm, trained, tmp_path):
    """Folding with scale −1 removes the update, up to the rounding of float32."""
    base, once, back = (tmp_path / f"{name}.pleat" for name in ("base", "once", "back"))
    adapter = trained / "qalora_int4"
    options = ["--to", "pleat", "-b", 4, "-g", 32, "--parameters", "F32"]
    pleat.run("quantize", tinylm, *options, "-o", base)
    pleat.run("fold", base, "--adapter", adapter, "-o", once)
    pleat.run("fold", once, "--adapter", adapter, "--scale=-1", "-o", back)
    before = adapters.decoded(pleat, base, tmp_path / "before")
    after = adapters.decoded(pleat, back, tmp_path / "after")
    for name in before:
        assert np.abs(before[name] - after[name]).max() <= 2.0**-22, name


@pytest.mark.parametrize("bits", [4, 3, 2])
def test_the_loss_of_rounded_zero_points_is_reported(pleat, tinylm, trained, tmp_path, bits):
    """Integer zero points keep little of an adapter, and the report says how little."""
    base, out = tmp_path / "base.pleat", tmp_path / "out.pleat"
    adapter = trained / f"qalora_int{bits}"
    options = ["--to", "pleat", "-b", bits, "-g", 32, "--scheme", "zeropoint"]
    pleat.run("quantize", tinylm, *options, "-o", base)
    refused = pleat.attempt("fold", base, "--adapter", adapter, "-o", out)
    assert refused.returncode != 0 and "--round" in refused.stderr
    stated = adapters.folded_error(
        pleat.run("fold", base, "--adapter", adapter, "-o", out, "--round", "--json")
    )
    before = adapters.decoded(pleat, base, tmp_path / "before")
    after = adapters.decoded(pleat, out, tmp_path / "after")
    wrong = total = 0.0
    for name, delta in adapters.qalora_deltas(adapter).items():
        wanted = np.repeat(delta, 32, axis=1)
        wrong += np.square(after[name].astype(np.float64) - before[name] - wanted).sum()
        total += np.square(wanted).sum()
    assert stated == pytest.approx(np.sqrt(wrong / total), rel=1e-3)
    assert stated > 0.05
