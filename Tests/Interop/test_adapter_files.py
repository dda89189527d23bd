"""Adapters written by pleat, loaded in PEFT, gguf and llama.cpp."""

import json
from pathlib import Path

import adapters
import gguf
import gguf_files
import models
import numpy as np
import pytest
import safetensors.numpy
from llama_runs import ONE_THREAD
from peft import PeftModel
from pleat import PleatFile
from tinylm_gguf import checkpoint

ATTENTION_HEADS = (4, 2)
# The tolerance of logits, which reach 14.7. Sums in another order changed them by at most 1.6e-5.
SUMS = 1e-4


@pytest.fixture(scope="module")
def base(pleat, tinylm, tmp_path_factory):
    """tinylm with four bits, and its decoded float32 weights in a folder beside it."""
    folder = tmp_path_factory.mktemp("base")
    options = ["--to", "pleat", "-b", 4, "-g", 32, "--scheme", "minmax"]
    pleat.run("quantize", tinylm, *options, "-o", folder / "base.pleat")
    pleat.run(
        "convert", folder / "base.pleat", "--to", "safetensors", "--dtype", "F32",
        "-o", folder / "decoded",
    )  # fmt: skip
    return folder


def largest(differences: np.ndarray) -> float:
    return float(np.abs(differences).max())


# PEFT


@pytest.mark.parametrize("name", ["qalora_int4", "qlora_int4"])
def test_peft_runs_an_unmerged_adapter_on_a_quantized_base(
    pleat, base, tinylm, trained, tmp_path, name
):
    """PEFT does not support QA-LoRA for such a base, so it is exported as an equivalent LoRA."""
    adapter, out = trained / name, tmp_path / "peft"
    pleat.run("attach", base / "base.pleat", "--adapter", adapter, "--to", "peft", "-o", out)
    model = PeftModel.from_pretrained(models.load(base / "decoded", tinylm), out).eval()
    found = models.logits(model, models.reference_rows())[0]
    assert largest(found - models.reference_logits(adapter / "reference.npz")) < SUMS


def test_peft_runs_a_plain_adapter_unchanged(pleat, tinylm, trained, tmp_path):
    adapter, out = trained / "lora_fp16", tmp_path / "peft"
    pleat.run("attach", tinylm, "--adapter", adapter, "--to", "peft", "-o", out)
    model = PeftModel.from_pretrained(models.load(tinylm, tinylm), out).eval()
    found = models.logits(model, models.reference_rows())[0]
    assert largest(found - models.reference_logits(adapter / "reference.npz")) < SUMS


def test_peft_gets_the_same_updates(pleat, tinylm, trained, tmp_path):
    adapter, out = trained / "lora_fp16", tmp_path / "peft"
    pleat.run("attach", tinylm, "--adapter", adapter, "--to", "peft", "-o", out)
    found, expected = adapters.updates(out), adapters.updates(adapter)
    assert sorted(found) == sorted(expected)
    for name in expected:
        assert largest(found[name] - expected[name]) < 1e-6, name


# GGUF


def gguf_deltas(path: Path) -> dict[str, np.ndarray]:
    """ΔW of every tensor in a LoRA file, by the rule of llama.cpp: alpha / rank · B · A."""
    reader = gguf.GGUFReader(path)
    alpha = reader.fields["adapter.lora.alpha"].contents()
    # The reader gives extents innermost first, as in the file; the data is row-major.
    found = {tensor.name: tensor for tensor in reader.tensors}
    result = {}
    for name in {name.rpartition(".lora_")[0] for name in found}:
        a, b = found.pop(f"{name}.lora_a"), found.pop(f"{name}.lora_b")
        rank = int(b.shape[0])
        assert int(a.shape[1]) == rank, name
        result[name] = alpha / rank * (b.data.astype(np.float64) @ a.data.astype(np.float64))
    assert not found, "tensors that are neither A nor B"
    return result


@pytest.fixture(params=["qalora_int4", "lora_fp16"])
def lora_gguf(request, pleat, tinylm, base, trained, quantized_gguf, tinylm_f16_gguf, tmp_path):
    """An adapter as GGUF, made with a base with Hugging Face names and with one with GGUF names."""
    adapter, out = trained / request.param, tmp_path / "lora.gguf"
    if request.param == "lora_fp16":
        bases, deltas = [tinylm, tinylm_f16_gguf], adapters.updates(adapter)
    else:
        bases, deltas = [base / "base.pleat", quantized_gguf("Q4_1")], adapters.expanded(adapter)
    paths = [tmp_path / "of-hf.gguf", tmp_path / "of-gguf.gguf"]
    for model, out in zip(bases, paths, strict=True):
        pleat.run("attach", model, "--adapter", adapter, "--to", "gguf", "-o", out)
    return bases, paths, gguf_files.under_gguf_names(deltas, *ATTENTION_HEADS)


def test_gguf_reads_attached_adapters(lora_gguf):
    _, paths, expected = lora_gguf
    for path in paths:
        fields = gguf.GGUFReader(path).fields
        assert fields["general.architecture"].contents() == "llama"
        assert fields["general.type"].contents() == "adapter"
        assert fields["adapter.type"].contents() == "lora"
        found = gguf_deltas(path)
        assert sorted(found) == sorted(expected)
        for name, delta in expected.items():
            assert found[name].shape == delta.shape
            assert largest(found[name] - delta) < 1e-6 * largest(delta), name


@pytest.mark.llama
def test_llama_runs_attached_adapters(pleat, lora_gguf, tinylm, tinylm_f16_gguf, tmp_path):
    """The base is in F32, with which llama.cpp does not round activations."""
    bases, paths, deltas = lora_gguf
    pleat.run(
        "convert", bases[0], "--to", "safetensors", "--dtype", "F32", "-o", tmp_path / "decoded"
    )
    weights = gguf_files.under_gguf_names(checkpoint(tmp_path / "decoded"), *ATTENTION_HEADS)
    gguf_files.write_float32(tmp_path / "base.gguf", tinylm_f16_gguf, weights)
    tokens = models.reference_rows()[0]
    for name, delta in deltas.items():
        weights[name] = (weights[name] + delta).astype(np.float32)
    gguf_files.write_float32(tmp_path / "sum.gguf", tinylm_f16_gguf, weights)
    expected = llama_logits(tmp_path / "sum.gguf", tokens)
    assert largest(expected - llama_logits(tmp_path / "base.gguf", tokens)) > 1
    for path in paths:
        found = llama_logits(tmp_path / "base.gguf", tokens, lora_path=str(path))
        assert largest(found - expected) < 1e-3


def llama_logits(path: Path, tokens: np.ndarray, **options) -> np.ndarray:
    import llama_cpp

    count, f32 = len(tokens), 0
    model = llama_cpp.Llama(
        str(path), n_ctx=count, n_batch=count, logits_all=True, verbose=False, type_k=f32,
        type_v=f32, **ONE_THREAD, **options,
    )  # fmt: skip
    model.eval(tokens.tolist())
    scores = model.scores[:count].copy()
    model.close()
    return scores


# Stored with the base in one file


@pytest.fixture(scope="module")
def both(pleat, base, trained, tmp_path_factory) -> Path:
    """The base with two unmerged adapters."""
    out = tmp_path_factory.mktemp("both") / "both.pleat"
    two = ["--adapter", trained / "qalora_int4", "--adapter", trained / "qlora_int4"]
    names = ["--name", "first", "--name", "second"]
    pleat.run("attach", base / "base.pleat", *two, *names, "-o", out)
    return out


def test_attaching_adapters_changes_no_weights(pleat, base, both):
    pleat.run("verify", both)
    assert adapters.parts(both) == adapters.parts(base / "base.pleat")


@pytest.mark.parametrize(("name", "source"), [("first", "qalora_int4"), ("second", "qlora_int4")])
def test_attached_adapters_equal_their_source_files(both, trained, name, source):
    file = PleatFile.open(both)
    folder = trained / source
    attached = file.adapters[name]
    assert attached["config"] == json.loads((folder / "adapter_config.json").read_text())
    tensors = safetensors.numpy.load_file(folder / "adapter_model.safetensors")
    assert sorted(tensor["name"] for tensor in attached["tensors"]) == sorted(tensors)
    for tensor in attached["tensors"]:
        expected = tensors[tensor["name"]]
        assert tensor["encoding"] == {"type": "F32"} and tensor["shape"] == list(expected.shape)
        assert file.bytes_of(tensor["parts"]["values"]) == expected.tobytes(), tensor["name"]


def test_an_attached_adapter_is_folded_by_name(pleat, base, both, trained, tmp_path):
    found, expected = tmp_path / "found.pleat", tmp_path / "expected.pleat"
    pleat.run("fold", both, "--adapter", "first", "-o", found)
    pleat.run("fold", base / "base.pleat", "--adapter", trained / "qalora_int4", "-o", expected)
    assert adapters.parts(found) == adapters.parts(expected)
    command = ["verify", found, "--against", both, "--adapter", "first"]
    pleat.run(*command)


def test_an_attached_adapter_is_exported_to_peft(pleat, both, trained, tmp_path):
    """The export equals that of the adapter's folder."""
    found, expected = tmp_path / "found", tmp_path / "expected"
    pleat.run("attach", both, "--adapter", "first", "--to", "peft", "-o", found)
    pleat.run("attach", both, "--adapter", trained / "qalora_int4", "--to", "peft", "-o", expected)
    before, after = adapters.matrices(expected), adapters.matrices(found)
    assert sorted(after) == sorted(before)
    for name, pair in before.items():
        assert all(np.array_equal(*matrices) for matrices in zip(pair, after[name], strict=True))
