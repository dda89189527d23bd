"""A tokenizer that went to GGUF and back gives the ids of the original one."""

import json
from pathlib import Path

import gguf
import gguf_files
import pytest
import tokenizer_models
from test_tokenizer import GEMMA, LLAMA_2, fields
from tokenizer_models import BYTE_LEVEL, ROWS, Tokenizer, edit, texts, write_model
from tokenizers import AddedToken, processors
from transformers import AutoTokenizer

# Special tokens of the models within, before and after other text.
SPECIAL = ["<s>", "a</s>", "</s> b", "one</s>two <s> three<unk>", "<|end|><|end|>", " <tool> x"]
SAMPLES = texts(240) + SPECIAL


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_model(tmp_path / "model")


@pytest.fixture
def to_gguf(pleat, tmp_path):
    def convert(folder: Path) -> Path:
        path = tmp_path / f"{folder.name}.gguf"
        pleat.run("convert", folder, "--to", "gguf", "-o", path, "--force")
        return path

    return convert


@pytest.fixture
def back(pleat, to_gguf, tmp_path):
    """Converts a folder to GGUF and that to a folder again."""

    def convert(folder: Path) -> Path:
        copy = tmp_path / "back"
        pleat.run("convert", to_gguf(folder), "--to", "safetensors", "-o", copy, "--force")
        return copy

    return convert


def load(folder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def expect_same(original: Tokenizer, found: Tokenizer, samples: list[str]) -> None:
    assert len(samples) > 200
    for text in samples:
        for special in (True, False):
            ids = original.encode(text, add_special_tokens=special).ids
            assert found.encode(text, add_special_tokens=special).ids == ids, text
            assert (
                found.encode(text, "b", add_special_tokens=special).ids
                == original.encode(text, "b", add_special_tokens=special).ids
            )
            for skip in (True, False):
                decoded = original.decode(ids, skip_special_tokens=skip)
                assert found.decode(ids, skip_special_tokens=skip) == decoded, text


def expect_same_in_transformers(folder: Path, copy: Path, samples: list[str]) -> None:
    original, found = AutoTokenizer.from_pretrained(folder), AutoTokenizer.from_pretrained(copy)
    assert len(found) == len(original)
    for kind in ("bos", "eos", "unk", "pad"):
        for name in (f"{kind}_token", f"{kind}_token_id"):
            assert getattr(found, name) == getattr(original, name)
    assert found.chat_template == original.chat_template
    for special in (True, False):
        ids = original(samples, add_special_tokens=special)["input_ids"]
        assert found(samples, add_special_tokens=special)["input_ids"] == ids


@pytest.mark.parametrize("begins", [True, False], ids=["begins", "plain"])
@pytest.mark.parametrize("name", BYTE_LEVEL)
def test_a_byte_level_tokenizer_comes_back(folder, back, name, begins):
    original = tokenizer_models.write_byte_level(folder, name, begins=begins)
    copy = back(folder)
    expect_same(original, load(copy), SAMPLES)
    expect_same_in_transformers(folder, copy, SAMPLES)


def end(tokenizer: Tokenizer, single: str, pair: str, names: list[str]) -> None:
    ids = [(name, tokenizer.token_to_id(name)) for name in names]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=ids
    )


BOTH = "<|begin|> $A <|end|>", "<|begin|> $A <|end|> <|begin|>:1 $B:1 <|end|>:1"
LAST = "$A <|end|>", "$A <|end|> $B:1 <|end|>:1"


@pytest.mark.parametrize("single, pair", [BOTH, LAST], ids=["both", "end"])
@pytest.mark.parametrize("name", ["gpt-2", "llama-bpe"])
def test_tokens_at_both_ends_and_added_tokens_come_back(folder, back, name, single, pair):
    original = tokenizer_models.write_byte_level(folder, name)
    end(original, single, pair, [part for part in ("<|begin|>", "<|end|>") if part in single])
    original.add_tokens([AddedToken(text, normalized=False) for text in ("  two", "é\n")])
    original.add_special_tokens([AddedToken("<extra token>", normalized=False)])
    original.save(str(folder / "tokenizer.json"))
    copy = back(folder)
    samples = [*SAMPLES, "one  two é\n<extra token>", "   two<extra token> é\n\n"]
    expect_same(original, load(copy), samples)
    expect_same_in_transformers(folder, copy, samples)


def test_one_token_at_both_ends_comes_back(folder, back):
    original = tokenizer_models.write_byte_level(folder, "gpt-2")
    name = "<|endoftext|>"
    end(original, f"{name} $A {name}", f"{name} $A {name} {name}:1 $B:1 {name}:1", [name])
    original.save(str(folder / "tokenizer.json"))
    edit(
        folder / "tokenizer_config.json", lambda value: value.update(bos_token=name, eos_token=name)
    )
    copy = back(folder)
    expect_same(original, load(copy), SAMPLES)
    expect_same_in_transformers(folder, copy, SAMPLES)


# Before a leading space, Metaspace adds no space; SentencePiece and llama.cpp do. It also treats
# text after special tokens in another way.
def plain(samples: list[str]) -> list[str]:
    marks = ("<s>", "</s>", "<unk>", "<|", "<tool>")
    return [
        text
        for text in samples
        if not text.startswith((" ", "▁")) and not any(mark in text for mark in marks)
    ]


@pytest.mark.parametrize("dummy_prefix", [True, False], ids=["prefix", "bare"])
def test_a_sentencepiece_tokenizer_comes_back(folder, back, dummy_prefix):
    model = tokenizer_models.write_sentencepiece(folder, dummy_prefix=dummy_prefix)
    copy = back(folder)
    found = load(copy)
    samples = [text for text in texts(300) if "\x00" not in text]
    assert len(samples) > 200
    for text in samples:
        ids = model.encode(text)
        assert found.encode(text, add_special_tokens=False).ids == ids, text
        assert found.encode(text).ids == [model.bos_id(), *ids]
        assert found.decode([model.bos_id(), *ids]) == model.decode(ids)
    if dummy_prefix:
        expect_same_in_transformers(folder, copy, plain(texts(400)))


@pytest.mark.parametrize("normalizer", [None, LLAMA_2, GEMMA], ids=["metaspace", "llama", "gemma"])
def test_a_converted_sentencepiece_tokenizer_comes_back(folder, back, normalizer):
    original = tokenizer_models.write_converted(folder)
    samples = [*texts(400), *SPECIAL, "a \u00e9<0x41>", "-" * 77, " " * 55 + "x" + "=" * 33]
    if normalizer:
        edit(
            folder / "tokenizer.json",
            lambda value: value.update(normalizer=normalizer, pre_tokenizer=None),
        )
    if normalizer == GEMMA:
        edit(folder / "tokenizer.json", lambda value: value["decoder"]["decoders"].pop())
    copy = back(folder)
    if normalizer:
        original = load(folder)
        expect_same(original, load(copy), samples)
    else:
        for text in plain(samples):
            assert load(copy).encode(text).ids == original.encode(text).ids
        expect_same_in_transformers(folder, copy, plain(samples))


def test_the_tokenizer_of_tinylm_comes_back(tinylm, back):
    copy = back(tinylm)
    expect_same(load(tinylm), load(copy), SAMPLES)
    expect_same_in_transformers(tinylm, copy, SAMPLES)


@pytest.mark.parametrize("name", ["gpt-2", "llama-bpe", "qwen2", None])
def test_the_metadata_are_the_same_after_two_ways(folder, to_gguf, back, name):
    if name:
        tokenizer_models.write_byte_level(folder, name)
    else:
        tokenizer_models.write_converted(folder)
        # transformers 5 leaves this out.
        edit(folder / "tokenizer.json", lambda value: value["model"].update(unk_token="<unk>"))
    assert fields(to_gguf(back(folder))) == fields(to_gguf(folder))


def test_padding_is_no_token(folder, back):
    tokenizer_models.write_byte_level(folder, "qwen2")
    found = load(back(folder))
    assert found.get_vocab_size() < ROWS
    assert not [token for token in found.get_vocab() if token.startswith("[PAD")]


@pytest.mark.parametrize("named", [{}, {"rag": "R", "tool_use": "T\n{{ x }}"}])
@pytest.mark.parametrize("usual", [None, "{% for m in messages %}é{% endfor %}\n"])
def test_chat_templates_come_back(folder, back, usual, named):
    tokenizer_models.write_byte_level(folder, "gpt-2")
    edit(folder / "tokenizer_config.json", lambda value: value.pop("chat_template"))
    if usual:
        (folder / "chat_template.jinja").write_text(usual)
    if named:
        (folder / "additional_chat_templates").mkdir()
    for name, text in named.items():
        (folder / "additional_chat_templates" / f"{name}.jinja").write_text(text)
    expected = AutoTokenizer.from_pretrained(folder).chat_template
    assert AutoTokenizer.from_pretrained(back(folder)).chat_template == expected


PREFIX = "tokenizer.ggml."


@pytest.mark.parametrize(
    "status, key, value",
    [
        (69, "model", "rwkv"),
        (69, "pre", "default"),
        (69, "pre", "unknown-words"),
        (69, "pre", None),
        (65, "merges", None),
        (65, "merges", ["a b", "qqq zzz"]),
        (65, "token_type", None),
        (65, "token_type", [1, 1]),
        (65, "token_type", [9] * ROWS),
        (65, "tokens", ["same"] * ROWS),
        (65, "bos_token_id", ROWS),
        (65, "add_bos_token", "yes"),
    ],
)
def test_tokenizers_that_cannot_come_back_are_refused(
    pleat, folder, to_gguf, tmp_path, status, key, value
):
    tokenizer_models.write_byte_level(folder, "gpt-2")
    path = gguf_files.edited(to_gguf(folder), tmp_path / "edited.gguf", {PREFIX + key: value})
    result = pleat.attempt("convert", path, "--to", "safetensors", "-o", tmp_path / "back")
    assert result.returncode == status, result.stderr
    assert PREFIX + key in result.stderr
    assert not (tmp_path / "back").exists()
    if isinstance(value, str) and status == 69:
        assert value in result.stderr
        assert "--tokenizer-from" in result.stderr


def test_merges_come_from_the_scores_as_in_transformers(folder, to_gguf, back):
    """The reference is transformers' code that reads GGUF files."""
    from transformers.integrations.gguf import gguf_tokenizer_mapping as mapping

    tokenizer_models.write_sentencepiece(folder)
    found = json.loads((back(folder) / "tokenizer.json").read_text())["model"]["merges"]
    stored = fields(folder.with_suffix(".gguf"))
    tokens = stored[PREFIX + "tokens"][1]
    scores = stored[PREFIX + "scores"][1]
    kinds = stored[PREFIX + "token_type"][1]
    used = {token for token, kind in zip(tokens, kinds, strict=True) if kind == 1}
    vocabulary = {token: index for index, token in enumerate(tokens)}
    expected = mapping.generate_merges(vocabulary, dict(zip(tokens, scores, strict=True)))
    assert found == [[left, right] for left, right in expected if left + right in used]
