"""The library for C: the README's lines build the example, and logits are those of transformers."""

import ctypes
import shutil
import subprocess
import sys
from ctypes import POINTER, byref, c_char, c_char_p, c_float, c_int, c_int32, c_size_t, c_void_p
from datetime import datetime
from pathlib import Path

import models
import numpy as np
import pytest
from pleat_command import ROOT

INCLUDE = ROOT / "Sources/CPleat/include"
OK, USAGE, TOO_SMALL = 0, 6, 8
# Only the order of sums differs; logits reach 14.
EXACT = 1e-4


class Error(ctypes.Structure):
    _fields_ = [("status", c_int), ("message", c_char * 1020)]


class Message(ctypes.Structure):
    _fields_ = [("role", c_char_p), ("content", c_char_p)]


@pytest.fixture(scope="module")
def products(pleat) -> Path:
    """The folder with the library."""
    folder = Path(pleat.path).parent
    suffix = "dylib" if sys.platform == "darwin" else "so"
    assert (folder / f"libpleat-c.{suffix}").exists(), "swift build --product pleat-c"
    return folder


@pytest.fixture(scope="module")
def library(products):
    library = ctypes.CDLL(next(products.glob("libpleat-c.*")))
    error = POINTER(Error)
    library.pleat_model_open.argtypes = [c_char_p, c_size_t, POINTER(c_void_p), error]
    library.pleat_model_close.argtypes = [c_void_p, error]
    library.pleat_vocabulary_size.argtypes = [c_void_p]
    library.pleat_vocabulary_size.restype = c_size_t
    library.pleat_tokenize.argtypes = [
        *(c_void_p, c_char_p, c_size_t, POINTER(c_int32), c_size_t, POINTER(c_size_t), error)
    ]
    library.pleat_tokenize_chat.argtypes = [
        *(c_void_p, POINTER(Message), c_size_t, c_char_p, POINTER(c_int32), c_size_t),
        *(POINTER(c_size_t), error),
    ]
    library.pleat_context_open.argtypes = [c_void_p, c_size_t, c_size_t, POINTER(c_void_p), error]
    library.pleat_context_close.argtypes = [c_void_p, error]
    library.pleat_context_append.argtypes = [
        *(c_void_p, POINTER(c_int32), c_size_t, POINTER(c_float), c_size_t, error)
    ]
    return library


def example_lines() -> list[str]:
    """The lines of the README that build and run the example in C."""
    blocks = (ROOT / "README.md").read_text().split("```")[1::2]
    return next(block for block in blocks if "examples/c/complete.c" in block).split("\n")[1:-1]


def test_the_example_prints_what_the_command_prints(pleat, tinylm, products, tmp_path):
    pleat.run("quantize", tinylm, "--scheme", "minmax", "-o", tmp_path / "tiny.pleat")
    for name in ("Sources", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".build").mkdir()
    (tmp_path / ".build/release").symlink_to(products)
    build, *lines = example_lines()
    assert build == "swift build -c release --product pleat-c" and len(lines) == 2
    output = subprocess.check_output(["sh", "-ec", "\n".join(lines)], cwd=tmp_path, text=True)
    options = ("--raw", "--max-tokens", 32)
    assert output == pleat.run("run", tmp_path / "tiny.pleat", "def main():", *options)
    wrong = [tmp_path / "complete", "missing.pleat", "x"]
    result = subprocess.run(wrong, cwd=tmp_path, capture_output=True, check=False)
    assert result.returncode == 1 and b"error 1: missing.pleat: no such file" in result.stderr


def test_the_header_is_standard_c_and_cpp(tmp_path):
    strict = ("-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only", f"-I{INCLUDE}")
    example = ROOT / "examples/c/complete.c"
    subprocess.run(["cc", "-std=c99", *strict, example], check=True)
    subprocess.run(["cc", "-std=c99", "-x", "c", *strict, INCLUDE / "pleat.h"], check=True)
    subprocess.run(["c++", "-std=c++11", "-x", "c++", *strict, INCLUDE / "pleat.h"], check=True)


def test_logits_are_those_of_transformers(library, tinylm):
    error, model, context = Error(), c_void_p(), c_void_p()

    def check(status):
        assert status == OK == error.status, error.message.decode()

    check(library.pleat_model_open(bytes(tinylm), 0, byref(model), byref(error)))
    size = library.pleat_vocabulary_size(model)
    assert size == 4096
    rows = models.held_out("B")[:1, :40]
    check(library.pleat_context_open(model, 40, 2, byref(context), byref(error)))
    found = np.full((40, size), np.nan, np.float32)
    tokens = rows[0].astype(np.int32)
    for start, end in ((0, 33), (33, 34), (34, 40)):
        part, logits = tokens[start:end], found[start:end]
        check(
            library.pleat_context_append(
                context,
                part.ctypes.data_as(POINTER(c_int32)),
                len(part),
                logits.ctypes.data_as(POINTER(c_float)),
                logits.size,
                byref(error),
            )
        )
    expected = models.logits(models.load(tinylm, tinylm), rows)[0]
    assert np.abs(found - expected).max() < EXACT
    check(library.pleat_context_close(context, byref(error)))
    check(library.pleat_model_close(model, byref(error)))


def test_tokens_are_those_of_the_tokenizer(library, tinylm):
    import transformers

    text = "def größe(x):\n    return '日本語' * 3\n"
    tokenizer = transformers.AutoTokenizer.from_pretrained(tinylm)
    expected = tokenizer(text, add_special_tokens=False).input_ids
    error, model, count = Error(), c_void_p(), c_size_t()
    assert library.pleat_model_open(bytes(tinylm), 0, byref(model), byref(error)) == OK
    data = text.encode()
    status = library.pleat_tokenize(model, data, len(data), None, 0, byref(count), byref(error))
    assert status == TOO_SMALL and b"too small" in error.message
    tokens = (c_int32 * count.value)()
    status = library.pleat_tokenize(
        model, data, len(data), tokens, count.value, byref(count), byref(error)
    )
    assert status == OK
    begins = [1] if tokens[0] == 1 else []
    assert list(tokens) == begins + expected
    assert library.pleat_model_close(model, byref(error)) == OK
    assert library.pleat_model_close(model, byref(error)) != OK
    assert b"closed" in error.message


TEMPLATE = """{{ bos_token }}{% for message in messages %}<{{ message['role'] }}>
{% if message['role'] == 'tool' %}{{ raise_exception('no tools here') }}{% endif %}
{{ message['content'] | trim }}
{% endfor %}{% if add_generation_prompt %}<assistant> {{ strftime_now('%d %b %Y') }}{% endif %}"""


def test_a_conversation_is_written_as_by_transformers(library, tinylm, tmp_path, monkeypatch):
    import transformers
    from transformers.utils import chat_template_utils

    folder = tmp_path / "model"
    shutil.copytree(tinylm, folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE)

    class Fixed(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2026, 11, 30)

    monkeypatch.setattr(chat_template_utils, "datetime", Fixed)
    messages = [("system", "Be brief."), ("user", " größe? "), ("assistant", "7"), ("user", "¿")]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    expected = tokenizer.apply_chat_template(
        [{"role": role, "content": content} for role, content in messages],
        add_generation_prompt=True,
    )["input_ids"]
    error, model, count = Error(), c_void_p(), c_size_t()
    assert library.pleat_model_open(bytes(folder), 0, byref(model), byref(error)) == OK

    def tokens(messages, date, capacity):
        array = (Message * len(messages))(*[(a.encode(), b.encode()) for a, b in messages])
        found = (c_int32 * max(1, capacity))()
        status = library.pleat_tokenize_chat(
            *(model, array, len(array), date, found, capacity, byref(count), byref(error))
        )
        return status, list(found)[:capacity]

    assert tokens(messages, b"2026-11-30", 0)[0] == TOO_SMALL and count.value == len(expected)
    assert tokens(messages, b"2026-11-30", count.value) == (OK, expected)
    for said, date, words in [
        ([*messages, ("tool", "x")], b"2026-11-30", b"no tools here"),
        (messages, None, b"the current date"),
        (messages, b"yesterday", b"this is not a day"),
        ([], None, b"there is no message"),
    ]:
        assert tokens(said, date, 512)[0] == USAGE and words in error.message
    assert library.pleat_model_close(model, byref(error)) == OK
