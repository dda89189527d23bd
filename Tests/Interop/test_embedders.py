"""Language models that embed texts: EmbeddingGemma with its dense layers, and Qwen3-Embedding."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import converter
import encoder_models
import gguf
import llama_cpp
import numpy as np
import pytest
import safetensors.torch
import torch
import transformers
from architecture_tokenizers import PRE_TOKENIZERS, TOKENIZERS
from architecture_weights import fill
from architectures import BPE, GEMMA, SHAPE, VOCABULARY
from test_encoders import GELU_BY_TABLE, metadata, tensors
from test_tokenizer import STATUS
from tokenizers import Tokenizer, processors

pytestmark = pytest.mark.llama

TEXT = "Every good river runs to the sea, and the sea is never full. " * 3
DENSE = "sentence_transformers.models.Dense"
IDENTITY = "torch.nn.modules.linear.Identity"
# Relative to the largest number. Keys and values have half precision. Measured: 3e-4.
HALF_CACHE = 1e-3


@dataclass
class Made:
    """A model in files, the same in transformers, and what it makes of the vectors of tokens."""

    folder: Path
    model: torch.nn.Module
    pool: object

    def theirs(self, tokenizer: str, *options: str) -> Path:
        path = self.folder.parent / "theirs.gguf"
        converter.convert(self.folder, {"f32": path}, PRE_TOKENIZERS[tokenizer], *options)
        return path

    def ours(self, pleat) -> Path:
        path = self.folder.parent / "ours.gguf"
        if not path.exists():
            pleat.run("convert", self.folder, "--to", "gguf", "--dtype", "F32", "-o", path)
        return path


def _make(config, tokenizer: str, folder: Path):
    config._attn_implementation = "eager"
    model = transformers.AutoModel.from_config(config, dtype=torch.float32)
    fill(model, 31)
    path = folder / "model"
    model.save_pretrained(path)
    TOKENIZERS[tokenizer](path, config.model_type, tokenizer)
    return path, model.eval()


def _list_modules(folder: Path, pooling: str, kinds: list[str]) -> None:
    names = ["", *(f"{index + 1}_{kind}" for index, kind in enumerate(kinds))]
    types = [f"sentence_transformers.models.{kind}" for kind in ["Transformer", *kinds]]
    modules = [
        {"idx": index, "name": str(index), "path": name, "type": type}
        for index, (name, type) in enumerate(zip(names, types, strict=True))
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({f"pooling_mode_{pooling}": True}))


def write_dense(folder: Path, matrix: torch.Tensor, **changes) -> None:
    folder.mkdir()
    outputs, inputs = matrix.shape
    config = {"in_features": inputs, "out_features": outputs, "bias": False}
    config |= {"activation_function": IDENTITY}
    (folder / "config.json").write_text(json.dumps(config | changes))
    safetensors.torch.save_file({"linear.weight": matrix}, folder / "model.safetensors")


@pytest.fixture(scope="module")
def gemma(tmp_path_factory) -> Made:
    config = transformers.Gemma3TextConfig(
        **SHAPE | GEMMA | dict(num_hidden_layers=7, vocab_size=VOCABULARY),
        query_pre_attn_scalar=48,
        sliding_window=24,
        use_bidirectional_attention=True,
    )
    folder, model = _make(config, "sentencepiece", tmp_path_factory.mktemp("gemma"))
    _list_modules(folder, "mean_tokens", ["Pooling", "Dense", "Dense", "Normalize"])
    generator = torch.Generator().manual_seed(32)
    first = torch.randn(320, 128, generator=generator) / 128**0.5
    second = torch.randn(128, 320, generator=generator) / 320**0.5
    write_dense(folder / "2_Dense", first)
    write_dense(folder / "3_Dense", second)
    dense = (second @ first).numpy()
    return Made(folder, model, lambda states: dense @ states.mean(0))


@pytest.fixture(scope="module")
def qwen(tmp_path_factory) -> Made:
    config = transformers.Qwen3Config(
        **SHAPE | BPE | dict(head_dim=64, tie_word_embeddings=True, vocab_size=VOCABULARY)
    )
    folder, model = _make(config, "qwen2", tmp_path_factory.mktemp("qwen"))
    _list_modules(folder, "lasttoken", ["Pooling", "Normalize"])
    # Every text ends with a token, whose vector is the one that counts.
    path = str(folder / "tokenizer.json")
    tokenizer = Tokenizer.from_file(path)
    end = tokenizer.id_to_token(401)
    ends = [processors.ByteLevel(trim_offsets=False)]
    ends.append(processors.TemplateProcessing(f"$A {end}", f"$A $B {end}", [(end, 401)]))
    tokenizer.post_processor = processors.Sequence(ends)
    tokenizer.save(path)
    return Made(folder, model, lambda states: states[-1])


CASES = {"gemma": ("sentencepiece", "--sentence-transformers-dense-modules"), "qwen": ("qwen2",)}


@pytest.mark.parametrize("name", CASES)
def test_the_file_is_that_of_the_converter(pleat, request, name):
    made = request.getfixturevalue(name)
    ours, theirs = made.ours(pleat), made.theirs(*CASES[name])
    found, expected = tensors(ours), tensors(theirs)
    assert sorted(found) == sorted(expected)
    assert len(expected) > 7 * 2
    for tensor, other in expected.items():
        assert found[tensor].tensor_type == other.tensor_type, tensor
        assert found[tensor].shape.tolist() == other.shape.tolist(), tensor
        assert found[tensor].data.tobytes() == other.data.tobytes(), tensor
    found, expected = metadata(ours), metadata(theirs)
    found.pop("pleat.history", None)
    # Without a tokenizer.json the converter does not find the unknown token.
    if "tokenizer.ggml.unknown_token_id" not in expected:
        assert found.pop("tokenizer.ggml.unknown_token_id", None) in (None, (["UINT32"], 3))
    differing = {key for key in found | expected if found.get(key) != expected.get(key)}
    assert not {key: (found.get(key), expected.get(key)) for key in differing}


@pytest.mark.parametrize("name", CASES)
def test_vectors_match_transformers(pleat, request, name):
    made = request.getfixturevalue(name)
    path = made.ours(pleat)
    vocabulary = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
    ids = vocabulary.tokenize(TEXT.encode())
    vocabulary.close()
    assert len(ids) > 48  # two windows
    if name == "qwen":
        assert ids == Tokenizer.from_file(str(made.folder / "tokenizer.json")).encode(TEXT).ids
    states = encoder_models.hidden_states(made.model, ids)
    expected = made.pool(states)
    (found,) = encoder_models.llama_vectors(path, [TEXT], pooling=-1)
    limit = GELU_BY_TABLE if name == "gemma" else HALF_CACHE
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < limit * np.abs(states).max()
    # Other states, such as those of tokens that see no later ones, give another vector.
    assert np.abs(made.pool(states[: len(states) // 2]) - expected).max() > 20 * limit


def test_dense_layers_keep_their_type(pleat, gemma, tmp_path):
    folder = tmp_path / "halves"
    shutil.copytree(gemma.folder, folder)
    path = folder / "3_Dense" / "model.safetensors"
    matrix = safetensors.torch.load_file(path)["linear.weight"].to(torch.bfloat16)
    safetensors.torch.save_file({"linear.weight": matrix}, path)
    for options in (["convert", "--dtype", "F32"], ["quantize", "--type", "Q8_0"]):
        output = tmp_path / f"{options[0]}.gguf"
        pleat.run(options[0], folder, "--to", "gguf", *options[1:], "-o", output)
        found = tensors(output)
        assert found["dense_2.weight"].tensor_type == gguf.GGMLQuantizationType.F32
        assert found["dense_3.weight"].tensor_type == gguf.GGMLQuantizationType.BF16
        assert found["dense_3.weight"].data.tobytes() == matrix.view(torch.uint8).numpy().tobytes()


def test_dense_layers_and_pooling_come_back(pleat, gemma, tmp_path):
    out, again = tmp_path / "back", tmp_path / "again.gguf"
    pleat.run("convert", gemma.ours(pleat), "--to", "safetensors", "-o", out)
    assert json.loads((out / "config.json").read_text())["architectures"] == ["Gemma3TextModel"]
    for name in ("2_Dense", "3_Dense"):
        found, expected = (
            safetensors.torch.load_file(folder / name / "model.safetensors")
            for folder in (out, gemma.folder)
        )
        assert torch.equal(found["linear.weight"], expected["linear.weight"])
    expect_the_same_file(pleat, out, again, gemma.ours(pleat))
    original, back = (load(folder) for folder in (gemma.folder, out))
    # Norms that were increased by 1 and decreased again.
    expect_near(original, back, 1e-5)


def test_a_language_model_that_embeds_texts_keeps_its_pooling(pleat, qwen, tmp_path):
    out, again = tmp_path / "back", tmp_path / "again.gguf"
    pleat.run("convert", qwen.ours(pleat), "--to", "safetensors", "-o", out)
    pooling = json.loads((out / "1_Pooling" / "config.json").read_text())
    assert pooling["pooling_mode_lasttoken"] and not pooling["pooling_mode_mean_tokens"]
    expect_the_same_file(pleat, out, again, qwen.ours(pleat))
    expect_near(load(qwen.folder), load(out), 0)


def load(folder: Path):
    model, info = transformers.AutoModel.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    assert not [name for names in info.values() for name in names], info
    return model.eval()


def expect_near(original, back, atol: float) -> None:
    found, expected = (
        encoder_models.hidden_states(model, list(range(5, 65))) for model in (back, original)
    )
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol * np.abs(expected).max())


def expect_the_same_file(pleat, folder: Path, path: Path, first: Path) -> None:
    pleat.run("convert", folder, "--to", "gguf", "--dtype", "F32", "-o", path)
    found, expected = tensors(path), tensors(first)
    assert sorted(found) == sorted(expected)
    for name, tensor in expected.items():
        # Norms of Gemma are one less in a checkpoint, which loses digits.
        if name.endswith("norm.weight"):
            np.testing.assert_allclose(found[name].data, tensor.data, rtol=0, atol=2e-7)
            continue
        assert found[name].data.tobytes() == tensor.data.tobytes(), name
    found, expected = metadata(path), metadata(first)
    # The other tests of the way back compare tokenizers.
    keys = {key for key in found | expected if not key.startswith(("tokenizer.", "pleat."))}
    differing = {key for key in keys if found.get(key) != expected.get(key)}
    assert not {key: (found.get(key), expected.get(key)) for key in differing}


REFUSED = [
    (dict(activation_function="torch.nn.modules.activation.Tanh"), "unsupported", "Tanh"),
    (dict(out_features=96), "malformed", "out_features"),
]


@pytest.mark.parametrize(("changes", "kind", "word"), REFUSED)
def test_a_dense_layer_that_llama_does_not_apply_is_refused(
    pleat, gemma, tmp_path, changes, kind, word
):
    folder = tmp_path / "changed"
    shutil.copytree(gemma.folder, folder)
    path = folder / "3_Dense" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    refused(pleat, folder, kind, word)


def test_a_last_dense_layer_of_another_width_is_refused(pleat, gemma, tmp_path):
    folder = tmp_path / "changed"
    shutil.copytree(gemma.folder, folder)
    shutil.rmtree(folder / "3_Dense")
    write_dense(folder / "3_Dense", torch.zeros(64, 320))
    refused(pleat, folder, "unsupported", "128 outputs")


def refused(pleat, folder: Path, kind: str, word: str) -> None:
    path = folder.parent / "refused.gguf"
    result = pleat.attempt("convert", folder, "--to", "gguf", "-o", path)
    assert result.returncode == STATUS[kind], result.stderr
    assert word in result.stderr and "3_Dense" in result.stderr
    assert not path.exists()
