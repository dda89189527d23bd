"""What `pleat eval`, `run`, `calibrate` and `tokenize` refuse instead of giving a wrong result."""

import shutil
import stat

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

REPLACED = "the output would replace a file in the folder of the model"


@pytest.fixture
def tokens(tmp_path):
    path = tmp_path / "tokens.bin"
    path.write_bytes(np.arange(3, 99, dtype="<u2").tobytes())
    return path


def expect(result, status: int, *fragments: str) -> None:
    assert result.returncode == status, result.stderr
    assert result.stderr.count("error: ") == 1
    for fragment in fragments:
        assert fragment in result.stderr


@pytest.fixture
def damaged(tinylm, tmp_path):
    """tinylm with one weight that is not a number."""
    folder = tmp_path / "damaged"
    shutil.copytree(tinylm, folder)
    path = folder / "model.safetensors"
    path.chmod(path.stat().st_mode | stat.S_IWUSR)
    tensors = load_file(path)
    tensors["model.layers.3.mlp.down_proj.weight"][5, 5] = np.nan
    save_file(tensors, path, {"format": "pt"})
    return folder


def test_results_that_are_not_finite_are_refused(pleat, tinylm, damaged, tokens, tmp_path):
    text = ("--tokens", tokens, "--context", 32)
    wrong = "the model computes numbers that are not finite"
    out = tmp_path / "importance.gguf"
    expect(pleat.attempt("eval", damaged, *text), 65, wrong, "damaged")
    expect(pleat.attempt("eval", tinylm, *text, "--against", damaged), 65, wrong, "damaged")
    expect(pleat.attempt("run", damaged, "def", "--max-tokens", 2), 65, wrong)
    expect(pleat.attempt("calibrate", damaged, *text, "-o", out), 65, wrong)
    assert not out.exists()


def test_weights_with_another_checksum_are_refused(pleat, tinylm, tokens, tmp_path):
    model = tmp_path / "model.pleat"
    pleat.run("quantize", tinylm, "--to", "pleat", "-b", 4, "-o", model)
    content = bytearray(model.read_bytes())
    # In the middle, among codes: another code is a number, too.
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    text = ("--tokens", tokens, "--context", 32)
    wrong = "their checksum does not match"
    expect(pleat.attempt("eval", model, *text), 65, wrong)
    expect(pleat.attempt("eval", tinylm, *text, "--against", model), 65, wrong)
    expect(pleat.attempt("run", model, "def", "--max-tokens", 2), 65, wrong)
    expect(pleat.attempt("calibrate", model, *text, "-o", tmp_path / "x.gguf"), 65, wrong)
    assert not (tmp_path / "x.gguf").exists()


def test_a_context_without_predictions_is_refused(pleat, tinylm, tokens):
    short = ("eval", tinylm, "--tokens", tokens, "--context", 2)
    expect(pleat.attempt(*short), 64, "expected at least 3 tokens, found 2")
    expect(pleat.attempt(*short, "--against", tinylm), 64, "expected at least 3 tokens, found 2")
    assert "48 predictions" in pleat.run(*short, "--score", "all")


@pytest.mark.parametrize("count", [10**11, 2**63 - 1])
def test_more_tokens_than_memory_holds_are_refused(pleat, tinylm, count):
    result = pleat.attempt("run", tinylm, "def", "--max-tokens", count)
    expect(result, 65, "the keys and values of so many tokens do not fit into memory")


def test_a_temperature_near_zero_takes_the_most_probable_token(pleat, tinylm):
    def run(*options):
        return pleat.run("run", tinylm, "def main():", "--max-tokens", 4, *options)

    assert run("--temperature", "1e-300") == run("--temperature", "1e-37") == run()


def test_tokens_never_replace_a_file_of_the_model(pleat, tinylm, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tinylm, folder)
    before = (folder / "tokenizer.json").read_bytes()
    for name in ("tokenizer.json", "model.safetensors"):
        result = pleat.attempt("tokenize", folder, "abc", "-o", folder / name, "--force")
        expect(result, 64, REPLACED)
    assert (folder / "tokenizer.json").read_bytes() == before
    pleat.run("tokenize", folder, "abc", "-o", folder / "ids.npy")
    pleat.run("tokenize", folder, "abc", "-o", folder / "ids.npy", "--force")


def test_tokens_are_not_written_under_the_name_of_json(pleat, tinylm, tmp_path):
    for name in ("ids.jsonl", "ids.JSON"):
        result = pleat.attempt("tokenize", tinylm, "abc", "-o", tmp_path / name)
        expect(result, 64, "JSON lines of tokens are only read")
        assert not (tmp_path / name).exists()


def test_a_missing_folder_is_refused_before_anything_is_computed(pleat, tinylm, tokens, tmp_path):
    out = tmp_path / "none" / "importance.gguf"
    options = ("--tokens", tokens, "--context", 32, "-o", out)
    result = pleat.attempt("calibrate", tinylm, *options)
    expect(result, 74, "the folder to write to does not exist")
    assert "at once" not in result.stderr


def test_a_tokenizer_without_a_vocabulary_is_refused(pleat, tinylm, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tinylm, folder)
    path = folder / "tokenizer.json"
    path.chmod(path.stat().st_mode | stat.S_IWUSR)
    path.write_text('{"model": {}}')
    expect(pleat.attempt("tokenize", folder, "abc"), 65, "the vocabulary is empty")
    expect(pleat.attempt("run", folder, "abc"), 65, "the vocabulary is empty")
