"""pleat files, checked with formats/pleat.py, the reader written from formats/pleat.md."""

import copy
import itertools
import json
import re
from pathlib import Path

import gguf
import google_crc32c
import numpy as np
import pytest
import rtn
import safetensors.numpy
import safetensors.torch
import torch
from pleat import PleatFile
from pleat_files import EMPTY, file_of
from tinylm_gguf import checkpoint

ROOT = Path(__file__).resolve().parents[2]
SEED = 20260302

BITS = [2, 3, 4, 5, 6, 8]
GROUPS = [16, 32, 64, "row"]
SCHEMES = ["minmax", "symmetric"]
PARAMETERS = ["F16", "BF16", "F32"]
# All combinations of bits, group and scheme; parameters and compression alternate over them.
CASES = [
    (BITS[b], GROUPS[g], SCHEMES[s], PARAMETERS[(b + g) % 3], (b + g + s) % 2 == 1)
    for b, g, s in itertools.product(range(6), range(4), range(2))
]


def quantize(pleat, model: Path, path: Path, *options) -> PleatFile:
    pleat.run("quantize", model, "--to", "pleat", "-o", path, *options)
    return PleatFile.open(path)


def decoded_by_pleat(pleat, path: Path) -> dict[str, np.ndarray]:
    folder = path.with_suffix(".decoded")
    pleat.run("convert", path, "--to", "safetensors", "--dtype", "F32", "-o", folder)
    return checkpoint(folder)


def assert_same_values(file: PleatFile, expected: dict[str, np.ndarray]) -> None:
    assert sorted(file.tensors) == sorted(expected)
    problems = {name: rtn.same_bits(file.floats(name), expected[name]) for name in expected}
    assert not {name: problem for name, problem in problems.items() if problem}


def rebuilt(file: PleatFile, header: dict, version=(1, 0)) -> bytes:
    """The file with another header and valid checksums."""
    return file_of(header, file.data[64 : file.header_offset], version)


@pytest.fixture(scope="module")
def odd(tmp_path_factory) -> Path:
    """A folder with rows that do not fill words, stacks, all float types, and empty tensors."""
    folder = tmp_path_factory.mktemp("odd")
    random = torch.Generator().manual_seed(SEED)

    def normal(*shape, type=torch.float16):
        return torch.randn(shape, generator=random).to(type)

    tensors = {
        "short.weight": normal(3, 16),
        "uneven.weight": normal(5, 48),
        "experts.weight": normal(2, 3, 80, type=torch.bfloat16),
        "wide.weight": normal(1, 336, type=torch.float32),
        "double.weight": normal(4, 64, type=torch.float64),
        "constant.weight": torch.full((2, 32), 0.3, dtype=torch.float16),
        "ungrouped.weight": normal(4, 17),
        "norm.weight": normal(7),
        "scalar": normal(),
        "empty.weight": normal(0, 32),
    }
    safetensors.torch.save_file(tensors, folder / "model.safetensors", {"format": "pt", "é": "✓"})
    (folder / "config.json").write_text('{"model_type": "odd"}\n')
    (folder / "empty.txt").write_text("")
    (folder / "vocabulary.txt").write_text("word\n" * 500)
    return folder


@pytest.fixture(scope="module")
def layer(tinylm, tmp_path_factory) -> Path:
    """The first layer of tinylm: the reader in Python takes half a second for all of them."""
    folder = tmp_path_factory.mktemp("layer")
    kept = {name: one for name, one in checkpoint(tinylm).items() if ".layers.0." in name}
    assert sum(map(rtn.is_linear, kept)) == 7 < len(kept)
    safetensors.numpy.save_file(kept, folder / "model.safetensors")
    return folder


# Contents of the files


@pytest.mark.parametrize(
    ("bits", "group", "scheme", "parameters", "compressed"),
    CASES,
    ids=str,
)
def test_values_match_those_that_pleat_decodes(
    pleat, layer, tmp_path, bits, group, scheme, parameters, compressed
):
    options = ["-b", bits, "-g", group, "--scheme", scheme, "--parameters", parameters]
    options += ["--compress"] if compressed else []
    file = quantize(pleat, layer, tmp_path / "model.pleat", *options)
    assert file.header["requires"] == (["zstd"] if compressed else [])
    source = checkpoint(layer)
    for name, tensor in file.tensors.items():
        columns = source[name].shape[-1]
        expected = {
            "bits": bits,
            "groupSize": columns if group == "row" else group,
            "offset": "bias" if scheme == "minmax" else "none",
            "parameters": parameters,
        }
        assert tensor["encoding"] == (expected if rtn.is_linear(name) else {"type": "F16"})
        if not rtn.is_linear(name):
            assert not rtn.same_bits(file.floats(name), source[name].astype(np.float32))
        elif (scheme, parameters) == ("minmax", "F16"):
            independent = rtn.minmax(source[name], bits, expected["groupSize"])
            assert not rtn.same_bits(file.floats(name), independent), name
    assert_same_values(file, decoded_by_pleat(pleat, tmp_path / "model.pleat"))


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("bits", BITS)
def test_odd_shapes_are_read_equally(pleat, odd, tmp_path, bits, scheme, compressed):
    options = ["-b", bits, "-g", 16, "--scheme", scheme, *(["--compress"] if compressed else [])]
    file = quantize(pleat, odd, tmp_path / "model.pleat", *options)
    assert {name for name in file.tensors if "bits" in file.tensors[name]["encoding"]} == {
        f"{name}.weight" for name in ("short", "uneven", "experts", "wide", "double", "constant")
    }
    assert file.metadata == {"format": "pt", "é": "✓"}
    assert_same_values(file, decoded_by_pleat(pleat, tmp_path / "model.pleat"))


@pytest.mark.parametrize("compressed", [False, True])
def test_companions_match_the_source(pleat, tinylm, odd, tmp_path, compressed):
    for folder in (tinylm, odd):
        options = ["--force", *(["--compress"] if compressed else [])]
        file = quantize(pleat, folder, tmp_path / "model.pleat", *options)
        names = [path.name for path in folder.iterdir() if path.suffix in (".json", ".txt")]
        assert file.companions == {name: (folder / name).read_bytes() for name in names}


def test_provenance_lists_sources_and_history(pleat, tinylm, tmp_path):
    file = quantize(pleat, tinylm, tmp_path / "model.pleat", "-b", 3, "--rule", "*.down_proj=8:64")
    contents = (tinylm / "model.safetensors").read_bytes()
    sources = [
        {
            "name": "model.safetensors",
            "length": len(contents),
            "crc32c": f"{google_crc32c.value(contents):08x}",
        }
    ]
    rules = [{"match": "*.down_proj", "to": "8:64"}]
    recipe = {
        "bits": 3,
        "groupSize": 32,
        "scheme": "search",
        "parameters": "F16",
        "rules": rules,
    }
    history = [{"action": "quantize", "recipe": recipe}]
    assert file.header["provenance"] == {"sources": sources, "history": history}
    pleat.run("convert", tmp_path / "model.pleat", "--to", "pleat", "-o", tmp_path / "copy.pleat")
    history.append({"action": "convert", "from": "pleat"})
    copy = PleatFile.open(tmp_path / "copy.pleat")
    assert copy.header["provenance"] == {"sources": sources, "history": history}


@pytest.mark.parametrize(
    "name", ["types", "types-codebooks", "types-opaque", "metadata", "metadata-empty-arrays"]
)
@pytest.mark.parametrize("compressed", [False, True])
def test_blocks_and_records_of_gguf_are_copied(pleat, fixtures, tmp_path, name, compressed):
    source = fixtures / "golden" / "gguf" / f"{name}.gguf"
    options = ["--compress"] if compressed else []
    pleat.run("convert", source, "--to", "pleat", "-o", tmp_path / "model.pleat", *options)
    file = PleatFile.open(tmp_path / "model.pleat")
    for tensor in gguf.GGUFReader(source).tensors:
        encoding = file.tensors[tensor.name]["encoding"]
        if "ggml" in encoding:
            assert encoding["ggml"] == tensor.tensor_type.name
            blocks = file.bytes_of(file.tensors[tensor.name]["parts"]["blocks"])
            assert blocks == tensor.data.tobytes()
        elif "bits" in encoding:
            values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            assert not rtn.same_bits(file.floats(tensor.name), np.asarray(values, np.float32))
        else:
            stored = file.bytes_of(file.tensors[tensor.name]["parts"]["values"])
            assert stored == tensor.data.tobytes()
    has_blocks = any("ggml" in tensor["encoding"] for tensor in file.tensors.values())
    assert ("ggml-blocks" in file.header["requires"]) == has_blocks
    # In GGUF the same records follow the magic, the version and two counts.
    records = file.bytes_of(file.header["metadata"])
    assert records == source.read_bytes()[24 : 24 + len(records)]
    assert len(file.metadata) == file.header["metadata"]["count"]


@pytest.mark.parametrize("compressed", [False, True])
def test_metadata_may_be_larger_than_a_block(pleat, tmp_path, compressed):
    """Most models have a vocabulary of more than 1 MiB."""
    tokens = [f"token number {index}" for index in range(60_000)]
    writer = gguf.GGUFWriter(tmp_path / "model.gguf", "llama")
    writer.add_array("tokenizer.ggml.tokens", tokens)
    writer.add_tensor("blk.0.attn_q.weight", np.ones((2, 32), np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    path = tmp_path / "model.pleat"
    options = ["--compress"] if compressed else []
    pleat.run("convert", tmp_path / "model.gguf", "--to", "pleat", "-o", path, *options)
    pleat.run("verify", path)
    assert PleatFile.open(path).metadata["tokenizer.ggml.tokens"] == tokens


# Layout of the files


@pytest.mark.parametrize("compressed", [False, True])
def test_the_output_does_not_depend_on_the_number_of_threads(pleat, tinylm, tmp_path, compressed):
    found = []
    for threads in (1, 2, 7):
        path = tmp_path / f"{threads}.pleat"
        options = ["--compress"] if compressed else []
        pleat.run("quantize", tinylm, "--to", "pleat", "-t", threads, "-o", path, *options)
        found.append(path.read_bytes())
    assert found[0] == found[1] == found[2]


def test_raw_parts_are_in_header_order(pleat, odd, tmp_path):
    file = quantize(pleat, odd, tmp_path / "model.pleat", "-g", 16)
    end = 64
    for name, part in file.parts():
        if part["length"] == 0:
            assert part["offset"] == 0, name
            continue
        assert part["offset"] == -(-end // 64) * 64, name
        end = part["offset"] + part["length"]
    assert file.header_offset == -(-end // 64) * 64


def test_the_example_of_the_document_is_current(pleat, fixtures, tmp_path):
    text = (ROOT / "formats" / "pleat.md").read_text()
    dump = re.search(r"```hex\n(.*?)```", text, re.DOTALL)[1]
    contents = b""
    for line in dump.splitlines():
        offset, data = line.split("#")[0].split(":")
        assert int(offset, 16) == len(contents), line
        contents += bytes.fromhex(data)
    folder = fixtures / "golden" / "pleat"
    assert contents == (folder / "example.pleat").read_bytes()
    source = folder / "example.safetensors"
    how = ["-b", 4, "-g", 32, "--scheme", "minmax"]
    file = quantize(pleat, source, tmp_path / "example.pleat", *how)
    # The name of the writer contains its version, which may differ.
    expected = PleatFile(contents)
    assert file.data[64 : file.header_offset] == contents[64 : expected.header_offset]
    assert file.header | {"writer": ""} == expected.header | {"writer": ""}
    weights = safetensors.numpy.load_file(source)
    assert_same_values(file, {name: value.astype(np.float32) for name, value in weights.items()})


# Accepted and refused files


@pytest.fixture(scope="module")
def example(fixtures) -> PleatFile:
    return PleatFile.open(fixtures / "golden" / "pleat" / "example.pleat")


def test_unknown_keys_and_minor_versions_are_ignored(pleat, example, tmp_path):
    header = copy.deepcopy(example.header)
    header |= {"future": [{"x": None}], "adapters": [{"name": "later"}]}
    header["tensors"][0] |= {"note": "more"}
    header["tensors"][0]["parts"]["codes"] |= {"sha256": ""}
    header["tensors"][0]["encoding"] |= {"hint": 1}
    header["provenance"]["history"].append({"action": "knit"})
    (tmp_path / "new.pleat").write_bytes(rebuilt(example, header, version=(1, 9)))
    pleat.run("verify", tmp_path / "new.pleat")


@pytest.mark.parametrize(
    ("change", "version", "status", "message"),
    [
        ({"requires": ["knitting"]}, (1, 0), 69, "knitting"),
        ({}, (2, 0), 69, "later version"),
        ({"tensors": 7}, (1, 0), 65, "not valid JSON"),
        ({"metadata": {"count": 0}}, (1, 0), 65, "incomplete"),
    ],
)
def test_unknown_features_and_versions_are_refused(
    pleat, example, tmp_path, change, version, status, message
):
    (tmp_path / "bad.pleat").write_bytes(
        rebuilt(example, example.header | change, version=version)
    )
    result = pleat.attempt("verify", tmp_path / "bad.pleat")
    assert (result.returncode, message in result.stderr) == (status, True), result.stderr


ENDLESS = {"length": 2**63 - 1, "block": 64, "planes": 1, "frames": [64, 1], "crc32c": "00000000"}
ENDLESS_BLOCKS = {
    "name": "", "shape": [0, 2**63 - 256], "encoding": {"ggml": "Q8_0"}, "parts": {"blocks": EMPTY},
}  # fmt: skip
# A config.json of 1 TiB in frames of one byte, beyond the end of the file.
HUGE = {"name": "config.json", "length": 2**40, "block": 2**28, "planes": 1, "crc32c": "00000000"}
HUGE |= {"frames": [number for block in range(4096) for number in (400 + block, 1)]}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["tensors", 0, "parts", "scales", "offset"], 193),
        (["tensors", 0, "parts", "scales", "offset"], 128),
        (["tensors", 0, "parts", "scales", "offset"], 2**63 - 1),
        (["tensors", 0, "parts", "scales", "length"], 8),
        (["tensors", 0, "parts", "scales", "crc32c"], "77bc20f"),
        (["tensors", 0, "shape"], [2, 33]),
        (["tensors", 0, "shape"], [2**62, 32]),
        (["tensors", 0, "shape"], []),
        (["tensors", 0, "shape"], [0, 2**62]),
        (["tensors", 0, "parts", "codes"], ENDLESS),
        (["tensors", 0, "encoding", "bits"], 7),
        (["tensors", 0, "encoding", "groupSize"], 0),
        (["tensors", 0, "encoding", "groupSize"], 24),
        (["tensors", 0, "encoding", "offset"], "zeroPoint"),
        (["tensors", 0, "encoding", "parameters"], "F64"),
        (["tensors", 1, "encoding", "type"], "F8"),
        (["tensors", 1, "encoding"], {"ggml": "Q4_K"}),
        (["tensors", 1, "encoding"], {"ggml": "F16"}),
        (["tensors", 1, "name"], "a.weight"),
        (["metadata", "count"], 2),
        (["tensors", 1], ENDLESS_BLOCKS),
        (["companions"], [EMPTY | {"name": "../x"}]),
        (["companions"], [HUGE]),
        (["companions"], [EMPTY | {"name": "x"}, EMPTY | {"name": "x"}]),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_an_inconsistent_header_is_refused(pleat, example, tmp_path, path, value):
    header = copy.deepcopy(example.header)
    target = header
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    (tmp_path / "bad.pleat").write_bytes(rebuilt(example, header))
    result = pleat.attempt("inspect", tmp_path / "bad.pleat")
    assert result.returncode == 65, result.stderr


def test_biases_can_be_rewritten_in_place(pleat, example, tmp_path):
    """§12: a fold adds a number to each group and changes nothing else."""
    header = copy.deepcopy(example.header)
    part = header["tensors"][0]["parts"]["biases"]
    biases = np.frombuffer(example.bytes_of(part), "<f2") + np.array([0.5, -0.25], np.float16)
    start = part["offset"] - 64
    data = bytearray(example.data[64 : example.header_offset])
    data[start : start + part["length"]] = biases.tobytes()
    part["crc32c"] = f"{google_crc32c.value(biases.tobytes()):08x}"
    header["provenance"]["history"].append({"action": "fold"})
    path = tmp_path / "folded.pleat"
    path.write_bytes(file_of(header, bytes(data)))
    pleat.run("verify", path)
    folded, weight = PleatFile.open(path), example.floats("a.weight")
    expected = weight + np.array([[0.5], [-0.25]], np.float32)
    assert not rtn.same_bits(folded.floats("a.weight"), expected)
    assert_same_values(folded, decoded_by_pleat(pleat, path))
