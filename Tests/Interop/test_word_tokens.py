"""`pleat tokenize` gives ids for models that embed texts: those of Hugging Face or llama.cpp."""

import json
from functools import cache
from itertools import product
from pathlib import Path

import gguf
import pytest
from encoder_tokenizers import SCRIPTS, SPECIAL, write_unigram, write_wordpiece
from test_encoder_tokenizers import convert, folder
from test_tokenizer import llama_ids
from test_tokens import expect_equal, ids, long_text, noise
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)
from transformers import AutoTokenizer

__all__ = ["convert", "folder", "ids"]

# Marks that the normal form D sorts and that stay where accents are removed.
SORTED = ["\u302e", "\u1bf2", "\U0001d166", "\U0001e000", "\u0301", "\u0327", "\U0001d15e"]
WORDS = ["[CLS]", " [MASK] ", "##s", "'s", *SORTED, "İ", "ẞ", "각", "ﬁ", "\u0f73\u0f71", "é"]
CLASSES = ["clean_text", "handle_chinese_chars", "lowercase"]


@cache
def text_of(seed: int, count: int = 2500) -> str:
    return long_text(seed, WORDS) + "\n".join(SCRIPTS) + noise(seed + 100, count, WORDS)


def letters(text: str) -> list[str]:
    """The letters of all normal forms of a text, so that no word hides what becomes of it."""
    forms = [text]
    for options in product([False, True], repeat=2):
        normalizer = normalizers.BertNormalizer(False, False, *options)
        forms.append(normalizer.normalize_str(text))
    return sorted(set("".join(forms)))


def words(vocabulary: list[str], prefix: str = "##", **options) -> Tokenizer:
    """A tokenizer of letters and of these tokens."""
    tokens = dict.fromkeys([*SPECIAL, *vocabulary, *(prefix + text for text in vocabulary)])
    tokenizer = Tokenizer(
        models.WordPiece(
            {text: id for id, text in enumerate(tokens)},
            unk_token="[UNK]",
            continuing_subword_prefix=prefix,
            **options,
        )
    )
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix=prefix)
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


def contents(pleat, folder: Path, text: str) -> dict:
    source = folder / "text.txt"
    source.write_bytes(text.encode())
    return json.loads(pleat.run("tokenize", folder, "--text", source, "--json"))


@pytest.mark.parametrize("accents", [None, False, True])
def test_ids_of_word_pieces_are_those_of_tokenizers(tmp_path, ids, accents):
    text = text_of(11)
    tokenizer = words(letters(text) + ["the", "fox", "lazy", "Th", "über", "ok", "ing"])
    for options in product([False, True], repeat=len(CLASSES)):
        tokenizer.normalizer = normalizers.BertNormalizer(
            strip_accents=accents, **dict(zip(CLASSES, options, strict=True))
        )
        tokenizer.save(str(tmp_path / "tokenizer.json"))
        expect_equal(ids(tmp_path, text), tokenizer, text)


def test_ids_of_much_noise_are_those_of_tokenizers(tmp_path, ids):
    text = text_of(12, 100_000)
    tokenizer = words(letters(text), max_input_chars_per_word=1000)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    expect_equal(ids(tmp_path, text), tokenizer, text)


@pytest.mark.parametrize("options", product([False, True], repeat=2))
def test_every_letter_becomes_what_it_becomes_in_tokenizers(tmp_path, ids, options):
    codes = [*range(0xD800), *range(0xE000, 0x32400), *range(0xE0000, 0xE0400), 0xF0000, 0x10FFFD]
    text = " ".join(f"a{chr(code)}b" for code in codes)
    text += " ".join(f"a\u302e\u0327{chr(code)}\u1bf2b" for code in codes)
    tokenizer = words(letters(text))
    strips, lowercases = options
    tokenizer.normalizer = normalizers.BertNormalizer(True, True, strips, lowercases)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    expect_equal(ids(tmp_path, text), tokenizer, text)


def test_other_settings_of_word_pieces_are_those_of_tokenizers(pleat, tmp_path, ids):
    text = text_of(13)
    tokenizer = words(letters(text) + ["the", "ok"], "@@", max_input_chars_per_word=5)
    tokenizer.add_tokens([AddedToken("Fox", single_word=True), AddedToken("é", lstrip=True)])
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.normalizer = normalizers.Sequence([tokenizer.normalizer])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    expect_equal(ids(tmp_path, text), tokenizer, text)


@pytest.mark.parametrize("decoder", ["clean", "plain", "none"])
def test_texts_of_word_pieces_are_those_of_tokenizers(pleat, tmp_path, decoder):
    tokenizer = write_wordpiece(tmp_path)
    tokenizer.decoder = decoders.WordPiece(cleanup=decoder == "clean")
    document = json.loads(tokenizer.to_str())
    if decoder == "none":
        document["decoder"] = None
    tokenizer = Tokenizer.from_str(json.dumps(document))
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    for text in [*SCRIPTS, "", "Don't stop. I'm here, they've gone!", "x"]:
        found = contents(pleat, tmp_path, text)
        assert found["tokens"] == tokenizer.encode(text).ids
        assert found["text"] == tokenizer.decode(found["tokens"], skip_special_tokens=False)
    part = next(id for text, id in tokenizer.get_vocab().items() if text.startswith("##"))
    path = tmp_path / "part.jsonl"
    path.write_text(json.dumps([part, part, 2]))
    found = json.loads(pleat.run("tokenize", tmp_path, "--tokens", path, "--json"))
    assert found["text"] == tokenizer.decode([part, part, 2], skip_special_tokens=False)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"do_lower_case": False, "tokenize_chinese_chars": False},
        {"strip_accents": False, "mask_token": "[M]", "extra_special_tokens": ["[X]"]},
    ],
)
def test_a_list_of_words_gives_the_ids_of_transformers(tmp_path, ids, settings):
    text = text_of(14)
    lines = [*SPECIAL, "[M]", *(letter for letter in letters(text) if letter.strip())]
    lines += [f"##{line}" for line in lines[6:]]
    (tmp_path / "vocab.txt").write_text("".join(f"{line}\n" for line in lines), newline="\n")
    settings = {"tokenizer_class": "BertTokenizer"} | settings
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path).backend_tokenizer
    text += " [M] [X] a[MASK]b"
    expect_equal(ids(tmp_path, text), tokenizer, text)


@pytest.mark.parametrize("options", [{}, {"add_prefix_space": False}])
def test_a_unigram_model_alone_gives_the_ids_of_transformers(tmp_path, ids, options):
    write_unigram(tmp_path, keep=True)
    for name in ["tokenizer.json", "tokenizer_config.json"]:
        (tmp_path / name).unlink()
    settings = {"tokenizer_class": "XLMRobertaTokenizer"} | options
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path).backend_tokenizer
    text = text_of(15)
    expect_equal(ids(tmp_path, text), tokenizer, text)


def write_llama_words(path: Path, vocabulary: list[str], lowercase: bool, strips) -> None:
    """A GGUF file with a tokenizer only, of letters that begin words and of those that do not."""
    parts = [text for text in vocabulary if "▁" not in text]
    tokens = dict.fromkeys([*SPECIAL, *("▁" + text for text in parts), *parts])
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(list(tokens))
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(tokens) - len(SPECIAL)))
    for id, add in enumerate(
        [writer.add_pad_token_id, writer.add_unk_token_id, writer.add_bos_token_id]
    ):
        add(id)
    writer.add_sep_token_id(3)
    writer.add_mask_token_id(4)
    writer.add_bool("tokenizer.ggml.normalizer.lowercase", lowercase)
    if strips is not None:
        writer.add_bool("tokenizer.ggml.normalizer.strip_accents", strips)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def expect_llama(ids, path: Path, text: str) -> None:
    text = text.replace("\0", "")
    expected = llama_ids(path, [text])[0]
    assert len(expected) > 1000
    assert ids(path, text) == expected


@pytest.mark.llama
@pytest.mark.parametrize(("lowercase", "strips"), product([False, True], [None, False, True]))
def test_ids_of_word_pieces_of_gguf_are_those_of_llama(tmp_path, ids, lowercase, strips):
    codes = [*range(1, 0xD800), *range(0xE000, 0x32400), *range(0xE0000, 0xE0200)]
    text = text_of(16, 20_000) + " ".join(f"a{chr(code)}b" for code in codes)
    path = tmp_path / "words.gguf"
    vocabulary = letters(text.replace("\0", "")) + ["the", "ok", "ing"]
    write_llama_words(path, vocabulary, lowercase, strips)
    expect_llama(ids, path, text + "x" * 5000)


@pytest.mark.llama
def test_ids_of_converted_word_pieces_are_those_of_llama(folder, convert, ids):
    write_wordpiece(folder)
    expect_llama(ids, convert(folder), text_of(17))


@pytest.mark.llama
@pytest.mark.parametrize("folder", ["xlm-roberta"], indirect=True)
def test_ids_of_unigrams_of_gguf_are_those_of_llama(folder, convert, ids):
    document = json.loads(write_unigram(folder).to_str())
    first = ["ﬁ", "ｆｕｌｌ", "①", "각", "\u1e9b\u0323", " <mask> ", "<s>", "<unk>", "▁"]
    expect_llama(ids, convert(folder), text_of(18) + noise(19, 3000, first))
    document["pre_tokenizer"] = document["pre_tokenizer"]["pretokenizers"][1]
    (folder / "tokenizer.json").write_text(json.dumps(document))
    expect_llama(ids, convert(folder), text_of(18) + noise(20, 3000, first))


def test_what_is_not_known_of_word_pieces_is_refused(pleat, tmp_path):
    write_wordpiece(tmp_path)
    document = json.loads((tmp_path / "tokenizer.json").read_text())
    for key, value, place in [
        ("decoder", {"type": "CTC"}, "decoder"),
        ("normalizer", {"type": "Lowercase"}, "normalizer"),
        ("pre_tokenizer", {"type": "Whitespace"}, "pre_tokenizer"),
        ("model", document["model"] | {"unk_token": "[NONE]"}, "model.unk_token"),
    ]:
        (tmp_path / "tokenizer.json").write_text(json.dumps(document | {key: value}))
        result = pleat.attempt("tokenize", tmp_path, "a")
        assert result.returncode == (65 if key == "model" else 69), result.stderr
        assert place in result.stderr
