"""`pleat eval --save-logits`, and files of log probabilities for `--against`."""

import json

import logits_files
import models
import numpy as np
import pytest
from engine_runs import losses, write_tokens
from llama_runs import logits as llama_logits

CONTEXT, FIRST = 64, 32
OPTIONS = ("--context", CONTEXT, "--bos", "no")


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return models.held_out("B")[:2, :CONTEXT]


@pytest.fixture(scope="module")
def expected(tinylm, rows) -> np.ndarray:
    return models.logits(models.load(tinylm, tinylm), rows)


@pytest.fixture(scope="module")
def saved(pleat, tinylm, rows, tmp_path_factory):
    """A file of tinylm, and the report."""
    folder = tmp_path_factory.mktemp("saved")
    tokens = write_tokens(rows, folder / "tokens.bin")
    options = ("--tokens", tokens, *OPTIONS, "--save-logits", folder / "logits.bin", "--json")
    return folder / "logits.bin", json.loads(pleat.run("eval", tinylm, *options))


@pytest.fixture(scope="module")
def rounded(pleat, tinylm, tmp_path_factory):
    path = tmp_path_factory.mktemp("rounded") / "model.pleat"
    pleat.run("quantize", tinylm, "--to", "pleat", "-b", 3, "-o", path)
    return path


def log_softmax(logits: np.ndarray) -> np.ndarray:
    scores = logits.astype(np.float64)
    scores -= scores.max(-1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(-1, keepdims=True))


def test_a_saved_file_has_the_probabilities_of_transformers(saved, rows, expected):
    path, report = saved
    found = logits_files.read(path)
    assert report["logits"] == {"path": str(path), "byteCount": path.stat().st_size}
    assert np.array_equal(found.tokens, rows)
    logits = expected[:, FIRST:-1]
    clipped = np.maximum(logits, logits.max(-1, keepdims=True) - 16)
    wanted = clipped - logits.max(-1, keepdims=True) + log_softmax(logits).max(-1, keepdims=True)
    # Half a step, and the order of sums of logits that reach 15.
    assert np.abs(found.log_probabilities - wanted).max() < 0.51 * found.scales.max() + 5e-5
    assert found.steps.max(-1).min() == 65535


def test_a_file_is_that_of_the_same_formulas(saved, rows, expected, tmp_path):
    """numpy's file of the logits of transformers differs by a step where these differ."""
    logits_files.write(tmp_path / "theirs.bin", rows, expected)
    ours, theirs = logits_files.read(saved[0]), logits_files.read(tmp_path / "theirs.bin")
    assert np.allclose(ours.scales, theirs.scales, rtol=1e-5)
    assert np.allclose(ours.smallest, theirs.smallest, rtol=1e-5)
    assert np.abs(ours.steps.astype(int) - theirs.steps.astype(int)).max() <= 1
    assert (ours.steps == theirs.steps).mean() > 0.95


def test_a_file_of_others_is_compared_with(pleat, tinylm, rounded, rows, expected, tmp_path):
    path, plain = tmp_path / "base.bin", tmp_path / "plain"
    logits_files.write(path, rows, expected)
    pleat.run("convert", rounded, "--to", "safetensors", "--dtype", "F32", "-o", plain)
    logits = models.logits(models.load(plain, tinylm), rows)[:, FIRST:-1]
    base = logits_files.read(path).log_probabilities
    targets = rows[:, FIRST + 1 :, None]
    base_losses = -np.take_along_axis(base, targets, -1)[..., 0].astype(np.float64)
    own_losses = -np.take_along_axis(log_softmax(logits), targets, -1)[..., 0]
    divergence = logits_files.divergences(base, logits)
    # The tokens are those of the file.
    report = json.loads(pleat.run("eval", rounded, "--against", path, "--bos", "no", "--json"))
    against = report["against"]
    assert against["kind"] == "logits" and report["contextLength"] == CONTEXT
    assert report["meanLoss"] == pytest.approx(own_losses.mean(), rel=1e-5)
    assert against["meanLoss"] == pytest.approx(base_losses.mean(), rel=1e-6)
    assert against["divergence"]["mean"] == pytest.approx(divergence.mean(), rel=1e-4)
    assert against["divergence"]["largest"] == pytest.approx(divergence.max(), rel=1e-4)
    change = np.exp(-own_losses) - np.exp(-base_losses)
    rms = np.sqrt((change**2).mean())
    assert against["probabilityChange"]["rootMeanSquare"] == pytest.approx(rms, rel=1e-4)
    same = (base.argmax(-1) == logits.argmax(-1)).mean()
    assert against["sameTop"]["mean"] == pytest.approx(same)


def test_a_model_is_close_to_its_own_file(pleat, tinylm, saved, rows, tmp_path):
    tokens = write_tokens(rows, tmp_path / "tokens.bin")
    options = ("--against", saved[0], "--tokens", tokens, *OPTIONS, "--json")
    report = json.loads(pleat.run("eval", tinylm, *options))
    assert abs(report["against"]["divergence"]["mean"]) < 1e-5
    assert report["against"]["sameTop"]["mean"] == 1
    assert report["chunkLosses"] == saved[1]["chunkLosses"]


@pytest.mark.llama
def test_the_probabilities_are_those_of_llama(pleat, tinylm, saved, rows, tmp_path):
    """In 16 bits, from F32 weights; llama.cpp's sums have another order."""
    path = tmp_path / "model.gguf"
    pleat.run("convert", tinylm, "--to", "gguf", "--dtype", "F32", "-o", path)
    theirs = tmp_path / "theirs.bin"
    logits_files.write(theirs, rows, llama_logits(path, rows))
    ours, theirs = logits_files.read(saved[0]), logits_files.read(theirs)
    assert np.abs(ours.log_probabilities - theirs.log_probabilities).max() < 1e-3
    assert np.abs(losses_of(ours, rows) - losses_of(theirs, rows)).max() < 1e-3


def losses_of(file: logits_files.LogitsFile, rows: np.ndarray) -> np.ndarray:
    return -np.take_along_axis(file.log_probabilities, rows[:, FIRST + 1 :, None], -1)


def test_losses_are_those_of_the_logits(saved, rows, expected):
    whole = losses(expected, rows)[:, FIRST:]
    # Tokens of less than e^-16 of the most probable one are rare.
    assert np.median(np.abs(losses_of(logits_files.read(saved[0]), rows)[..., 0] - whole)) < 1e-3


def edited(data: bytes, offset: int, value: int) -> bytes:
    return data[:offset] + np.int32(value).tobytes() + data[offset + 4 :]


DAMAGED = {
    "short": (lambda data: data[:-100], "another length"),
    "long": (lambda data: data + b"\0", "another length"),
    "only-a-header": (lambda data: data[:16], "truncated"),
    "no-context": (lambda data: edited(data, 8, 2), "cannot have these sizes"),
    "huge": (lambda data: edited(edited(data, 8, -1), 12, -1), "cannot have these sizes"),
    "no-chunks": (lambda data: edited(data, 16, 0), "cannot have these sizes"),
    "other-vocabulary": (lambda data: edited(data, 12, 4094), "another length"),
    "a-token": (lambda data: edited(data, 20, 4096), "0 to 4095"),
    "negative-token": (lambda data: edited(data, 24, -1), "found -1"),
    "scale": (lambda data: edited(data, 20 + 8 * CONTEXT, 0x7FC00000), "no model predicts"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_are_refused(pleat, tinylm, saved, tmp_path, name):
    edit, text = DAMAGED[name]
    path = tmp_path / "logits.bin"
    path.write_bytes(edit(saved[0].read_bytes()))
    result = pleat.attempt("eval", tinylm, "--against", path, "--bos", "no")
    assert result.returncode == 65 and text in result.stderr and not result.stdout


def test_files_of_other_runs_are_refused(pleat, tinylm, saved, rows, expected, tmp_path):
    tokens, other = write_tokens(rows, tmp_path / "tokens.bin"), tmp_path / "other.bin"

    def refusal(status: int, *options) -> str:
        result = pleat.attempt("eval", tinylm, "--bos", "no", *options)
        assert result.returncode == status and not result.stdout
        return result.stderr

    against = ("--against", saved[0])
    assert "--context 64" in refusal(65, *against, "--tokens", tokens, "--context", 32)
    changed = rows.copy()
    changed[1, 5] += 1
    others = write_tokens(changed, tmp_path / "others.bin")
    found = refusal(65, *against, "--tokens", others, "--context", CONTEXT)
    assert "another text" in found and f"position {CONTEXT + 5}" in found
    logits_files.write(other, rows % 4000, expected[..., :4000])
    assert "vocabularies" in refusal(65, "--against", other)
    assert "--score half" in refusal(64, *against, "--score", "all")
    assert "layers" in refusal(64, *against, "--layers")
    text = ("--tokens", tokens, "--context", CONTEXT, "--save-logits", saved[0])
    assert "--force" in refusal(64, *text)
    assert "input" in refusal(64, *text, *against, "--force")
    assert "--score half" in refusal(64, *text[:4], "--save-logits", other, "--score", "all")
    assert "text" in refusal(64, "--against", tinylm)
    assert not list(tmp_path.glob(".*partial"))
