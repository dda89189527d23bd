"""pleat and formats/pleat.py, which was written only from formats/pleat.md, agree on files."""

import itertools
import json
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rtn
import safetensors.numpy
import typed_model
import zstandard
from pleat import PleatFile
from pleat_files import Writer
from pleat_verdicts import refusal, status
from tinylm_gguf import checkpoint

SEED = 20261121
REFUSED = (1, 65, 69)

BITS = [2, 3, 4, 5, 6, 8]
GROUPS = [16, 32, 64, 128, 256, "row"]
OFFSETS = {"minmax": "bias", "zeropoint": "zeroPoint", "symmetric": "none"}
PARAMETERS = ["F16", "BF16", "F32"]
# All combinations of bits, group and offset; parameters and compression alternate over them.
CASES = [
    (BITS[b], GROUPS[g], list(OFFSETS)[s], PARAMETERS[(b + g + s) % 3], (b + g // 3 + s) % 2 == 1)
    for b, g, s in itertools.product(range(6), range(6), range(3))
]


# Weights


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return typed_model.write(tmp_path_factory.mktemp("model"), typed_model.floats(SEED))


def differences(pleat, path: Path) -> dict[str, str]:
    """The tensors that pleat and the document's reader decode to different bits, and how."""
    folder = path.with_suffix(".decoded")
    pleat.run("convert", path, "--to", "safetensors", "--dtype", "F32", "-o", folder)
    file, expected = PleatFile.open(path), checkpoint(folder)
    assert sorted(file.tensors) == sorted(expected)
    problems = {name: rtn.same_bits(file.floats(name), expected[name]) for name in expected}
    return {name: problem for name, problem in problems.items() if problem}


@pytest.mark.parametrize(("bits", "group", "scheme", "parameters", "compressed"), CASES, ids=str)
def test_both_decode_the_same_weights(
    pleat, model, tmp_path, bits, group, scheme, parameters, compressed
):
    path = tmp_path / "model.pleat"
    options = ["-b", bits, "-g", group, "--scheme", scheme, "--parameters", parameters]
    options += ["--compress"] if compressed else []
    pleat.run("quantize", model, "--to", "pleat", *options, "-o", path)
    file = PleatFile.open(path)
    encoding = file.tensors["half.weight"]["encoding"]
    expected = {
        "bits": bits,
        "groupSize": 512 if group == "row" else group,
        "offset": OFFSETS[scheme],
        "parameters": parameters,
    }
    assert encoding == expected
    assert file.metadata == {"format": "pt", "é": "✓"}
    assert file.companions == {"config.json": (model / "config.json").read_bytes()}
    assert not differences(pleat, path)


def test_compressed_files_have_parts_of_one_and_two_planes(pleat, model, tmp_path):
    """Otherwise the cases above would not test both."""
    path = tmp_path / "model.pleat"
    pleat.run("quantize", model, "--to", "pleat", "-b", 8, "-g", 16, "--compress", "-o", path)
    parts = [part for _, part in PleatFile.open(path).parts() if "frames" in part]
    assert {part["planes"] for part in parts} == {1, 2}


def test_golden_files_are_decoded_equally(pleat, fixtures, tmp_path):
    paths = sorted((fixtures / "golden").rglob("*.pleat"))
    assert paths
    for path in paths:
        (tmp_path / path.name).write_bytes(path.read_bytes())
        assert not differences(pleat, tmp_path / path.name), path.name


@pytest.mark.parametrize("compressed", [False, True])
def test_stored_adapters_equal_the_attached_ones(pleat, tinylm, trained, tmp_path, compressed):
    base, both = tmp_path / "base.pleat", tmp_path / "both.pleat"
    pleat.run("quantize", tinylm, "--to", "pleat", "-b", 4, "-g", 32, "-o", base)
    adapter = trained / "qalora_int4"
    options = ["--compress"] if compressed else []
    pleat.run("attach", base, "--adapter", adapter, "--name", "é", "-o", both, *options)
    file, original = PleatFile.open(both), PleatFile.open(base)
    assert list(file.adapters) == ["é"] and not original.adapters
    config = json.loads((adapter / "adapter_config.json").read_text())
    assert file.adapters["é"]["config"] == config
    tensors = safetensors.numpy.load_file(adapter / "adapter_model.safetensors")
    assert tensors
    for name, values in tensors.items():
        assert not rtn.same_bits(file.floats(name, "é"), values), name
    for name in original.tensors:
        assert not rtn.same_bits(file.floats(name), original.floats(name)), name


def test_zeros_of_the_reader_are_signed():
    """§6.2: a negative scale times zero is −0."""
    writer = Writer()
    parts = {
        "codes": writer.raw(struct.pack("<I", 0b0110)),
        "scales": writer.raw(np.array([-1], "<f2").tobytes()),
    }
    encoding = {"bits": 2, "groupSize": 2, "offset": "none", "parameters": "F16"}
    tensor = {"name": "w", "shape": [1, 2], "encoding": encoding, "parts": parts}
    found = PleatFile(writer.file({"tensors": [tensor]})).floats("w")
    assert not rtn.same_bits(found, np.array([[-0.0, 1.0]], np.float32))


# Flipped bits


def tiny(compressed: bool) -> bytes:
    """A file of about four hundred bytes with one weight: quantized, or with a compressed plane."""
    writer = Writer()
    if not compressed:
        parts = {
            "codes": writer.raw(struct.pack("<I", 0b1110_0100)),
            "scales": writer.raw(np.array([0.5], "<f2").tobytes()),
        }
        encoding = {"bits": 2, "groupSize": 4, "offset": "none", "parameters": "F16"}
        tensor = {"name": "w", "shape": [1, 4], "encoding": encoding, "parts": parts}
        return writer.file({"tensors": [tensor]})
    ones = np.ones(32, "<f2").tobytes()
    frame = zstandard.ZstdCompressor(write_content_size=False).compress(ones[0::2])
    assert len(frame) < 32
    parts = {"values": writer.compressed([frame, ones[1::2]], 64, 2)}
    tensor = {"name": "w", "shape": [32], "encoding": {"type": "F16"}, "parts": parts}
    return writer.file({"requires": ["zstd"], "tensors": [tensor]})


def flips(contents: bytes):
    for bit in range(8 * len(contents)):
        damaged = bytearray(contents)
        damaged[bit // 8] ^= 1 << bit % 8
        yield bit, bytes(damaged)


@pytest.mark.parametrize("compressed", [False, True])
def test_both_detect_flipped_bits(pleat, tmp_path, compressed):
    """Two bits of every byte: each takes a process. FlipTests in Swift take all bits."""
    contents = tiny(compressed)
    assert refusal(contents) == "" and status(pleat, tmp_path / "whole.pleat", contents) == 0

    def missed(flip: tuple[int, bytes]) -> list:
        bit, damaged = flip
        path = tmp_path / f"{bit}.pleat"
        found = status(pleat, path, damaged)
        path.unlink()
        reason = refusal(damaged)
        return [] if found in REFUSED and reason else [(bit // 8, bit % 8, found, reason)]

    with ThreadPoolExecutor() as workers:
        chosen = [flip for flip in flips(contents) if flip[0] % 4 == flip[0] // 8 % 4]
        misses = list(itertools.chain(*workers.map(missed, chosen)))
    assert not misses, f"byte, bit, exit status of pleat, reason of the document's reader: {misses}"


@pytest.mark.parametrize("compressed", [False, True])
def test_the_reader_detects_every_flipped_bit_in_files_of_pleat(pleat, tmp_path, compressed):
    folder = tmp_path / "model"
    folder.mkdir()
    tensors = {"a.weight": np.ones((2, 512), np.float16), "b": np.arange(8, dtype=np.float16)}
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    path = tmp_path / "model.pleat"
    options = ["--compress"] if compressed else []
    pleat.run("quantize", folder, "--to", "pleat", "-b", 2, "-g", "row", *options, "-o", path)
    contents = path.read_bytes()
    assert refusal(contents) == ""
    assert ("zstd" in PleatFile(contents).header["requires"]) == compressed
    assert not [bit for bit, damaged in flips(contents) if not refusal(damaged)]


def test_every_truncation_is_refused(pleat, tmp_path):
    contents = tiny(False)
    lengths = range(len(contents))
    assert not [length for length in lengths if not refusal(contents[:length])]
    path = tmp_path / "cut.pleat"
    assert not [
        length for length in lengths[::7] if status(pleat, path, contents[:length]) not in REFUSED
    ]
