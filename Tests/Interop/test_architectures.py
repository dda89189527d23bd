"""Checkpoints of Hugging Face turned into GGUF, against llama.cpp's own converter and runtime."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import architectures
import converter
import ggml
import gguf
import gguf_files
import numpy as np
import pytest
import safetensors.torch
import torch
from architectures import CASES, PRE_TOKENIZERS, VOCABULARY, Case
from test_llama import logits, rms

pytestmark = pytest.mark.llama
TYPES = ["f32", "f16", "bf16"]

# Of F32 files only the order of sums differs: measured 5e-5 at most on logits of 2.5 RMS, at 300
# tokens 2e-4.
EXACT = 5e-4
# llama.cpp looks the GELU of gemma up in a table of halves: measured 4e-3.
GELU_BY_TABLE = 1e-2
# What transformers would compute with another order of words, a layer left out, or heads rotated
# otherwise is 1 and more away.


@dataclass
class Made:
    """A model, and what became of it; each only once."""

    case: Case
    folder: Path

    def theirs(self, type: str) -> Path:
        paths = {type: self.folder.parent / f"theirs-{type}.gguf" for type in TYPES}
        if not paths[type].exists():
            converter.convert(self.folder, paths, PRE_TOKENIZERS[self.case.tokenizer])
        return paths[type]

    def ours(self, pleat, type: str) -> Path:
        path = self.folder.parent / f"ours-{type}.gguf"
        if not path.exists():
            pleat.run("convert", self.folder, "--to", "gguf", "--dtype", type, "-o", path)
        return path


@pytest.fixture(scope="module", params=CASES, ids=str)
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param.name)
    yield Made(request.param, architectures.make(request.param, folder))
    shutil.rmtree(folder)


# MARK: against the converter


@pytest.mark.parametrize("type", TYPES)
def test_tensors_are_those_of_the_converter(pleat, model, type):
    found, expected = (
        {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
        for path in (model.ours(pleat, type), model.theirs(type))
    )
    assert sorted(found) == sorted(expected)
    assert len(expected) >= 7 * 2 + 1
    for name, tensor in expected.items():
        assert found[name].tensor_type == tensor.tensor_type, name
        assert found[name].shape.tolist() == tensor.shape.tolist(), name
        if name == "rope_freqs.weight":  # computed there in float32: three units are off
            np.testing.assert_allclose(found[name].data, tensor.data, rtol=5e-7, atol=0)
        else:
            assert found[name].data.tobytes() == tensor.data.tobytes(), name


def converted_metadata(path: Path) -> dict:
    fields = gguf.GGUFReader(path).fields
    return {
        key: ([type.name for type in field.types[:2]], field.contents())
        for key, field in fields.items()
        if not key.startswith("GGUF.")
    }


@pytest.mark.parametrize("type", TYPES)
def test_metadata_is_that_of_the_converter(pleat, model, type):
    found = converted_metadata(model.ours(pleat, type))
    expected = converted_metadata(model.theirs(type))
    # A word such as "100K" that llama.cpp shows and does nothing with, and a name made of that of
    # the folder, in which llama.cpp's converter capitalizes words.
    for key in ("general.size_label", "general.name"):
        expected.pop(key)
        found.pop(key, None)
    found.pop("pleat.history", None)
    architecture = expected["general.architecture"][1]
    if architecture in ("gemma", "gemma2"):  # 10000, which llama.cpp takes where the key is absent
        key = f"{architecture}.rope.freq_base"
        assert key not in expected and found.pop(key, None) in (None, (["FLOAT32"], 10000.0))
    assert len(expected["tokenizer.ggml.tokens"][1]) == VOCABULARY
    assert sum(key.startswith(f"{architecture}.") for key in expected) >= 8
    assert sorted(found) == sorted(expected)
    assert {key: found[key] for key in expected if found[key] != expected[key]} == {}


# MARK: in llama.cpp


def tolerance(case: Case) -> float:
    return GELU_BY_TABLE if case.name.startswith("gemma") else EXACT


def counts(case: Case) -> list[int]:
    """Lengths of rows: beyond 256 tokens the longer factors of longrope count."""
    return [64, 300] if case.name == "phi3-longrope" else [64]


@pytest.mark.parametrize("type", ["f32", "f16"])
def test_logits_are_those_of_transformers(pleat, model, type):
    if type == "f16" and model.case.dtype == "BF16":
        pytest.skip("halves do not hold these weights")
    for count in counts(model.case):
        rows = architectures.tokens(count)
        found = logits(model.ours(pleat, type), rows)
        expected = architectures.logits(model.folder, rows)
        assert rms(expected) > 2
        limit = tolerance(model.case) if type == "f32" else HALVES
        assert np.abs(found - expected).max() < limit


# With F16 weights llama.cpp rounds activations to halves too.
HALVES = 0.05
# As in test_llama: activations are rounded to eight bits before quantized weights are multiplied.
ACTIVATION_NOISE = 0.1


def decoded(path: Path, folder: Path, to: Path) -> Path:
    """The folder with the weights of a GGUF file, mapped back by the tables of the gguf package."""
    values = gguf_files.values(path)
    architecture = gguf.GGUFReader(path).fields["general.architecture"].contents()
    number = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(number, 16)
    config = architectures.transformers.AutoConfig.from_pretrained(folder)
    weights = {}
    for name, weight in safetensors.torch.load_file(folder / "model.safetensors").items():
        words = name.split(".")
        if "experts" in words:
            place = words.index("experts") + 1
            merged = f"layers.{words[2]}.feed_forward.experts.{words[place + 1]}.weight"
            value = values[names.get_name(merged, [".weight"])][int(words[place])]
        else:
            value = values[names.get_name(name, [".weight", ".bias"])]
        if architecture == "llama" and words[-2] in ("q_proj", "k_proj"):
            heads = config.num_attention_heads if words[-2] == "q_proj" else config.num_key_value_heads
            pairs = value.reshape(heads, -1, 2, *value.shape[1:])
            value = np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(value.shape)
        if architecture.startswith("gemma") and name.endswith("norm.weight"):
            value = value - 1
        assert value.shape == tuple(weight.shape), name
        weights[name] = torch.from_numpy(np.ascontiguousarray(value))
    to.mkdir()
    for path in folder.glob("*.json"):
        shutil.copy(path, to)
    safetensors.torch.save_file(weights, to / "model.safetensors", metadata={"format": "pt"})
    return to


@pytest.mark.parametrize("type", ["Q8_0", "Q4_1"])
def test_logits_of_blocks_are_those_of_transformers(pleat, model, tmp_path, type):
    path = tmp_path / "quantized.gguf"
    pleat.run("quantize", model.folder, "--to", "gguf", "--type", type, "-o", path)
    rows = architectures.tokens(64)
    found = logits(path, rows)
    expected = architectures.logits(decoded(path, model.folder, tmp_path / "decoded"), rows)
    noise = np.sqrt(np.mean(np.square(found - expected), axis=-1))
    source = rms(expected - architectures.logits(model.folder, rows))
    print(model.case.name, type, "noise", noise.mean(), np.median(noise), noise.max(), "source", source)
    # A router may choose another expert, for a few tokens and what follows them.
    assert np.median(noise) < ACTIVATION_NOISE


@pytest.mark.parametrize("type", sorted(ggml.TYPES))
def test_blocks_are_those_of_llama_quantize(pleat, model, tmp_path, type):
    ggml.quantize_file(model.theirs("f32"), tmp_path / "theirs.gguf", type)
    options = ["--to", "gguf", "--scheme", "ggml", "--type", type]
    pleat.run("quantize", model.folder, *options, "-o", tmp_path / "ours.gguf")
    found, expected = (ggml.blocks(tmp_path / f"{name}.gguf") for name in ("ours", "theirs"))
    assert sorted(found) == sorted(expected)
    # Four matrices in each layer, if those of attention and feed-forward are fused, and embeddings.
    assert sum(name == type for name, _ in expected.values()) >= 4 * 2 + 1
    differing = {name for name in expected if found[name] != expected[name]}
    assert differing <= {"rope_freqs.weight"}
