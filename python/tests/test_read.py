"""pleat.read decodes every encoding to the bits of `pleat convert --to safetensors --dtype F32`."""

import importlib.util
import itertools
import struct
from pathlib import Path

import numpy as np
import pleat
import pytest
import safetensors.torch
import torch
import typed_model
from comparing import differing_bits
from pleat_command import ROOT
from pleat.checksum import crc32c
from pleat.encodings import BLOCK_SIZES

SEED = 20261128
BITS = [2, 3, 4, 5, 6, 8]
OFFSETS = {"minmax": "bias", "zeropoint": "zeroPoint", "symmetric": "none"}
PARAMETERS = ["F16", "BF16", "F32"]
# All combinations of bits and offset; groups, parameters and compression alternate over them.
CASES = [
    (BITS[b], [16, 32, 64, 256, "row"][(2 * b + s) % 5], scheme, PARAMETERS[(b + s) % 3],
     ["--compress"] if (b + s) % 2 else [])
    for b, (s, scheme) in itertools.product(range(6), enumerate(OFFSETS))
]  # fmt: skip

# The block types that the command reads but does not make, and their numbers in GGUF.
READ_TYPES = {
    "IQ2_XXS": 16, "IQ2_XS": 17, "IQ3_XXS": 18, "IQ1_S": 19, "IQ3_S": 21, "IQ2_S": 22, "IQ1_M": 29,
    "NVFP4": 40, "Q1_0": 41, "Q2_0": 42,
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A model with all types of numbers, a stack, a scalar, and rows of 512 and 768 columns."""
    tensors = typed_model.floats(SEED) | {"mask": torch.tensor([True, False])}
    for type in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64):
        tensors[str(type).removeprefix("torch.")] = torch.arange(5, dtype=type)
    return typed_model.write(tmp_path_factory.mktemp("model"), tensors)


def converted(command, path: Path, folder: Path) -> dict[str, np.ndarray]:
    """What the command decodes the file to, under the names of the file."""
    out = folder.with_suffix(".safetensors")
    command.run("convert", path, "--to", "safetensors", "--dtype", "F32", "-o", out)
    return {name: tensor.numpy() for name, tensor in safetensors.torch.load_file(out).items()}


def differences(found, expected: dict[str, np.ndarray]) -> dict[str, str]:
    assert sorted(found) == sorted(expected)
    problems = {name: differing_bits(found[name], expected[name]) for name in expected}
    return {name: problem for name, problem in problems.items() if problem}


def reader_of_the_document():
    """formats/pleat.py, the slow independent reader."""
    specification = importlib.util.spec_from_file_location("document", ROOT / "formats/pleat.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("bits", "group", "scheme", "parameters", "options"), CASES, ids=str)
def test_groups_decode_as_the_command_does(
    command, model, tmp_path, bits, group, scheme, parameters, options
):
    path = tmp_path / "model.pleat"
    how = ["-b", bits, "-g", group, "--scheme", scheme, "--parameters", parameters, *options]
    command.run("quantize", model, "--to", "pleat", *how, "-o", path)
    file = pleat.read(path, check=True)
    encoding = file.tensors["half.weight"].encoding
    assert (encoding.bits, encoding.offset) == (bits, OFFSETS[scheme])
    assert encoding.size == (512 if group == "row" else group)
    assert encoding.parameters == parameters
    assert file.metadata == {"format": "pt", "é": "✓"}
    assert file.companion("config.json") == (model / "config.json").read_bytes()
    assert not differences(file, converted(command, path, tmp_path / "decoded"))


def test_blocks_and_plain_types_decode_as_the_command_does(command, fixtures, tmp_path):
    path = tmp_path / "blocks.pleat"
    path.write_bytes((fixtures / "seeds/pleat/blocks.pleat").read_bytes())
    file = pleat.read(path, check=True)
    assert {str(tensor.encoding) for tensor in file.tensors.values()} >= {
        "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "TQ1_0", "TQ2_0", "MXFP4",
        "F32", "F16", "BF16", "F64", "I8", "I16", "I32", "I64",
    }  # fmt: skip
    assert not differences(file, converted(command, path, tmp_path / "decoded"))


@pytest.mark.parametrize("type", READ_TYPES)
def test_golden_blocks_decode_as_the_command_does(command, fixtures, tmp_path, type):
    elements, size = BLOCK_SIZES[type]
    blocks = (fixtures / f"golden/ggml/{type}.blocks").read_bytes()
    expected = np.fromfile(fixtures / f"golden/ggml/{type}.f32", "<f4")
    columns = len(blocks) // size // 4 * elements
    path = blocks_file(command, tmp_path, blocks, [4, columns], type)
    file = pleat.read(path)
    assert str(file.tensors["blk.0.ffn_up.weight"].encoding) == type
    found = converted(command, path, tmp_path / "decoded")
    assert not differing_bits(found["blk.0.ffn_up.weight"], expected.reshape(4, columns))
    assert not differences(file, found)


def test_nvfp4_is_not_decoded_without_its_scale(command, fixtures, tmp_path):
    """Older versions of Pleat wrote the scale as a tensor of its own."""
    blocks = (fixtures / "golden/ggml/NVFP4.blocks").read_bytes()
    file = pleat.read(blocks_file(command, tmp_path, blocks, [4, 1024], "NVFP4"))
    file.tensors["blk.0.ffn_up.scale"] = file.tensors.pop("norm.scale")
    with pytest.raises(pleat.PleatError, match="expected no blk.0.ffn_up.scale"):
        file["blk.0.ffn_up.weight"]


def blocks_file(command, folder: Path, blocks: bytes, shape: list[int], type: str) -> Path:
    """A pleat file with blocks of GGML and one number, made from a GGUF file."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    data = blocks + bytes(-len(blocks) % 32)
    header = b"GGUF" + struct.pack("<IQQ", 3, 2, 1)
    header += text("general.architecture") + struct.pack("<I", 8) + text("llama")
    header += text("blk.0.ffn_up.weight") + struct.pack(
        "<I2QIQ", 2, *shape[::-1], READ_TYPES[type], 0
    )
    header += text("norm.scale") + struct.pack("<IQIQ", 1, 1, 0, len(data))
    source, path = folder / "blocks.gguf", folder / "blocks.pleat"
    one = struct.pack("<f", 1) + bytes(28)
    source.write_bytes(header + bytes(-len(header) % 32) + data + one)
    command.run("convert", source, "--to", "pleat", "-o", path)
    return path


def test_the_reader_of_the_document_decodes_the_same(quantized):
    path = quantized("-b", 3, "--scheme", "minmax")
    document = reader_of_the_document().PleatFile.open(path)
    expected = {name: document.floats(name) for name in document.tensors}
    assert not differences(pleat.read(path), expected)


def test_attached_adapters_are_read(command, quantized, fixtures, tmp_path):
    both = tmp_path / "both.pleat"
    folder = fixtures / "adapters/qalora_int4"
    command.run(
        "attach", quantized("-b", 4), "--adapter", folder, "--name", "é", "--compress", "-o", both
    )
    file = pleat.read(both, check=True)
    expected = safetensors.torch.load_file(folder / "adapter_model.safetensors")
    expected = {name: tensor.numpy() for name, tensor in expected.items()}
    assert not differences(file.adapter("é"), expected)
    assert file.adapters["é"].config["use_qalora"] is True


def test_only_what_is_asked_for_is_read(quantized):
    """Raw parts are views of the mapped file, and stay read-only."""
    file = pleat.read(quantized("-b", 4))
    parts = file.stored("model.layers.0.mlp.up_proj.weight")
    assert list(parts) == ["codes", "scales", "biases"]
    assert all(not part.flags.owndata and not part.flags.writeable for part in parts.values())


def with_header(contents: bytes, old: bytes, new: bytes) -> bytes:
    """The file with a text of its header replaced, and valid checksums."""
    (offset,) = struct.unpack_from("<Q", contents, 16)
    header = contents[offset:].replace(old, new)
    assert header != contents[offset:]
    checksum = crc32c(np.frombuffer(header, np.uint8))
    total = offset + len(header)
    preamble = contents[:12] + struct.pack("<IQQQ20x", checksum, offset, len(header), total)
    preamble += struct.pack("<I", crc32c(np.frombuffer(preamble, np.uint8)))
    return preamble + contents[64:offset] + header


def test_packed_floats_are_no_numbers(fixtures, tmp_path):
    contents = (fixtures / "seeds/pleat/shapes.pleat").read_bytes()
    path = tmp_path / "model.pleat"
    path.write_bytes(with_header(contents, b'"U8"', b'"F8_E4M3"'))
    file = pleat.read(path, check=True)
    with pytest.raises(pleat.PleatError, match="F8_E4M3 is copied, not decoded") as refusal:
        file["rank 5"]
    assert refusal.value.kind == "unsupported" and refusal.value.tensor == "rank 5"
    assert file.stored("rank 5")["values"].shape == (24,)
