"""`pleat calibrate` with several texts, with matrices to add to, and stopped and resumed."""

import json
import os
import shutil
import signal
import subprocess
import time

import gguf
import numpy as np
import peft_models
import pytest
import torch
from engine_runs import write_tokens

CONTEXT = 32
# One chunk at once, so that sums are written after each.
OPTIONS = ("--context", CONTEXT, "--bos", "no", "--memory", "1KB")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small model with experts, some of which see no token."""
    case = peft_models.Case("normed_moe", torch.float32, [])
    return peft_models.prepare(case, tmp_path_factory.mktemp("model")).base


def text(folder, name: str, chunks: int, seed: int):
    rows = np.random.default_rng(seed).integers(3, 96, (chunks, CONTEXT))
    return write_tokens(rows, folder / name)


def numbers(path) -> dict[str, np.ndarray]:
    return {tensor.name: tensor.data.copy() for tensor in gguf.GGUFReader(path).tensors}


def about(path) -> list:
    fields = gguf.GGUFReader(path).fields
    names = ("imatrix.datasets", "imatrix.chunk_count", "imatrix.chunk_size")
    return [fields[name].contents() for name in names]


def test_several_texts_are_cut_apart_and_added(pleat, model, tmp_path):
    first, second = text(tmp_path, "first.bin", 3, 1), text(tmp_path, "second.bin", 2, 2)
    # What is left over of the first text is not used.
    first.write_bytes(first.read_bytes() + b"\5\0\6\0")
    outs = [tmp_path / f"{name}.gguf" for name in ("both", "a", "b", "sum", "merged")]
    both, a, b, total, merged = outs
    pleat.run("calibrate", model, "--tokens", first, "--tokens", second, *OPTIONS, "-o", both)
    pleat.run("calibrate", model, "--tokens", first, *OPTIONS, "-o", a)
    pleat.run("calibrate", model, "--tokens", second, *OPTIONS, "-o", b)
    pleat.run("convert", a, b, "-o", total)
    found, expected = numbers(both), numbers(total)
    assert found.keys() == expected.keys()
    for name, values in found.items():
        assert np.allclose(values, expected[name], rtol=1e-6), name
        if name.endswith("attn_q.weight.counts"):
            assert values.item() == 5 * CONTEXT
    assert about(both) == [[str(first), str(second)], 5, CONTEXT]
    # --merge is the same as adding afterwards.
    options = ("--tokens", second, "--merge", a, *OPTIONS)
    pleat.run("calibrate", model, *options, "-o", merged)
    assert merged.read_bytes() == total.read_bytes()
    result = pleat.attempt("calibrate", model, *options, "--force", "-o", a)
    assert result.returncode == 64 and "the output is the input" in result.stderr


def test_a_matrix_of_another_model_is_not_added_to(pleat, model, tmp_path):
    tokens, other = text(tmp_path, "tokens.bin", 4, 3), tmp_path / "other"
    peft_models.prepare(peft_models.Case("llama", torch.float32, []), other)
    pleat.run(
        *("calibrate", other / "base", "--tokens", tokens, *OPTIONS, "-o", tmp_path / "a.gguf")
    )
    narrow = peft_models.CONFIGS["normed_moe"].to_dict() | {"hidden_size": 32}
    config = type(peft_models.CONFIGS["normed_moe"])(**narrow)
    peft_models.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "narrow")
    options = ("--tokens", tokens, *OPTIONS, "--merge", tmp_path / "a.gguf")
    result = pleat.attempt("calibrate", tmp_path / "narrow", *options, "-o", tmp_path / "b.gguf")
    assert result.returncode == 65 and "same model" in result.stderr
    assert not (tmp_path / "b.gguf").exists()


def stopped(pleat, model, tokens, out, how: int) -> int:
    """The exit status of a run that is stopped once it has written sums."""
    sums = out.with_name(f".{out.name}.sums")
    command = ["calibrate", model, "--tokens", tokens, *OPTIONS, "--resume", "-o", out]
    with subprocess.Popen(
        [pleat.path, *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as run:
        while not sums.exists() and run.poll() is None:
            time.sleep(0.001)
        run.send_signal(how)
        run.communicate()
        return run.returncode


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["killed", "stopped"])
def test_a_resumed_run_writes_the_same_bytes(pleat, model, tmp_path, how):
    tokens, sums = text(tmp_path, "tokens.bin", 150, 4), tmp_path / ".a.gguf.sums"
    out, whole = tmp_path / "a.gguf", tmp_path / "whole.gguf"
    # All chunks at once, on one thread.
    options = ("--tokens", tokens, *OPTIONS[:-2])
    pleat.run("calibrate", model, *options, "-t", 1, "-o", whole)
    assert stopped(pleat, model, tokens, out, how) == (-9 if how == signal.SIGKILL else 130)
    assert sums.exists() and not out.exists()
    kept = sums.read_bytes()
    result = pleat.attempt("calibrate", model, *options, "--resume", "-o", out)
    assert result.returncode == 0 and "going on after chunk" in result.stderr
    assert out.read_bytes() == whole.read_bytes()
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"tokens.bin", "a.gguf", "whole.gguf"}
    # Sums of another version, and damaged ones, are not used.
    damaged = bytearray(kept)
    damaged[-20] ^= 1
    for content, word in [(kept.replace(b" 2 ", b" 1 ", 1), "version"), (damaged, "damaged")]:
        sums.write_bytes(content)
        result = pleat.attempt("calibrate", model, *options, "--resume", "--force", "-o", out)
        assert result.returncode == 0 and word in result.stderr
        assert out.read_bytes() == whole.read_bytes() and not sums.exists()


def test_sums_of_another_text_are_not_used(pleat, model, tmp_path):
    tokens, out = text(tmp_path, "tokens.bin", 60, 5), tmp_path / "a.gguf"
    stopped(pleat, model, tokens, out, signal.SIGKILL)
    assert (tmp_path / ".a.gguf.sums").exists()
    other, expected = text(tmp_path, "other.bin", 2, 6), tmp_path / "expected.gguf"
    options = ("--tokens", other, *OPTIONS)
    result = pleat.attempt("calibrate", model, *options, "--resume", "-o", out)
    assert result.returncode == 0 and "another model, text or version" in result.stderr
    pleat.run("calibrate", model, *options, "-o", expected)
    assert out.read_bytes() == expected.read_bytes()


def parts_of(pleat, out, *command, count: int, cwd) -> list[subprocess.Popen]:
    """All parts at once, each numbered by another task of a scheduler."""
    return [
        subprocess.Popen(
            [*map(str, [pleat.path, *command, "-o", out, "-q", "--part", f"auto/{count}"])],
            cwd=cwd,
            env={**os.environ, "JOB_COMPLETION_INDEX": str(number)},
        )
        for number in range(count)
    ]


def test_parts_of_several_processes_are_one_matrix(pleat, model, tmp_path):
    first, second = text(tmp_path, "first.bin", 391, 7), text(tmp_path, "second.bin", 9, 8)
    whole, out, before = (tmp_path / name for name in ("whole.gguf", "out.gguf", "before.gguf"))
    pleat.run("calibrate", model, "--tokens", second, *OPTIONS, "-o", before)
    command = ["calibrate", model, "--tokens", first.name, "--tokens", second.name]
    command += ["--merge", before.name]
    # One run, on one thread, with all chunks at once.
    options = [*command, *OPTIONS[:-2], "-t", 1, "-o", whole]
    subprocess.run([pleat.path, *map(str, options), "-q"], cwd=tmp_path, check=True)
    command += OPTIONS
    processes = parts_of(pleat, out.name, *command, count=4, cwd=tmp_path)
    sums = tmp_path / ".out.gguf.parts" / "sums-2"
    while not sums.exists() and processes[1].poll() is None:
        time.sleep(0.001)
    processes[1].send_signal(signal.SIGKILL)
    assert [process.wait() for process in processes[:1] + processes[2:]] == [0, 0, 0]
    assert processes[1].wait() == -signal.SIGKILL
    result = pleat.attempt("finish", out)
    assert result.returncode == 64 and "missing or not complete: 2" in result.stderr
    assert "--tokens first.bin --tokens second.bin --merge before.gguf" in result.stderr
    assert "-o out.gguf -q --part 2/4" in result.stderr
    # The part goes on where it was killed.
    options = [*command, "-o", out.name, "--part", "2/4", "--json"]
    found = subprocess.run(
        [pleat.path, *map(str, options)], cwd=tmp_path, check=True, capture_output=True
    )
    report = json.loads(found.stdout)
    assert report["schema"] == "pleat.part.1" and report["chunkCount"] == 100
    assert 0 < report["keptChunkCount"] < 100
    pleat.run("finish", out)
    assert out.read_bytes() == whole.read_bytes()
    assert "nothing to do" in pleat.attempt("finish", out).stderr
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"first.bin", "second.bin", "before.gguf", "whole.gguf", "out.gguf"}


def test_parts_that_do_not_belong_together_are_refused(pleat, model, tmp_path):
    tokens, out = text(tmp_path, "tokens.bin", 3, 9), tmp_path / "a.dat"
    command = ("calibrate", model, "--tokens", tokens, *OPTIONS)
    pleat.run(*command, "-o", out, "--part", "1/2")
    folder = tmp_path / ".a.dat.parts"
    other = text(tmp_path, "other.bin", 3, 10)
    for arguments, words in [
        (("calibrate", model, "--tokens", other, *OPTIONS), "parts of another plan"),
        ((*command, "--chunks", 2), "parts of another plan"),
    ]:
        result = pleat.attempt(*arguments, "-o", out, "--part", "2/2")
        assert result.returncode == 64 and words in result.stderr
    result = pleat.attempt(*command, "-o", out, "--part", "2/3")
    assert result.returncode == 64 and "another number of parts" in result.stderr
    result = pleat.attempt(*command, "-o", out, "--part", "1/2", "--resume")
    assert result.returncode == 64 and "leave out --resume" in result.stderr
    pleat.run(*command, "-o", out, "--part", "2/2")
    # Damaged sums are those of no part, and a part of another number neither.
    content = (folder / "sums-1").read_bytes()
    for damaged in (content[:-9] + bytes([content[-9] ^ 1]) + content[-8:], content[:40]):
        (folder / "sums-1").write_bytes(damaged)
        result = pleat.attempt("finish", out)
        assert result.returncode == 64 and "missing or not complete: 1" in result.stderr
    (folder / "sums-1").write_bytes((folder / "sums-2").read_bytes())
    assert "missing or not complete: 1" in pleat.attempt("finish", out).stderr
    assert not out.exists()
    (folder / "sums-1").write_bytes(content)
    pleat.run("finish", out)
    pleat.run(*command, "-o", tmp_path / "whole.dat")
    assert out.read_bytes() == (tmp_path / "whole.dat").read_bytes()
    assert not folder.exists()


def test_more_parts_than_chunks_and_a_finish_that_was_killed(pleat, model, tmp_path):
    tokens, out = text(tmp_path, "tokens.bin", 2, 11), tmp_path / "a.gguf"
    command = ("calibrate", model, "--tokens", tokens, *OPTIONS, "-o", out)
    for number in (3, 1, 2):
        pleat.run(*command, "--part", f"{number}/3")
    folder, kept = tmp_path / ".a.gguf.parts", tmp_path / "kept"
    shutil.copytree(folder, kept)
    pleat.run("finish", out)
    whole = out.read_bytes()
    # The matrix has its name, but the parts were not removed yet.
    shutil.copytree(kept, folder)
    pleat.run("finish", out)
    assert out.read_bytes() == whole and not folder.exists()
    # Another file in its place is not replaced.
    shutil.copytree(kept, folder)
    out.write_bytes(whole[:-1])
    result = pleat.attempt("finish", out)
    assert result.returncode == 64 and "the output exists" in result.stderr
    pleat.run("finish", out, "--force")
    assert out.read_bytes() == whole and not folder.exists()
