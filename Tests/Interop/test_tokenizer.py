"""Hugging Face tokenizers in GGUF give the ids of llama.cpp and the keys of its converter."""

import json
from pathlib import Path

import converter
import gguf
import pytest
import tokenizer_models
from tokenizer_models import BYTE_LEVEL, RARE, ROWS, edit, texts, write_model

STATUS = {"usage": 64, "malformed": 65, "mismatch": 65, "unsupported": 69}
DONOR = "--tokenizer-from"

# For these, llama.cpp distinguishes lower and upper case only in ASCII; the command prints a note.
ROUGH = {"gpt-4o", "tekken"}


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_model(tmp_path / "model")


@pytest.fixture
def convert(pleat, tmp_path):
    def convert(folder: Path, *options) -> Path:
        path = tmp_path / f"{folder.name}.gguf"
        pleat.run("convert", folder, "--to", "gguf", "-o", path, "--force", *options)
        return path

    return convert


def fields(path: Path) -> dict:
    """The keys of the tokenizer in file order: key → (types, value)."""
    return {
        key: ([type.name for type in field.types], field.contents())
        for key, field in gguf.GGUFReader(path).fields.items()
        if key.startswith("tokenizer.")
    }


def value(path: Path, key: str):
    return fields(path).get(f"tokenizer.ggml.{key}", (None, None))[1]


def llama_ids(path: Path, texts: list[str], special: bool = True) -> list[list[int]]:
    import llama_cpp

    model = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
    ids = [model.tokenize(text.encode(), add_bos=True, special=special) for text in texts]
    model.close()
    return ids


def expect_same(texts: list[str], found: list[list[int]], expected: list[list[int]]) -> None:
    wrong = [
        (text, left, right)
        for text, left, right in zip(texts, found, expected, strict=True)
        if left != right
    ]
    assert not wrong, f"{len(wrong)} of {len(texts)}: {wrong[:3]}"


@pytest.mark.llama
@pytest.mark.parametrize("begins", [True, False], ids=["begins", "plain"])
@pytest.mark.parametrize("name", BYTE_LEVEL)
def test_llama_and_tokenizers_split_bytes_equally(folder, convert, name, begins):
    tokenizer = tokenizer_models.write_byte_level(folder, name, begins=begins)
    path = convert(folder)
    assert value(path, "pre") == name.split(",")[0]
    samples = [text for text in texts() if text.isascii() or name not in ROUGH]
    assert len(samples) > 50
    expected = [tokenizer.encode(text).ids for text in samples]
    expect_same(samples, llama_ids(path, samples), expected)


# For these, llama.cpp does not distinguish lower and upper case, or only in ASCII.
CASELESS = {"youtu", "tiny_aya", "granite-embed-multi-97m"}


@pytest.mark.llama
@pytest.mark.parametrize("name", RARE)
def test_llama_and_tokenizers_split_by_rare_patterns_equally(folder, convert, name):
    tokenizer = tokenizer_models.write_byte_level(folder, name, begins=False)
    path = convert(folder)
    assert value(path, "pre") == name
    samples = texts() + ["a" + " " * count + "b" for count in (3, 4, 5, 9, 600)]
    if name in CASELESS:
        samples = [text.lower() for text in samples]
    if name == "tiny_aya":  # llama.cpp splits what is beside numbers in another way.
        samples = [text for text in samples if not any(map(str.isdigit, text))]
        samples += ["7", "1234567", "1,234.56789"]
    assert len(samples) > 100
    expect_same(samples, llama_ids(path, samples), [tokenizer.encode(t).ids for t in samples])


@pytest.mark.llama
@pytest.mark.parametrize("dummy_prefix", [True, False], ids=["prefix", "bare"])
def test_llama_and_sentencepiece_split_equally(folder, convert, dummy_prefix):
    model = tokenizer_models.write_sentencepiece(folder, dummy_prefix=dummy_prefix)
    path = convert(folder)
    samples = [text for text in texts() if "\x00" not in text]
    expected = [[model.bos_id(), *model.encode(text)] for text in samples]
    expect_same(samples, llama_ids(path, samples, special=False), expected)


SPACES = {"pattern": {"String": " "}, "content": "▁"}
LLAMA_2 = {
    "type": "Sequence",
    "normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", **SPACES}],
}
GEMMA = {"type": "Replace", **SPACES}


# Files of Llama 2 and Gemma have these normalizers; transformers 5 writes Metaspace instead.
@pytest.mark.llama
@pytest.mark.parametrize("normalizer", [None, LLAMA_2, GEMMA], ids=["metaspace", "llama", "gemma"])
def test_llama_and_a_converted_sentencepiece_split_equally(folder, convert, normalizer):
    tokenizer = tokenizer_models.write_converted(folder)
    if normalizer:
        edit(folder / "tokenizer.json", lambda value: value.update(
            normalizer=normalizer, pre_tokenizer=None))
        tokenizer = type(tokenizer).from_file(str(folder / "tokenizer.json"))
    path = convert(folder)
    assert value(path, "add_space_prefix") is (False if normalizer == GEMMA else None)
    samples = [text for text in texts() if "\x00" not in text]
    if normalizer:
        samples += ["one</s>two <s> three", "<s>"]
    else:
        # Before a leading space, Metaspace adds no space; SentencePiece and llama.cpp do.
        samples = [text for text in samples if not text.startswith((" ", "▁"))]
    expect_same(samples, llama_ids(path, samples), [tokenizer.encode(t).ids for t in samples])


def test_a_tokenizer_with_other_merges_than_sentencepiece_is_refused(pleat, folder):
    tokenizer_models.write_converted(folder)
    edit(folder / "tokenizer.json", lambda value: value["model"].update(
        merges=value["model"]["merges"][::2]))
    refused(pleat, folder, "unsupported", "merges", DONOR)


def converted_by_llama(folder: Path, path: Path, pre: str = "default") -> dict:
    converter.convert(folder, {"f16": path}, pre, "--vocab-only")
    return fields(path)


@pytest.mark.llama
@pytest.mark.parametrize("name", ["gpt-2", "llama-bpe", "qwen2"])
@pytest.mark.parametrize("model_type", ["llama", "qwen2", "qwen3"])
def test_byte_level_keys_match_the_converter(convert, tmp_path, name, model_type):
    folder = write_model(tmp_path / "model", model_type, bos_token_id=1, eos_token_id=2)
    tokenizer_models.write_byte_level(folder, name)
    found, expected = fields(convert(folder)), converted_by_llama(folder, tmp_path / "x", name)
    assert list(found.items()) == list(expected.items())


@pytest.mark.llama
@pytest.mark.parametrize("model_type", ["llama", "mistral", "gemma2", "gemma3_text", "phi3"])
def test_sentencepiece_keys_match_the_converter(convert, tmp_path, model_type):
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "unk_token_id": 0}
    folder = write_model(tmp_path / "model", model_type, **ids)
    tokenizer_models.write_sentencepiece(folder)
    edit(folder / "added_tokens.json", lambda value: value.update({"<extra>": 1001}))
    # The converter has separate code for Phi 3, which does not change these spaces.
    gap = "gap" if model_type == "phi3" else "▁▁gap"
    tokens = {
        "1000": {"content": "<|turn|>", "special": True},
        "1002": {"content": gap, "special": False},
    }
    edit(
        folder / "tokenizer_config.json",
        lambda value: value.update(added_tokens_decoder=tokens, chat_template="{{ messages }}"),
    )
    found, expected = fields(convert(folder)), converted_by_llama(folder, tmp_path / "x")
    assert list(found.items()) == list(expected.items())


def test_named_templates_keep_their_names(folder, convert):
    tokenizer_models.write_byte_level(folder, "gpt-2")
    templates = [{"name": "default", "template": "a"}, {"name": "tool-use", "template": "b"}]
    edit(
        folder / "tokenizer_config.json", lambda value: value.update(chat_template=templates)
    )
    found = fields(convert(folder))
    assert found["tokenizer.chat_template"][1] == "a"
    assert found["tokenizer.chat_template.tool_use"][1] == "b"
    assert found["tokenizer.chat_templates"][1] == ["tool_use"]


@pytest.mark.parametrize("file", [None, "J"])
@pytest.mark.parametrize("named", [{}, {"rag": "R"}, {"default": "D", "tool_use": "T"}])
@pytest.mark.parametrize("stated", ["absent", None, "C", [{"name": "default", "template": "L"}]])
def test_chat_templates_are_those_of_transformers(folder, convert, file, named, stated):
    transformers = pytest.importorskip("transformers")
    tokenizer_models.write_byte_level(folder, "gpt-2")
    settings = {} if stated == "absent" else {"chat_template": stated}
    edit(folder / "tokenizer_config.json", lambda value: value.pop("chat_template"))
    edit(folder / "tokenizer_config.json", lambda value: value.update(settings))
    if file:
        (folder / "chat_template.jinja").write_text(file)
    if named:
        (folder / "additional_chat_templates").mkdir()
    for name, text in named.items():
        (folder / "additional_chat_templates" / f"{name}.jinja").write_text(text)
    template = transformers.AutoTokenizer.from_pretrained(folder).chat_template
    expected = template if isinstance(template, dict) else {"default": template}
    found = fields(convert(folder))
    key = "tokenizer.chat_template"
    for name in ("default", "rag", "tool_use"):
        entry = found.get(key if name == "default" else f"{key}.{name}", (None, None))
        assert entry[1] == expected.get(name)


@pytest.mark.llama
def test_the_tokenizer_of_tinylm_is_recognised(tinylm, convert):
    tokenizer = tokenizer_models.Tokenizer.from_file(str(tinylm / "tokenizer.json"))
    path = convert(tinylm)
    assert value(path, "pre") == "gpt-2"
    expect_same(texts(), llama_ids(path, texts()), [tokenizer.encode(t).ids for t in texts()])


def refused(pleat, folder: Path, kind: str, *fragments: str, options=()) -> None:
    path = folder.with_suffix(".gguf")
    result = pleat.attempt("convert", folder, "--to", "gguf", "-o", path, *options)
    assert result.returncode == STATUS[kind], result.stderr
    assert not [part for part in fragments if part not in result.stderr], result.stderr
    assert not path.exists()


def test_an_unknown_pre_tokenizer_is_refused_unless_it_is_named(pleat, folder, convert):
    tokenizer_models.write_byte_level(folder, "gpt-2")
    pattern = r"\p{L}+|\P{L}"
    edit(folder / "tokenizer.json", lambda value: value.update(
        pre_tokenizer={"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated",
             "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
        ]}))
    refused(pleat, folder, "unsupported", pattern, "--tokenizer-pre", DONOR)
    refused(pleat, folder, "usage", "qwen2", options=["--tokenizer-pre", "qwen3"])
    assert value(convert(folder, "--tokenizer-pre", "qwen2"), "pre") == "qwen2"


def test_the_tokenizer_of_another_file_is_copied_completely(pleat, folder, convert, tmp_path):
    tokenizer_models.write_byte_level(folder, "qwen2")
    donor = convert(folder)
    other = write_model(tmp_path / "bare")
    refused(pleat, other, "unsupported", DONOR)
    assert list(fields(convert(other, DONOR, donor)).items()) == list(fields(donor).items())
    smaller = write_model(tmp_path / "smaller", rows=ROWS - 1)
    refused(pleat, smaller, "mismatch", str(ROWS), str(ROWS - 1), options=[DONOR, donor])


def test_tokenizers_unknown_to_llama_are_refused(pleat, folder):
    (folder / "vocab.txt").write_text("[UNK]\nthe\n")
    refused(pleat, folder, "unsupported", "WordPiece", DONOR)
    tokenizer_models.write_sentencepiece(folder, model_type="unigram")
    refused(pleat, folder, "unsupported", "unigram", DONOR)
    tokenizer_models.write_sentencepiece(folder, byte_fallback=False)
    refused(pleat, folder, "unsupported", "<0x00>", DONOR)
    (folder / "tokenizer.model").write_bytes(b"IQ== 0\nIg== 1\n")
    refused(pleat, folder, "unsupported", "tiktoken", DONOR)
    (folder / "tokenizer.json").write_text(
        json.dumps({"model": {"type": "Unigram", "vocab": [["a", 0.0]]}})
    )
    refused(pleat, folder, "unsupported", "Unigram", DONOR)


def test_a_vocabulary_larger_than_the_embedding_is_refused(pleat, tmp_path):
    folder = write_model(tmp_path / "model", rows=500)
    tokenizer_models.write_byte_level(folder, "gpt-2")
    refused(pleat, folder, "mismatch", "500")
