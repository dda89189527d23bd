"""Tokenizers of encoders give in llama.cpp the ids of transformers, or are refused."""

import json
import unicodedata
from pathlib import Path

import converter
import encoder_models
import pytest
import tokenizer_models
import transformers
from encoder_models import ROWS
from encoder_tokenizers import SCRIPTS, write_unigram, write_wordpiece
from test_encoders import refused
from test_tokenizer import expect_same, fields, llama_ids, value
from tokenizers import Tokenizer

pytestmark = pytest.mark.llama

TEXTS = [text for text in tokenizer_models.texts() if "\x00" not in text] + SCRIPTS


@pytest.fixture
def folder(tmp_path, request) -> Path:
    kind = getattr(request, "param", "bert")
    return write_model(tmp_path / kind, kind)


@pytest.fixture
def convert(pleat, tmp_path):
    def convert(folder: Path) -> Path:
        path = tmp_path / f"{folder.name}.gguf"
        pleat.run("convert", folder, "--to", "gguf", "-o", path, "--force")
        return path

    return convert


def write_model(folder: Path, kind: str) -> Path:
    name = {"bert": "BertConfig", "xlm-roberta": "XLMRobertaConfig"}[kind]
    sizes = dict(hidden_size=64, intermediate_size=64, num_hidden_layers=1)
    config = encoder_models.config_of(name, **(sizes | {"max_position_embeddings": 64}))()
    transformers.AutoModel.from_config(config).save_pretrained(folder)
    return folder


def edit(folder: Path, name: str, change) -> None:
    document = json.loads((folder / name).read_text())
    change(document)
    (folder / name).write_text(json.dumps(document))


def loses_letters(text: str) -> bool:
    """Whether llama.cpp removes letters of a text with the accents: of Korean and Indic scripts."""
    decomposed = unicodedata.normalize("NFD", text)
    return any(
        unicodedata.category(letter) in ("Mc", "Me") or "\u1160" <= letter <= "\u11ff"
        for letter in decomposed
    )


@pytest.mark.parametrize("cased", [False, True], ids=["lowercase", "cased"])
@pytest.mark.parametrize("accents", [None, True, False])
def test_llama_and_tokenizers_split_words_equally(folder, convert, tmp_path, cased, accents):
    options = {} if accents is None else {"strip_accents": accents}
    tokenizer = write_wordpiece(folder, cased, **options)
    path = convert(folder)
    strips = not cased if accents is None else accents
    texts = [text for text in TEXTS if not (strips and loses_letters(text))]
    assert len(texts) > 150
    expect_same(texts, llama_ids(path, texts), [tokenizer.encode(text).ids for text in texts])
    converter.convert(folder, {"f16": tmp_path / "theirs.gguf"}, "default", "--vocab-only")
    expect_same(TEXTS, llama_ids(path, TEXTS), llama_ids(tmp_path / "theirs.gguf", TEXTS))


@pytest.mark.parametrize("cased", [False, True], ids=["lowercase", "cased"])
def test_letters_that_llama_loses_are_noted(pleat, folder, tmp_path, cased):
    tokenizer = write_wordpiece(folder, cased)
    path = tmp_path / "noted.gguf"
    result = pleat.attempt("convert", folder, "--to", "gguf", "-o", path)
    assert result.returncode == 0, result.stderr
    assert ("Korean" in result.stdout + result.stderr) == (not cased)
    text = "한국어 हिन्दी"
    assert (llama_ids(path, [text])[0] == tokenizer.encode(text).ids) == cased


@pytest.mark.parametrize("cased", [False, True], ids=["lowercase", "cased"])
def test_wordpiece_keys_match_the_converter(folder, convert, tmp_path, cased):
    write_wordpiece(folder, cased)
    converter.convert(folder, {"f16": tmp_path / "theirs.gguf"}, "default", "--vocab-only")
    found, expected = fields(convert(folder)), fields(tmp_path / "theirs.gguf")
    assert list(found.items()) == list(expected.items())


def test_a_list_of_words_gives_the_tokenizer_of_transformers(folder, convert):
    tokenizer = write_wordpiece(folder)
    ids = tokenizer.get_vocab()
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in sorted(ids, key=ids.get)))
    with_json = fields(convert(folder))
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text("{}")
    assert fields(convert(folder)) == with_json


@pytest.mark.parametrize("folder", ["xlm-roberta"], indirect=True)
def test_llama_and_tokenizers_choose_pieces_equally(folder, convert):
    tokenizer = write_unigram(folder)
    path = convert(folder)
    expect_same(TEXTS, llama_ids(path, TEXTS), [tokenizer.encode(text).ids for text in TEXTS])


@pytest.mark.parametrize("folder", ["xlm-roberta"], indirect=True)
def test_unigram_keys_match_the_converter(folder, convert, tmp_path):
    write_unigram(folder, fullwidth=True)
    converter.convert(folder, {"f16": tmp_path / "theirs.gguf"}, "default", "--vocab-only")
    found, expected = fields(convert(folder)), fields(tmp_path / "theirs.gguf")
    # The converter takes this from an option for decoding.
    key = "tokenizer.ggml.remove_extra_whitespaces"
    assert (found[key], expected[key]) == ((["BOOL"], True), (["BOOL"], False))
    expected[key] = found[key]
    assert list(found.items()) == list(expected.items())


@pytest.mark.parametrize("folder", ["xlm-roberta"], indirect=True)
def test_a_unigram_model_alone_matches_the_converter(folder, convert, tmp_path):
    tokenizer = write_unigram(folder, keep=True)
    (folder / "tokenizer.json").unlink()
    converter.convert(folder, {"f16": tmp_path / "theirs.gguf"}, "default", "--vocab-only")
    path = convert(folder)
    found, expected = fields(path), fields(tmp_path / "theirs.gguf")
    expect_same(TEXTS, llama_ids(path, TEXTS), [tokenizer.encode(text).ids for text in TEXTS])
    mask = tokenizer.token_to_id("<mask>")
    # The converter leaves out the mask, and the marks that transformers adds. It counts the unused
    # tokens from one less.
    unused = slice(mask + 1, None)
    for tokens in (found, expected):
        assert tokens["tokenizer.ggml.tokens"][1][-1] in (f"[PAD{ROWS - 1}]", f"[PAD{ROWS - 2}]")
        del tokens["tokenizer.ggml.tokens"][1][unused]
    for key, kind in [("tokens", "<mask>"), ("scores", 0.0), ("token_type", 3)]:
        assert found[f"tokenizer.ggml.{key}"][1][mask] == kind
        expected[f"tokenizer.ggml.{key}"][1][mask] = kind
    for name in ("bos", "eos"):
        assert found.pop(f"tokenizer.ggml.add_{name}_token") == (["BOOL"], True)
    for name in ("unknown", "mask", "seperator", "bos", "eos", "padding"):
        key = f"tokenizer.ggml.{name}_token_id"
        assert found[key][1] == {"unknown": 3, "mask": mask, "bos": 0, "padding": 1}.get(name, 2)
        expected[key] = found[key]
    assert found == expected


def test_a_token_that_is_added_is_found_in_a_text(folder, convert):
    write_wordpiece(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens([tokenizer_models.AddedToken("<tool>", normalized=False)])
    tokenizer.save(str(folder / "tokenizer.json"))
    path = convert(folder)
    texts = ["call <tool> me", "a<tool>b", "[MASK] of [SEP]"]
    expected = [tokenizer.encode(text).ids for text in texts]
    assert tokenizer.token_to_id("<tool>") in expected[0]
    expect_same(texts, llama_ids(path, texts), expected)


def normalizer(**values):
    return lambda document: document["normalizer"].update(values)


REFUSED = {
    "normalizer.handle_chinese_chars": normalizer(handle_chinese_chars=False),
    "normalizer.clean_text": normalizer(clean_text=False),
    "normalizer": normalizer(type="Lowercase"),
    "pre_tokenizer": lambda document: document.update(pre_tokenizer={"type": "Whitespace"}),
    "continuing_subword_prefix": lambda document: document["model"].update(
        continuing_subword_prefix="@@"
    ),
    "post_processor": lambda document: document.update(post_processor=None),
}


@pytest.mark.parametrize("key", REFUSED)
def test_wordpiece_that_llama_computes_otherwise_is_refused(pleat, folder, key):
    write_wordpiece(folder)
    edit(folder, "tokenizer.json", REFUSED[key])
    refused(pleat, folder, "unsupported", key, "--tokenizer-from")


REFUSED_UNIGRAMS = {
    "normalizer": lambda document: document.update(normalizer={"type": "NFKC"}),
    "pre_tokenizer": lambda document: document.update(pre_tokenizer={"type": "Whitespace"}),
    "prepend_scheme": lambda document: document["pre_tokenizer"]["pretokenizers"][1].update(
        prepend_scheme="never"
    ),
    "byte_fallback": lambda document: document["model"].update(byte_fallback=True),
    "unk_id": lambda document: document["model"].update(unk_id=None),
}


@pytest.mark.parametrize("folder", ["xlm-roberta"], indirect=True)
@pytest.mark.parametrize("key", REFUSED_UNIGRAMS)
def test_unigrams_that_llama_computes_otherwise_are_refused(pleat, folder, key):
    write_unigram(folder)
    edit(folder, "tokenizer.json", REFUSED_UNIGRAMS[key])
    refused(pleat, folder, "unsupported", key, "--tokenizer-from")


@pytest.mark.parametrize("folder", ["xlm-roberta"], indirect=True)
def test_a_damaged_table_of_characters_is_refused(pleat, folder):
    write_unigram(folder)
    for text in ("AAAA", "not base 64!", ""):
        edit(
            folder,
            "tokenizer.json",
            lambda document, text=text: document["normalizer"].update(precompiled_charsmap=text),
        )
        refused(pleat, folder, "malformed", "precompiled_charsmap")


def test_settings_that_contradict_each_other_are_noted(pleat, folder, tmp_path):
    write_wordpiece(folder, cased=True)
    edit(folder, "tokenizer_config.json", lambda document: document.update(do_lower_case=True))
    result = pleat.attempt("convert", folder, "--to", "gguf", "-o", tmp_path / "noted.gguf")
    assert "do_lower_case" in result.stdout + result.stderr
    assert value(tmp_path / "noted.gguf", "normalizer.lowercase") is False


def test_the_vocabulary_is_padded_to_the_rows(folder, convert):
    write_wordpiece(folder)
    tokens = value(convert(folder), "tokens")
    assert len(tokens) == ROWS
    assert tokens[-1] == f"▁[PAD{ROWS - 1}]"
