"""Block types that Pleat only reads: their values are those of the package gguf, bit for bit."""

import runpy
from pathlib import Path

import ggml
import gguf
import gguf_files
import numpy as np
import pytest
import rtn
import safetensors.numpy
from gguf_bytes import Tensor, Value, Writer

pytestmark = pytest.mark.llama

SEED = 61
ROWS, BLOCKS = 64, 32
HEADS = (4, 2)
LAYER = "blk.0."
SMALL = 0x1000, 0x2000  # half-precision scales of about the size that weights need


def random_blocks(type: str, count: int = ROWS * BLOCKS, scales=(0, 0x7C00)) -> np.ndarray:
    """Blocks of random bytes with finite scales; 2048 of them have each entry of a codebook."""
    random = np.random.default_rng([SEED, ggml.block(type)[0]])
    blocks = random.integers(0, 256, (count, ggml.block(type)[2]), dtype=np.uint8)
    halves = random.integers(*scales, len(blocks)) | random.integers(0, 2, len(blocks)) << 15
    if type == "IQ1_M":
        blocks[:, 48:] = ggml.with_iq1_m_scales(blocks[:, 48:], halves)
    elif type != "NVFP4":
        blocks[:, :2] = halves.astype("<u2").view(np.uint8).reshape(-1, 2)
    return blocks


def test_the_codebooks_are_those_of_gguf(fixtures):
    generator = runpy.run_path(str(fixtures / "generate" / "codebooks.py"))
    assert generator["PATH"].read_text() == generator["source"]()


@pytest.mark.parametrize("type", ggml.READ_TYPES)
def test_random_blocks_decode_to_the_bits_of_gguf(pleat, tmp_path, type):
    number, elements, _ = ggml.block(type)
    blocks = random_blocks(type)
    shape = (ROWS, BLOCKS * elements)
    tensor = Tensor("blk.0.ffn_up.weight", type, shape, blocks.tobytes(), type_id=number)
    architecture = Value("general.architecture", "string", "llama")
    source, out = tmp_path / "model.gguf", tmp_path / "out.safetensors"
    source.write_bytes(Writer().file([architecture], [tensor]))
    pleat.run("convert", source, "--to", "safetensors", "--dtype", "F32", "-o", out)
    (found,) = safetensors.numpy.load_file(out).values()
    assert found.shape == shape
    assert not rtn.same_bits(found, ggml.dequantized(blocks, type).reshape(shape))
    assert not rtn.same_bits(found, ggml.dequantized_by_ggml(blocks, type).reshape(shape))


@pytest.fixture(scope="module", params=[type for type in ggml.READ_TYPES if type != "Q2_0"])
def model(request, tinylm_f16_gguf, tmp_path_factory) -> tuple[str, Path]:
    """tinylm with a layer in one of the types, quantized by ggml; gguf does not know Q2_0.

    ggml takes up to twenty seconds for a layer in an IQ type; these have random blocks.
    """
    path = tmp_path_factory.mktemp("read") / "model.gguf"
    reader = gguf.GGUFReader(tinylm_f16_gguf)
    writer = gguf.GGUFWriter(path, "llama")
    for key, field in reader.fields.items():
        if not key.startswith("GGUF.") and key != "general.architecture":
            types = field.types
            inner = types[-1] if types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(key, field.contents(), types[0], inner)
    for tensor in reader.tensors:
        data, type = tensor.data, tensor.tensor_type
        if tensor.name.startswith(LAYER) and gguf_files.is_block_matrix(tensor.name):
            values = data.astype(np.float32)
            importance = np.abs(values).mean(axis=0)
            if request.param.startswith("IQ"):
                count = values.size // ggml.block(request.param)[1]
                blocks = random_blocks(request.param, count, SMALL).tobytes()
            else:
                blocks = ggml.quantized(values, request.param, importance)
            data = np.frombuffer(blocks, np.uint8).reshape(len(values), -1)
            type = gguf.GGMLQuantizationType[request.param]
        writer.add_tensor(tensor.name, data, raw_dtype=type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return request.param, path


def values(path: Path) -> dict[str, np.ndarray]:
    """The values of a file as float32."""
    result = {}
    for tensor in gguf.GGUFReader(path).tensors:
        if tensor.tensor_type.name == "Q1_0":
            shape = tuple(reversed(tensor.shape.tolist()))
            blocks = tensor.data.reshape(-1, ggml.block("Q1_0")[2])
            result[tensor.name] = ggml.dequantized(blocks, "Q1_0").reshape(shape)
        else:
            result[tensor.name] = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
    return result


def test_a_model_becomes_a_checkpoint(pleat, tmp_path, model):
    type, path = model
    pleat.run("convert", path, "--to", "safetensors", "--dtype", "F32", "-o", tmp_path / "back")
    found = safetensors.numpy.load_file(tmp_path / "back" / "model.safetensors")
    found = gguf_files.under_gguf_names(found, *HEADS)
    expected = values(path)
    assert sorted(found) == sorted(expected)
    for name, wanted in expected.items():
        assert not rtn.same_bits(found[name], wanted), name
    assert "worst 0 at" in pleat.run("verify", tmp_path / "back", "--against", path)
    assert type in pleat.run("inspect", path, "--check")


def test_blocks_are_quantized_again_only_if_wanted(pleat, tmp_path, model):
    type, path = model
    out = tmp_path / "out.gguf"
    options = ["--to", "gguf", "--type", "Q4_K_M", "--pure", "--scheme", "ggml", "-o", out]
    refused = pleat.attempt("quantize", path, *options)
    assert refused.returncode == 69
    assert "already quantized" in refused.stderr
    assert type in refused.stderr
    pleat.run("quantize", path, *options, "--requantize")
    found = ggml.blocks(out)
    layer = [name for name in found if name.startswith(LAYER) and gguf_files.is_block_matrix(name)]
    assert len(layer) == 7
    expected = values(path)
    for name in layer:
        assert found[name] == ("Q4_K", ggml.quantized(expected[name], "Q4_K")), name


def test_blocks_are_copied(pleat, tmp_path, model):
    _, path = model
    pleat.run("convert", path, "--to", "pleat", "-o", tmp_path / "copy.pleat")
    pleat.run("convert", tmp_path / "copy.pleat", "--to", "gguf", "-o", tmp_path / "copy.gguf")
    assert (tmp_path / "copy.gguf").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("type", ["IQ2_XXS", "IQ1_M", "NVFP4", "Q1_0"])
def test_these_types_are_not_made(pleat, tinylm_f16_gguf, tmp_path, type):
    for how in (["--type", type], ["--type", "Q4_K_M", "--output-type", type]):
        options = ["--to", "gguf", *how, "-o", tmp_path / "out.gguf"]
        result = pleat.attempt("quantize", tinylm_f16_gguf, *options)
        assert result.returncode in (64, 69)
        assert type in result.stderr
