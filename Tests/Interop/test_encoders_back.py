"""Models that embed texts, from GGUF back to folders that transformers loads."""

import json
import shutil
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import adapters
import converter
import encoder_models
import gguf_files
import numpy as np
import pytest
import torch
import transformers
from encoder_models import ENCODERS, Encoder
from encoder_tokenizers import PRE_TOKENIZERS, SCRIPTS
from safetensors.numpy import load_file
from test_encoders import case, metadata, tensors
from test_tokenizer import STATUS
from tokenizer_models import texts
from tokenizers import Tokenizer

pytestmark = pytest.mark.llama

CLASSES = {
    "bert": "BertModel",
    "distilbert": "DistilBertModel",
    "roberta": "RobertaModel",
    "xlm-roberta": "XLMRobertaModel",
    "nomic_bert": "NomicBertModel",
    "modernbert": "ModernBertModel",
}
# llama.cpp does not normalize texts whose bytes it merges.
TEXTS = [text for text in texts(300) + SCRIPTS if unicodedata.is_normalized("NFC", text)]


@dataclass
class Made:
    """A model, the same in transformers, its GGUF in F32, and what came back."""

    case: Encoder
    folder: Path
    model: torch.nn.Module
    gguf: Path
    back: Path
    notes: str


@pytest.fixture(scope="module", params=ENCODERS, ids=str)
def made(request, pleat, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param.name)
    source, model = encoder_models.make(request.param, folder)
    path, back = folder / "model.gguf", folder / "back"
    pleat.run("convert", source, "--to", "gguf", "--dtype", "F32", "-o", path)
    result = pleat.attempt("convert", path, "--to", "safetensors", "-o", back)
    assert result.returncode == 0, result.stderr
    yield Made(request.param, source, model, path, back, result.stdout + result.stderr)
    shutil.rmtree(folder)


def load(folder: Path):
    """The model in float32, all of whose tensors fitted it."""
    model, info = transformers.AutoModel.from_pretrained(
        folder,
        dtype=torch.float32,
        attn_implementation="eager",
        output_loading_info=True,
        local_files_only=True,
    )
    assert not [name for names in info.values() for name in names], info
    return model.eval()


def model_type(folder: Path) -> str:
    return json.loads((folder / "config.json").read_text())["model_type"]


def test_the_class_and_the_tensors_come_back(made):
    model = load(made.back)
    assert model_type(made.back) == model_type(made.folder)
    assert type(model).__name__ == CLASSES[model_type(made.folder)]
    found, expected = model.state_dict(), made.model.state_dict()
    pooler = [found.pop(name) for name in list(found) if name.startswith("pooler.")]
    assert not any(values.any() for values in pooler)
    assert ("pooler is zeros" in made.notes) == bool(pooler)
    assert sorted(found) == sorted(name for name in expected if not name.startswith("pooler."))
    # Rows that only padding has.
    skipped = made.model.config.pad_token_id + 1 if "roberta" in made.case.name else 0
    for name, values in found.items():
        tensor = expected[name]
        if name == "embeddings.position_embeddings.weight":
            assert values.shape == tensor.shape and not values[:skipped].any()
            values, tensor = values[skipped:], tensor[skipped:]
        assert torch.equal(values, tensor), name
    assert ("are zeros" in made.notes and "only padding" in made.notes) == (skipped > 0)


def ids(folder: Path, samples: list[str]) -> list[list[int]]:
    return transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)(samples)[
        "input_ids"
    ]


def test_vectors_are_equal(made):
    model = load(made.back)
    tokenizer = Tokenizer.from_file(str(made.folder / "tokenizer.json"))
    for text in (SCRIPTS[0], SCRIPTS[1], " ".join(SCRIPTS[:2] * 2)):
        tokens = tokenizer.encode(text).ids
        expected = encoder_models.hidden_states(made.model, tokens)
        np.testing.assert_array_equal(encoder_models.hidden_states(model, tokens), expected)


def test_padded_texts_have_equal_vectors(made):
    """Positions do not depend on padding after a text."""
    tokens = Tokenizer.from_file(str(made.folder / "tokenizer.json")).encode(SCRIPTS[0]).ids
    padded = torch.tensor([tokens + [made.model.config.pad_token_id] * 5])
    mask = (torch.arange(padded.shape[1]) < len(tokens)).long()[None]
    with torch.no_grad():
        found, expected = (
            model(padded, attention_mask=mask).last_hidden_state[0, : len(tokens)]
            for model in (load(made.back), made.model)
        )
    assert torch.allclose(found, expected, rtol=0, atol=1e-5)


def test_ids_are_those_of_the_tokenizer(made):
    assert len(TEXTS) > 200
    assert ids(made.back, TEXTS) == ids(made.folder, TEXTS)
    original, copy = (
        Tokenizer.from_file(str(folder / "tokenizer.json")) for folder in (made.folder, made.back)
    )
    for first, second in zip(TEXTS, TEXTS[1:], strict=False):
        assert copy.encode(first, second).ids == original.encode(first, second).ids
    theirs = transformers.AutoTokenizer.from_pretrained(made.back, local_files_only=True)
    stated = transformers.AutoTokenizer.from_pretrained(made.folder, local_files_only=True)
    for kind in ("cls", "sep", "pad", "unk", "mask"):
        assert getattr(theirs, f"{kind}_token") == getattr(stated, f"{kind}_token"), kind
    # What a model takes: no types of tokens if it has none.
    with torch.no_grad():
        load(made.back)(**theirs([SCRIPTS[0]], ["a"], return_tensors="pt"))


def test_the_file_is_the_same_after_two_ways(pleat, made):
    again = made.folder.parent / "again.gguf"
    pleat.run("convert", made.back, "--to", "gguf", "--dtype", "F32", "-o", again)
    found, expected = tensors(again), tensors(made.gguf)
    assert sorted(found) == sorted(expected)
    for name, tensor in expected.items():
        assert found[name].tensor_type == tensor.tensor_type, name
        assert found[name].data.tobytes() == tensor.data.tobytes(), name
    found, expected = metadata(again), metadata(made.gguf)
    for fields in (found, expected):
        fields.pop("pleat.history", None)
    differing = {key for key in found | expected if found.get(key) != expected.get(key)}
    assert not {key: (found.get(key), expected.get(key)) for key in differing}
    pleat.run("verify", made.back, "--against", made.gguf)


def test_pooling_comes_back(made):
    path = made.back / "1_Pooling" / "config.json"
    if made.case.pooling is None:
        assert not path.exists() and not (made.back / "modules.json").exists()
        return
    config = json.loads(path.read_text())
    flags = {key for key, value in config.items() if value is True}
    assert flags == {{"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token"}[
        made.case.pooling
    ]}  # fmt: skip
    assert config["word_embedding_dimension"] == made.model.config.hidden_size
    types = [part["type"] for part in json.loads((made.back / "modules.json").read_text())]
    assert types == [f"sentence_transformers.models.{kind}" for kind in ("Transformer", "Pooling")]
    assert "normalized" in made.notes


def test_files_of_the_converter_come_back(pleat, made, tmp_path):
    theirs = {"f32": tmp_path / "theirs.gguf"}
    converter.convert(made.folder, theirs, PRE_TOKENIZERS.get(made.case.tokenizer, "default"))
    path = theirs["f32"]
    if any(name.startswith("cls") for name in tensors(path)):
        # A part of a head for masked words, which no encoder has.
        result = pleat.attempt("convert", path, "--to", "safetensors", "-o", tmp_path / "out")
        assert result.returncode == STATUS["unsupported"] and "cls." in result.stderr
        return
    if "modern" in made.case.name:
        key = "modern-bert.attention.layer_norm_epsilon"
        path = gguf_files.edited(path, tmp_path / "stated.gguf", {key: (1e-5, FLOAT)})
    pleat.run("convert", path, "--to", "safetensors", "-o", tmp_path / "out")
    tokens = ids(made.folder, [SCRIPTS[0]])[0]
    np.testing.assert_array_equal(
        encoder_models.hidden_states(load(tmp_path / "out"), tokens),
        encoder_models.hidden_states(made.model, tokens),
    )


FLOAT = gguf_files.gguf.GGUFValueType.FLOAT32


def expect_same_weights(pleat, folder: Path, found: Path, expected: Path) -> None:
    """Both models have the same decoded weights."""
    found, expected = (
        adapters.decoded(pleat, path, folder / f"decoded-{index}")
        for index, path in enumerate((found, expected))
    )
    assert sorted(found) == sorted(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, name)


@pytest.mark.parametrize("type", ["Q8_0", "Q4_1"])
def test_quantized_files_come_back_decoded(pleat, made, tmp_path, type):
    path, out = tmp_path / "model.gguf", tmp_path / "out"
    pleat.run("quantize", made.folder, "--to", "gguf", "--type", type, "-o", path)
    pleat.run("convert", path, "--to", "safetensors", "--dtype", "F32", "-o", out)
    again = tmp_path / "again.gguf"
    pleat.run("convert", out, "--to", "gguf", "--dtype", "F32", "-o", again)
    expect_same_weights(pleat, tmp_path, again, path)
    tokens = ids(made.folder, [SCRIPTS[0]])[0]
    vectors = encoder_models.hidden_states(load(out), tokens)
    wanted = encoder_models.hidden_states(made.model, tokens)
    cosine = (vectors * wanted).sum() / np.linalg.norm(vectors) / np.linalg.norm(wanted)
    assert cosine > (0.99 if type == "Q8_0" else 0.7)


@pytest.mark.parametrize("to", ["gptq", "compressed-tensors"])
def test_codes_are_kept(pleat, made, tmp_path, to):
    path, out, plain = tmp_path / "model.gguf", tmp_path / "out", tmp_path / "plain"
    options = ["-b", 4, "--offset", "none", "--rule", "*embed*=keep"]
    pleat.run("quantize", made.folder, "--to", "gguf", *options, "-o", path)
    pleat.run("convert", path, "--to", to, "-o", out)
    assert "quantization_config" in json.loads((out / "config.json").read_text())
    pleat.run("convert", path, "--to", "safetensors", "--dtype", "F32", "-o", plain)
    expect_same_weights(pleat, tmp_path, out, plain)


def test_mlx_lm_has_no_encoders(pleat, made, tmp_path):
    outputs = [tmp_path / path.name for path in (made.gguf, made.back)]
    for path, out in zip((made.gguf, made.back), outputs, strict=True):
        result = pleat.attempt("convert", path, "--to", "mlx", "-o", out)
        assert result.returncode == 0 and "mlx-lm has no model type" in result.stderr
    found, expected = (load_file(out / "model.safetensors") for out in outputs)
    assert sorted(found) == sorted(expected)
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name], tensor, name)


@pytest.mark.parametrize("name", ["distilbert", "roberta", "xlm-roberta", "nomic-bert"])
def test_a_config_of_the_same_model_is_taken(pleat, tmp_path, name):
    folder, model = encoder_models.make(case(name), tmp_path)
    path, out = tmp_path / "model.gguf", tmp_path / "out"
    pleat.run("convert", folder, "--to", "gguf", "--dtype", "F32", "-o", path)
    config = json.loads((folder / "config.json").read_text()) | {"comment": "own"}
    (folder / "config.json").write_text(json.dumps(config))
    command = ["convert", path, "--to", "safetensors", "-o", out, "--config-from", folder]
    pleat.run(*command)
    assert json.loads((out / "config.json").read_text())["comment"] == "own"
    np.testing.assert_array_equal(
        encoder_models.hidden_states(load(out), [5, 6, 7]),
        encoder_models.hidden_states(model, [5, 6, 7]),
    )
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    result = pleat.attempt(*command, "--force")
    assert result.returncode == STATUS["mismatch"] or name == "distilbert", result.stderr


def gguf_of(pleat, folder: Path, name: str) -> Path:
    source, _ = encoder_models.make(case(name), folder)
    pleat.run("convert", source, "--to", "gguf", "--dtype", "F32", "-o", folder / "model.gguf")
    return folder / "model.gguf"


def test_a_bert_without_a_known_tokenizer_computes_the_same(pleat, tmp_path):
    """Without padding, the positions of RoBERTa are those of BERT."""
    path = gguf_of(pleat, tmp_path, "roberta")
    key = "tokenizer.ggml.padding_token_id"
    other = gguf_files.edited(path, tmp_path / "other.gguf", {key: None})
    out = tmp_path / "out"
    result = pleat.attempt("convert", other, "--to", "safetensors", "-o", out)
    assert result.returncode == 0, result.stderr
    assert "becomes bert, because it does not say which token pads" in result.stdout + result.stderr
    model = transformers.AutoModel.from_pretrained(
        tmp_path / "roberta", dtype=torch.float32, attn_implementation="eager"
    )
    assert model_type(out) == "bert"
    np.testing.assert_array_equal(
        encoder_models.hidden_states(load(out), [5, 6, 7]),
        encoder_models.hidden_states(model.eval(), [5, 6, 7]),
    )


COUNT, FLAG = gguf_files.gguf.GGUFValueType.UINT32, gguf_files.gguf.GGUFValueType.BOOL
REFUSED = [
    ("bert", "bert.attention.causal", (True, FLAG), "unsupported"),
    ("bert", "bert.attention.causal", None, "unsupported"),
    ("bert", "bert.pooling_type", (4, COUNT), "unsupported"),
    ("bert", "bert.context_length", (128, COUNT), "malformed"),
    ("roberta", "bert.context_length", (128, COUNT), "malformed"),
    ("distilbert", "bert.attention.layer_norm_epsilon", (1e-5, FLOAT), "unsupported"),
    ("bert", "tokenizer.ggml.seperator_token_id", (1200, COUNT), "malformed"),
    ("bert", "tokenizer.ggml.tokens", ["▁same"] * encoder_models.ROWS, "malformed"),
    ("xlm-roberta", "tokenizer.ggml.add_space_prefix", (False, FLAG), "unsupported"),
    ("xlm-roberta", "tokenizer.ggml.precompiled_charsmap", [1, 2, 3], "malformed"),
]


@pytest.mark.parametrize(("name", "key", "value", "kind"), REFUSED)
def test_what_no_checkpoint_states_is_refused(pleat, tmp_path, name, key, value, kind):
    path = gguf_of(pleat, tmp_path, name)
    edited = gguf_files.edited(path, tmp_path / "edited.gguf", {key: value})
    result = pleat.attempt("convert", edited, "--to", "safetensors", "-o", tmp_path / "out")
    assert result.returncode == STATUS[kind], result.stderr
    named = (key, "position_embd", "embeddings.position_embeddings")
    assert any(word in result.stderr for word in named), result.stderr
    assert not (tmp_path / "out").exists()
