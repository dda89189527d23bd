"""Outputs that several processes write in parts are those of one run, byte by byte."""

import filecmp
import json
import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from pleat_command import ROOT

COUNT = 7
QUICK = ["-b", "4", "--scheme", "minmax"]


def jobs(tinylm: Path, trained: Path) -> dict[str, tuple[list, str]]:
    """The arguments before -o, and the name of the output."""
    return {
        "split gguf": (["quantize", tinylm, "--to", "gguf", "--shard", "2MB", *QUICK], "out"),
        "mlx": (["quantize", tinylm, "--to", "mlx", "--shard", "2MB", *QUICK], "out"),
        "pleat": (["quantize", tinylm, *QUICK], "out.pleat"),
        "convert": (["convert", tinylm, "--dtype", "F16"], "out.gguf"),
        "fold": (["fold", tinylm, "--adapter", trained / "lora_fp16"], "out"),
    }


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("way", jobs(Path(), Path()))
def test_parts_of_several_processes_are_one_output(pleat, tinylm, trained, tmp_path, way):
    arguments, name = jobs(tinylm, trained)[way]
    whole, parts, elsewhere = (tmp_path / name for name in ("whole", "parts", "elsewhere"))
    for folder in (whole, parts, elsewhere):
        folder.mkdir()
    report = json.loads(pleat.run(*arguments, "-o", whole / name, "--json"))

    def part(number: int) -> subprocess.Popen:
        # Each process has its own way to the output, and its own scheduler.
        return subprocess.Popen(
            [pleat.path, *map(str, arguments), "-o", name, "--part", f"auto/{COUNT}", "-q"],
            cwd=parts,
            env={**os.environ, "JOB_COMPLETION_INDEX": str(number - 1)},
        )

    processes = [part(number) for number in range(1, COUNT + 1)]
    journal = parts / f".{name}.parts" / "part-3"
    while not journal.exists() and processes[2].poll() is None:
        time.sleep(0.001)
    processes[2].send_signal(signal.SIGKILL)
    assert [process.wait() for process in processes[:2] + processes[3:]] == [0] * (COUNT - 1)
    processes[2].wait()
    assert part(3).wait() == 0
    # The command that the parts stated is run in their working folder.
    finish = [pleat.path, "finish", parts / name, "--json"]
    found = subprocess.run(finish, cwd=elsewhere, check=True, capture_output=True).stdout
    # What a fold lost is a sum of floating-point numbers, which depends on no part.
    assert json.loads(found).get("fold") == report.get("fold")
    assert ("fold" in report) == (way == "fold")
    assert files(parts) == files(whole)
    assert not list(elsewhere.iterdir())
    before = files(parts)
    assert "nothing to do" in pleat.attempt("finish", parts / name).stderr
    assert files(parts) == before


def test_finish_names_what_is_missing(pleat, tinylm, tmp_path):
    output = tmp_path / "a b.gguf"
    command = ["quantize", tinylm, "--type", "Q8_0", "--scheme", "ggml", "-o", output]
    result = pleat.attempt("finish", output)
    assert result.returncode == 64 and "no part of this output" in result.stderr
    for number in (1, 3):
        pleat.run(*command, "--part", f"{number}/4")
    result = pleat.attempt("finish", output)
    assert result.returncode == 64 and "missing or not complete: 2, 4" in result.stderr
    assert f"-o '{output}' --part 2/4" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == [".a b.gguf.parts"]
    result = pleat.attempt(*command[:3], "Q4_0", *command[4:], "--part", "2/4")
    assert result.returncode == 64 and "parts of another plan" in result.stderr
    result = pleat.attempt(*command, "--part", "2/5")
    assert result.returncode == 64 and "another number of parts" in result.stderr


def test_changed_bytes_and_changed_inputs_are_found(pleat, tinylm_f16_gguf, tmp_path):
    model, output = tmp_path / "model.gguf", tmp_path / "out.pleat"
    model.write_bytes(tinylm_f16_gguf.read_bytes())
    command = ["quantize", model, *QUICK, "-o", output]
    for number in (1, 2):
        pleat.run(*command, "--part", f"{number}/2")
    staged = tmp_path / ".out.pleat.parts" / "output" / "out.pleat"
    content = bytearray(staged.read_bytes())
    content[len(content) // 2] ^= 1
    staged.write_bytes(content)
    result = pleat.attempt("finish", output)
    assert result.returncode == 64 and "damaged: " in result.stderr
    for number in (1, 2):
        pleat.run(*command, "--part", f"{number}/2")
    os.utime(model, ns=(0, model.stat().st_mtime_ns + 1))
    result = pleat.attempt("finish", output)
    assert result.returncode == 64 and "of changed inputs" in result.stderr
    assert not output.exists()
    os.utime(model, ns=(0, model.stat().st_mtime_ns - 1))
    pleat.run("finish", output)
    pleat.run("quantize", model, *QUICK, "-o", tmp_path / "whole.pleat")
    assert filecmp.cmp(output, tmp_path / "whole.pleat", shallow=False)


def run_as_printed(pleat, folder: Path, line: str, index: int | None = None) -> str:
    """Runs a line of a document in a folder, and returns what it printed."""
    word, *arguments = shlex.split(line, comments=True)
    assert word == "pleat"
    environment = {"JOB_COMPLETION_INDEX": str(index)} if index is not None else {}
    return subprocess.run(
        [pleat.path, *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def test_the_lines_of_the_readme_run(pleat, tinylm, tmp_path):
    section = (ROOT / "README.md").read_text().split("\n## On several machines\n")[1]
    plan, part, finish = section.split("```\n")[1].splitlines()
    (tmp_path / "model").symlink_to(tinylm)
    (tmp_path / "whole").mkdir()
    rows = run_as_printed(pleat, tmp_path, plan).splitlines()
    assert sum(row.split()[:1] == ["20"] for row in rows) == 1
    assert " --part 3/20 " in part
    # With fewer parts, for speed.
    for number in (3, 1, 2):
        run_as_printed(pleat, tmp_path, part.replace("3/20", f"{number}/3"))
    run_as_printed(pleat, tmp_path, finish)
    whole = part.split("--part")[0].replace("q4.gguf", "whole/q4.gguf")
    run_as_printed(pleat, tmp_path, whole)
    assert filecmp.cmp(tmp_path / "q4.gguf", tmp_path / "whole/q4.gguf", shallow=False)


def test_the_jobs_for_kubernetes_run(pleat, tinylm, tmp_path):
    documents = (ROOT / "examples/kubernetes/quantize.yaml").read_text()
    parts, finish = yaml.safe_load_all(documents.replace("/models", str(tmp_path)))
    for job in (parts, finish):
        assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
        pod = job["spec"]["template"]["spec"]
        assert pod["restartPolicy"] in ("Never", "OnFailure")
        volumes = [volume["name"] for volume in pod["volumes"]]
        (container,) = pod["containers"]
        (mount,) = container["volumeMounts"]
        assert mount["name"] in volumes and mount["mountPath"] == str(tmp_path)
    comment = documents.split("apiVersion")[0]
    assert f"job/{parts['metadata']['name']}\n" in comment
    assert f"job {finish['metadata']['name']} -p" in comment
    assert finish["spec"]["suspend"] is True
    assert parts["spec"]["completionMode"] == "Indexed"
    count = parts["spec"]["completions"]
    (tmp_path / "model").symlink_to(tinylm)
    part, last = (
        shlex.join(job["spec"]["template"]["spec"]["containers"][0]["command"])
        for job in (parts, finish)
    )
    assert part.endswith(f" --part auto/{count}")
    for index in range(count):
        run_as_printed(pleat, tmp_path, part, index)
    run_as_printed(pleat, tmp_path, last)
    whole = part.split(" --part")[0].replace("q4.gguf", "whole.gguf")
    run_as_printed(pleat, tmp_path, whole)
    assert filecmp.cmp(tmp_path / "q4.gguf", tmp_path / "whole.gguf", shallow=False)
