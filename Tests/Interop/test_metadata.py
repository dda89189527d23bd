"""Metadata that `pleat metadata` changes, read by other projects and compared with their scripts."""

import shutil
import subprocess
import sys
from pathlib import Path

import gguf
import gguf_files
import numpy as np
import pytest
import safetensors
from llama_runs import ONE_THREAD

TEMPLATE = "{% for message in messages %}\n{{ message.content }}{% endfor %}ü"


def tensors(path: Path) -> dict[str, tuple]:
    """Name → (type, shape, bytes), in file order."""
    return {
        tensor.name: (tensor.tensor_type, tensor.shape.tolist(), tensor.data.tobytes())
        for tensor in gguf.GGUFReader(path).tensors
    }


def new_metadata(source: Path, output: Path, *arguments) -> None:
    """Runs the script of the gguf package that copies a file with new metadata."""
    subprocess.run(
        [sys.executable, "-m", "gguf.scripts.gguf_new_metadata", source, output, *arguments],
        check=True,
        capture_output=True,
        env={"NO_LOCAL_GGUF": "1"},
    )


@pytest.mark.parametrize("type", ["Q4_1", "Q8_0"])
def test_a_copy_equals_that_of_the_gguf_package(pleat, quantized_gguf, tmp_path, type):
    template = tmp_path / "template.jinja"
    template.write_text(TEMPLATE)
    source, ours, theirs = quantized_gguf(type), tmp_path / "ours.gguf", tmp_path / "theirs.gguf"
    new_metadata(
        source, theirs, "--general-name", "A name", "--general-description", "7",
        "--chat-template-file", template, "--special-token", "eos", "<s>",
        "--special-token-by-id", "eot", "5", "--pre-tokenizer", "qwen2",
    )  # fmt: skip
    pleat.run(
        "metadata", source, "--set", "general.name=A name", "--set", "general.description=7",
        "--set", "tokenizer.ggml.eos_token_id=<s>", "--set", "tokenizer.ggml.eot_token_id=5",
        "--set", "tokenizer.ggml.pre=qwen2", "--chat-template", template, "--verify", "-o", ours,
    )  # fmt: skip
    found = gguf_files.metadata(ours)
    assert found == gguf_files.metadata(theirs)
    assert found["tokenizer.chat_template"] == (["STRING"], TEMPLATE)
    assert found["tokenizer.ggml.eos_token_id"] == (["UINT32"], 1)
    assert tensors(ours) == tensors(theirs) == tensors(source)
    fields = [gguf.GGUFReader(path).fields for path in (ours, source)]
    for key in gguf_files.CHANGED_KEYS:
        assert fields[0][key].contents() == fields[1][key].contents()


def test_every_type_is_kept(pleat, fixtures, tmp_path):
    source = fixtures / "golden/gguf/metadata.gguf"
    values = {
        "u8": 9, "i8": -9, "u16": 999, "i16": -999, "u32": 99999, "i32": -99999, "u64": 2**63 + 1,
        "i64": -(2**62), "f32": 0.25, "f64": 1e-300, "bool": False, "string": "a = b",
    }  # fmt: skip
    sets = [f"--set=test.{type}={str(value).lower()}" for type, value in values.items()]
    pleat.run("metadata", source, *sets, "-o", tmp_path / "new.gguf")
    old, new = gguf_files.metadata(source), gguf_files.metadata(tmp_path / "new.gguf")
    assert list(new) == list(old)
    for key in old:
        type = key.removeprefix("test.")
        expected = (old[key][0], values[type]) if type in values else old[key]
        assert new[key] == expected, key
    assert tensors(tmp_path / "new.gguf") == tensors(source)


def test_safetensors_reads_the_pairs_and_the_same_tensors(pleat, tinylm, tmp_path):
    pleat.run("convert", tinylm, "--to", "safetensors", "--shard", "4MB", "-o", tmp_path / "old")
    pleat.run("metadata", tmp_path / "old", "--set", 'note=ü "1"', "-o", tmp_path / "new")
    names = sorted(path.name for path in (tmp_path / "old").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "new").iterdir())
    for name in names:
        old, new = tmp_path / "old" / name, tmp_path / "new" / name
        if old.suffix != ".safetensors":
            assert old.read_bytes() == new.read_bytes(), name
            continue
        with safetensors.safe_open(old, "np") as old, safetensors.safe_open(new, "np") as new:
            assert new.metadata() == {"format": "pt", "note": 'ü "1"'}
            assert list(new.keys()) == list(old.keys())
            for key in old.keys():
                assert np.array_equal(new.get_tensor(key), old.get_tensor(key)), key


@pytest.mark.llama
@pytest.mark.parametrize("split", [False, True])
def test_llama_loads_a_copy(pleat, quantized_gguf, tmp_path, split):
    import llama_cpp

    source = quantized_gguf("Q8_0")
    paths = [tmp_path / "old.gguf", tmp_path / "new.gguf"]
    if split:
        pleat.run("convert", source, "--to", "gguf", "--shard", "4MB", "-o", paths[0])
        count = len(list(tmp_path.glob("old-*.gguf")))
        paths = [tmp_path / f"{path.stem}-00001-of-{count:05}.gguf" for path in paths]
    else:
        shutil.copy(source, paths[0])
    pleat.run(
        "metadata", paths[0], "--set", "general.name=longer than before",
        "--set", "tokenizer.ggml.eos_token_id=<s>", "--set", "llama.context_length=1024",
        "-o", paths[1],
    )  # fmt: skip
    scores = []
    for path in paths:
        model = llama_cpp.Llama(str(path), n_ctx=64, logits_all=True, verbose=False, **ONE_THREAD)
        model.eval([3, 14, 15, 92, 65])
        scores.append(model.scores[:5].copy())
        if path == paths[1]:
            assert model.metadata["general.name"] == "longer than before"
            assert model.metadata["llama.context_length"] == "1024"
            assert model.token_eos() == 1
        model.close()
    assert np.array_equal(*scores)
