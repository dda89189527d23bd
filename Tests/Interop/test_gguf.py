"""GGUF files of pleat, checked with the gguf package and an independent quantizer."""

import gguf
import gguf_files
import numpy as np
import pytest
import rtn
import torch
from tinylm_gguf import checkpoint

# The types that `-b` selects, with a bias by default, and with --offset none.
BIASED = {"Q4_1": 4, "Q5_1": 5}
TYPES = [*BIASED, "Q4_0", "Q5_0", "Q8_0"]
FILE_TYPES = {"Q4_0": 2, "Q4_1": 3, "Q5_0": 8, "Q5_1": 9, "Q8_0": 7}
HEADS = (4, 2)


def problems(found: dict, expected: dict) -> dict:
    assert sorted(found) == sorted(expected)
    differences = {name: rtn.same_bits(found[name], expected[name]) for name in expected}
    return {name: difference for name, difference in differences.items() if difference}


@pytest.mark.parametrize("type", TYPES)
def test_metadata_matches_the_source(quantized_gguf, tinylm_f16_gguf, type):
    path = quantized_gguf(type)
    assert list(gguf_files.metadata(path).items()) == list(
        gguf_files.metadata(tinylm_f16_gguf).items()
    )
    fields = gguf.GGUFReader(path).fields
    assert fields["general.file_type"].contents() == FILE_TYPES[type]
    assert fields["general.quantization_version"].contents() == 2


@pytest.mark.parametrize("type", TYPES)
def test_matrices_have_the_type_and_the_rest_is_copied(quantized_gguf, tinylm_f16_gguf, type):
    source, found = gguf_files.types(tinylm_f16_gguf), gguf_files.types(quantized_gguf(type))
    assert list(found) == list(source)
    for name in source:
        if gguf_files.is_block_matrix(name) or name == "token_embd.weight":
            assert found[name] == type, name
        elif name == "output.weight":
            # The head gets 8 bits, since users of llama.cpp expect a finer type there.
            assert found[name] == "Q8_0"
        else:
            assert found[name] == source[name], name
    before, after = gguf_files.values(tinylm_f16_gguf), gguf_files.values(quantized_gguf(type))
    copied = [name for name in source if found[name] == source[name]]
    assert "output_norm.weight" in copied
    assert not problems(
        {name: after[name] for name in copied}, {name: before[name] for name in copied}
    )


@pytest.mark.parametrize("type", BIASED)
def test_minmax_values_equal_an_independent_rounding(pleat, tinylm_f16_gguf, tmp_path, type):
    path, how = tmp_path / "out.gguf", ["-b", BIASED[type], "--scheme", "minmax"]
    pleat.run("quantize", tinylm_f16_gguf, "--to", "gguf", *how, "-o", path)
    source, found = gguf_files.values(tinylm_f16_gguf), gguf_files.values(path)
    types = gguf_files.types(path)
    names = [name for name in types if types[name] == type]
    expected = {name: rtn.minmax(source[name], BIASED[type]) for name in names}
    assert not problems({name: found[name] for name in names}, expected)


@pytest.mark.parametrize("type", TYPES)
def test_the_error_is_no_larger_than_that_of_ggml(quantized_gguf, tinylm_f16_gguf, type):
    source, found = gguf_files.values(tinylm_f16_gguf), gguf_files.values(quantized_gguf(type))
    ggml = gguf.GGMLQuantizationType[type]
    for name, weights in source.items():
        if gguf_files.is_block_matrix(name):
            theirs = gguf.quants.dequantize(gguf.quants.quantize(weights, ggml), ggml)
            assert rms(found[name] - weights) <= rms(theirs - weights), name


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


@pytest.mark.parametrize("type", TYPES)
def test_decoding_matches_the_gguf_package(pleat, quantized_gguf, tmp_path, type):
    pleat.run(
        "convert",
        quantized_gguf(type),
        "--to",
        "safetensors",
        "--dtype",
        "F32",
        "-o",
        tmp_path / "out",
    )
    found = gguf_files.under_gguf_names(checkpoint(tmp_path / "out"), *HEADS)
    assert not problems(found, gguf_files.values(quantized_gguf(type)))


@pytest.mark.parametrize("type", TYPES)
def test_a_round_trip_through_pleat_keeps_every_value(pleat, quantized_gguf, tmp_path, type):
    source = quantized_gguf(type)
    pleat.run("convert", source, "--to", "pleat", "-o", tmp_path / "model.pleat")
    pleat.run("convert", tmp_path / "model.pleat", "--to", "gguf", "-o", tmp_path / "back.gguf")
    assert not problems(gguf_files.values(tmp_path / "back.gguf"), gguf_files.values(source))
    assert gguf_files.metadata(tmp_path / "back.gguf") == gguf_files.metadata(source)


def test_a_copy_of_a_gguf_file_has_the_same_bytes(pleat, tinylm_f16_gguf, tmp_path):
    pleat.run("convert", tinylm_f16_gguf, "--to", "gguf", "-o", tmp_path / "copy.gguf")
    assert (tmp_path / "copy.gguf").read_bytes() == tinylm_f16_gguf.read_bytes()


@pytest.mark.parametrize("type", ["F32", "BF16"])
def test_matrices_get_a_requested_type_and_vectors_stay(pleat, tinylm_f16_gguf, tmp_path, type):
    path = tmp_path / "other.gguf"
    pleat.run("convert", tinylm_f16_gguf, "--to", "gguf", "--dtype", type, "-o", path)
    source, found = gguf_files.types(tinylm_f16_gguf), gguf_files.types(path)
    assert found == {name: type if source[name] == "F16" else "F32" for name in source}
    assert set(source.values()) == {"F16", "F32"}
    before, after = gguf_files.values(tinylm_f16_gguf), gguf_files.values(path)
    for name in source:
        expected = before[name]
        if found[name] == "BF16":
            tensor = torch.from_numpy(expected.copy()).to(torch.bfloat16)
            expected = tensor.to(torch.float32).numpy()
        assert np.array_equal(after[name], expected), name


def test_quantizing_twice_is_refused(pleat, quantized_gguf, tmp_path):
    refused = pleat.attempt(
        "quantize", quantized_gguf("Q4_1"), "--to", "gguf", "-b", 4, "-o", tmp_path / "again.gguf"
    )
    assert refused.returncode != 0 and "--requantize" in refused.stderr
    assert not (tmp_path / "again.gguf").exists()
