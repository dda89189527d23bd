"""Encoders become the tensors, the metadata and the vectors of llama.cpp's converter."""

import dataclasses
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import converter
import encoder_models
import ggml
import gguf
import numpy as np
import pytest
from encoder_models import ENCODERS, ROWS, Encoder
from encoder_tokenizers import PRE_TOKENIZERS, SCRIPTS
from test_tokenizer import STATUS
from tokenizers import Tokenizer

pytestmark = pytest.mark.llama

TYPES = ["f32", "f16"]
POOLINGS = {"mean": 1, "cls": 2}
# Relative to the largest number. llama.cpp approximates GELU, with a table of half precision.
GELU_BY_TABLE = 2e-3
EXACT = 1e-5


@dataclass
class Made:
    """A model, the same in transformers, and its converted files, each made once."""

    case: Encoder
    folder: Path
    model: object

    def theirs(self, type: str) -> Path:
        paths = {type: self.folder.parent / f"theirs-{type}.gguf" for type in TYPES}
        if not paths[type].exists():
            pre = PRE_TOKENIZERS.get(self.case.tokenizer, "default")
            converter.convert(self.folder, paths, pre)
        return paths[type]

    def ours(self, pleat, type: str) -> Path:
        path = self.folder.parent / f"ours-{type}.gguf"
        if not path.exists():
            pleat.run("convert", self.folder, "--to", "gguf", "--dtype", type.upper(), "-o", path)
        return path


@pytest.fixture(scope="module", params=ENCODERS, ids=str)
def made(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param.name)
    yield Made(request.param, *encoder_models.make(request.param, folder))
    shutil.rmtree(folder)


def tensors(path: Path) -> dict:
    return {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}


@pytest.mark.parametrize("type", TYPES)
def test_tensors_match_the_converter(pleat, made, type):
    found, expected = tensors(made.ours(pleat, type)), tensors(made.theirs(type))
    # Of a language model, the converter also keeps a part of the head.
    expected = {name: tensor for name, tensor in expected.items() if not name.startswith("cls.")}
    expected.pop("cls.weight", None)
    assert sorted(found) == sorted(expected)
    assert len(expected) > 4 * 5
    for name, tensor in expected.items():
        assert found[name].tensor_type == tensor.tensor_type, name
        assert found[name].shape.tolist() == tensor.shape.tolist(), name
        assert found[name].data.tobytes() == tensor.data.tobytes(), name


LABELS = ["name", "basename", "finetune", "version", "size_label"]


def metadata(path: Path) -> dict:
    fields = gguf.GGUFReader(path).fields
    return {
        key: ([type.name for type in field.types[:2]], field.contents())
        for key, field in fields.items()
        if not key.startswith("GGUF.") and key not in [f"general.{label}" for label in LABELS]
    }


def expect_derived(case: Encoder, found: dict, expected: dict) -> None:
    """Removes the keys that may differ, after checking that they differ only as expected."""
    if case.tokenizer == "unigram":
        # The converter takes this from an option for decoding; it merges no spaces.
        key = "tokenizer.ggml.remove_extra_whitespaces"
        assert found.pop(key) == (["BOOL"], True)
        assert expected.pop(key) == (["BOOL"], False)
    if case.name.startswith("modernbert"):
        # llama.cpp does not read the first one, and has the period of the second one by default.
        expected.pop("modern-bert.attention.layer_norm_rms_epsilon")
        expected.pop("modern-bert.classifier.pooling_type")
        period = expected.pop("modern-bert.attention.sliding_window_pattern", None)
        assert period in (None, (["UINT32"], 3))
        # It refuses a file without this one, which the converter takes from another key.
        epsilon = found["modern-bert.attention.layer_norm_epsilon"]
        expected.setdefault("modern-bert.attention.layer_norm_epsilon", epsilon)


@pytest.mark.parametrize("type", TYPES)
def test_metadata_matches_the_converter(pleat, made, type):
    found, expected = metadata(made.ours(pleat, type)), metadata(made.theirs(type))
    expect_derived(made.case, found, expected)
    found.pop("pleat.history", None)
    assert len(expected["tokenizer.ggml.tokens"][1]) == ROWS
    differing = {key for key in found | expected if found.get(key) != expected.get(key)}
    assert not {key: (found.get(key), expected.get(key)) for key in differing}


def tolerance(case: Encoder) -> float:
    return EXACT if case.name in ("nomic-bert", "modernbert-silu") else GELU_BY_TABLE


def ids_of(made: Made, text: str) -> list[int]:
    return Tokenizer.from_file(str(made.folder / "tokenizer.json")).encode(text).ids


LONG = " ".join(SCRIPTS[:2] * 2)  # longer than the window of sliding layers


def test_vectors_match_transformers(pleat, made):
    texts = [SCRIPTS[0], SCRIPTS[1], LONG]
    path = made.ours(pleat, "f32")
    found = encoder_models.llama_vectors(path, texts, pooling=0)
    for text, vectors in zip(texts, found, strict=True):
        expected = encoder_models.hidden_states(made.model, ids_of(made, text))
        assert vectors.shape == expected.shape
        assert np.abs(expected).max() > 1
        limit = tolerance(made.case) * np.abs(expected).max()
        assert np.abs(vectors - expected).max() < limit


def test_pooled_vectors_match_transformers(pleat, made):
    if made.case.pooling is None:
        pytest.skip("the model states no pooling")
    path = made.ours(pleat, "f32")
    (found,) = encoder_models.llama_vectors(path, [LONG], pooling=-1)
    states = encoder_models.hidden_states(made.model, ids_of(made, LONG))
    expected = states.mean(0) if made.case.pooling == "mean" else states[0]
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < tolerance(made.case) * np.abs(states).max()


@pytest.mark.parametrize("type", ["Q8_0", "Q4_0", "Q4_K_M", "Q6_K"])
def test_mixes_are_those_of_llama_quantize(pleat, made, tmp_path, type):
    if made.case.name == "xlm-roberta" and type != "Q4_K_M":
        pytest.skip("as roberta, with a vocabulary of 250,000 tokens")
    ours, theirs = tmp_path / "ours.gguf", tmp_path / "theirs.gguf"
    ggml.quantize_file(made.ours(pleat, "f32"), theirs, type, pure=False)
    pleat.run(
        "quantize", made.folder, "--to", "gguf", "--scheme", "ggml", "--type", type, "-o", ours
    )
    found, expected = ggml.blocks(ours), ggml.blocks(theirs)
    assert sorted(found) == sorted(expected)
    # The matrices of each layer, and the token embeddings.
    assert sum(name in ggml.TYPES for name, _ in expected.values()) >= 4 * 4 + 1
    assert not {name for name in expected if found[name] != expected[name]}
    for name in ("position_embd.weight", "token_types.weight"):
        assert name not in found or found[name][0] == "F32"


def test_quantized_vectors_are_near(pleat, made, tmp_path):
    path = tmp_path / "quantized.gguf"
    pleat.run("quantize", made.folder, "--to", "gguf", "--type", "Q8_0", "-o", path)
    (found,) = encoder_models.llama_vectors(path, [LONG], pooling=2)
    expected = encoder_models.hidden_states(made.model, ids_of(made, LONG))[0]
    cosine = found @ expected / np.linalg.norm(found) / np.linalg.norm(expected)
    assert cosine > 0.99


def test_verify_compares_under_translated_names(pleat, made):
    pleat.run("verify", made.ours(pleat, "f32"), "--against", made.folder)


def refused(pleat, folder: Path, kind: str, *fragments: str) -> None:
    path = folder.parent / "refused.gguf"
    result = pleat.attempt("convert", folder, "--to", "gguf", "-o", path)
    assert result.returncode == STATUS[kind], result.stderr
    assert not [part for part in fragments if part not in result.stderr], result.stderr
    assert not path.exists()


def case(name: str) -> Encoder:
    return next(case for case in ENCODERS if case.name == name)


REFUSED = [
    ("bert", "hidden_act", "relu", "unsupported"),
    ("bert", "position_embedding_type", "relative_key", "unsupported"),
    ("bert", "is_decoder", True, "unsupported"),
    ("bert", "max_position_embeddings", 255, "malformed"),
    ("bert", "type_vocab_size", 3, "malformed"),
    ("bert", "num_hidden_layers", 3, "malformed"),
    ("roberta", "pad_token_id", 300, "malformed"),
    ("nomic-bert", "activation_function", "gelu", "unsupported"),
    ("nomic-bert", "moe_every_n_layers", 2, "unsupported"),
    ("nomic-bert", "rotary_emb_interleaved", True, "unsupported"),
    ("modernbert", "norm_bias", True, "unsupported"),
    ("modernbert", "hidden_activation", "relu", "unsupported"),
]


@pytest.mark.parametrize(("name", "key", "value", "kind"), REFUSED)
def test_a_config_that_llama_does_not_compute_is_refused(pleat, tmp_path, name, key, value, kind):
    folder, _ = encoder_models.make(case(name), tmp_path)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    refused(pleat, folder, kind, key)


def test_a_model_of_masked_words_becomes_the_model_inside_it(pleat, tmp_path):
    modern = case("modernbert")
    whole = dataclasses.replace(modern, auto="AutoModelForMaskedLM")
    folder, model = encoder_models.make(whole, tmp_path)
    made = Made(whole, folder, model)
    names = tensors(made.ours(pleat, "f32"))
    assert not [name for name in names if name.startswith(("cls", "output."))]
    test_vectors_match_transformers(pleat, made)


def test_the_keys_of_the_published_nomic_suffice(pleat, tmp_path):
    folder, model = encoder_models.make(case("nomic-bert"), tmp_path)
    made = Made(case("nomic-bert"), folder, model)
    expected = metadata(made.ours(pleat, "f32"))
    for key in ("key", "value"):  # which only transformers' own config states
        assert expected.pop(f"nomic-bert.attention.{key}_length")[1] == 128 // 4
    path = folder / "config.json"
    path.write_text(json.dumps(encoder_models.PUBLISHED_NOMIC))
    made.ours(pleat, "f32").unlink()
    assert metadata(made.ours(pleat, "f32")) == expected


def test_layers_that_slide_otherwise_keep_their_list(pleat, tmp_path):
    folder, _ = encoder_models.make(case("modernbert"), tmp_path)
    path = folder / "config.json"
    kinds = ["sliding_attention", "full_attention"] * 2
    path.write_text(json.dumps(json.loads(path.read_text()) | {"layer_types": kinds}))
    model = encoder_models.transformers.AutoModel.from_pretrained(
        folder, attn_implementation="eager", local_files_only=True
    ).eval()
    made = Made(case("modernbert"), folder, model)
    key = "modern-bert.attention.sliding_window_pattern"
    assert metadata(made.ours(pleat, "f32"))[key][1] == [True, False] * 2
    test_vectors_match_transformers(pleat, made)


def test_a_head_for_classes_is_refused(pleat, tmp_path):
    model = encoder_models.Encoder(
        "ranker",
        encoder_models.config_of("BertConfig", **encoder_models.BERT),
        "wordpiece",
        auto="AutoModelForSequenceClassification",
    )
    folder, _ = encoder_models.make(model, tmp_path)
    refused(pleat, folder, "unsupported", "classifier", "head for classification")
