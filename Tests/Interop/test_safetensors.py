"""safetensors files of pleat, checked with the package, transformers and another quantizer."""

import json
import shutil

import adapters
import models
import numpy as np
import pytest
import rtn
from safetensors import safe_open
from tinylm_gguf import checkpoint

MINMAX = ["-g", 32, "--scheme", "minmax"]
# The relative RMS error of the linear layers of tinylm for 4, 3 and 2 bits, with F16 parameters: at
# least as small as that of a slower search in Python with numpy.
SEARCHED = {
    ("bias", 32): (0.0694, 0.1442, 0.2965), ("bias", 64): (0.0811, 0.1646, 0.3215),
    ("bias", 128): (0.0912, 0.1785, 0.3340), ("none", 32): (0.0812, 0.1628, 0.3324),
    ("zeropoint", 32): (0.0771, 0.1607, 0.3325),
}  # fmt: skip
REFERENCE = json.loads((models.REFERENCE / "perplexity.json").read_text())


@pytest.fixture(scope="module")
def packed(pleat, tinylm, tmp_path_factory):
    """tinylm rounded plainly to .pleat, once for each number of bits."""
    folder = tmp_path_factory.mktemp("packed")

    def make(bits: int):
        path = folder / f"{bits}.pleat"
        if not path.exists():
            pleat.run("quantize", tinylm, "--to", "pleat", "-b", bits, *MINMAX, "-o", path)
        return path

    return make


@pytest.fixture(scope="module")
def decoded(pleat, packed, tmp_path_factory):
    """The same models, converted back to F16 safetensors."""
    folder = tmp_path_factory.mktemp("decoded")

    def make(bits: int):
        path = folder / str(bits)
        if not path.exists():
            pleat.run("convert", packed(bits), "--to", "safetensors", "-o", path)
        return path

    return make


def assert_same_tensors(found: dict, expected: dict) -> None:
    assert sorted(found) == sorted(expected)
    problems = {name: rtn.same_bits(found[name], expected[name]) for name in expected}
    assert not {name: problem for name, problem in problems.items() if problem}


@pytest.mark.parametrize("bits", [4, 3, 2, 8])
def test_decoded_weights_equal_an_independent_rounding(decoded, tinylm, bits):
    source = checkpoint(tinylm)
    expected = {
        name: rtn.minmax(values, bits).astype(np.float16) if rtn.is_linear(name) else values
        for name, values in source.items()
    }
    assert_same_tensors(checkpoint(decoded(bits)), expected)


def test_four_bits_and_a_search_in_groups_of_32_are_the_default(pleat, tinylm, tmp_path):
    how = ["-b", 4, "-g", 32, "--scheme", "search"]
    pleat.run("quantize", tinylm, "--to", "pleat", "-o", tmp_path / "default.pleat")
    pleat.run("quantize", tinylm, "--to", "pleat", *how, "-o", tmp_path / "named.pleat")
    assert adapters.parts(tmp_path / "default.pleat") == adapters.parts(tmp_path / "named.pleat")


@pytest.mark.parametrize(("offset", "group"), SEARCHED)
@pytest.mark.parametrize("bits", [4, 3, 2])
def test_a_search_finds_small_errors(pleat, tinylm, tmp_path, offset, group, bits):
    how = ["-b", bits, "-g", group, "--offset", offset]
    pleat.run("quantize", tinylm, "--to", "pleat", *how, "-o", tmp_path / "model.pleat")
    found = adapters.decoded(pleat, tmp_path / "model.pleat", tmp_path / "decoded")
    source = {name: one.astype(np.float64) for name, one in checkpoint(tinylm).items()}
    errors = [
        np.linalg.norm(found[name] - source[name]) / np.linalg.norm(source[name])
        for name in source if rtn.is_linear(name)
    ]  # fmt: skip
    assert len(errors) == 42
    assert np.sqrt(np.mean(np.square(errors))) <= SEARCHED[offset, group][4 - bits]


# The weights of these and of others are compared above.
@pytest.mark.parametrize(("bits", "name"), [(4, "A"), (2, "B")])
def test_perplexity_matches_pytorch(decoded, tinylm, bits, name):
    found = models.perplexity(models.load(decoded(bits), tinylm), name)
    assert found == pytest.approx(REFERENCE["minmax"][str(bits)][name], rel=REFERENCE["tolerance"])


def test_a_plain_conversion_changes_no_tensor(pleat, tinylm, tmp_path):
    pleat.run("convert", tinylm, "--to", "safetensors", "-o", tmp_path / "out")
    assert_same_tensors(checkpoint(tmp_path / "out"), checkpoint(tinylm))
    models.load(tmp_path / "out", tinylm)


def test_a_header_says_that_the_format_is_pytorch(pleat, tinylm, tmp_path):
    pleat.run("convert", tinylm, "--to", "safetensors", "-o", tmp_path / "out")
    for path in (tmp_path / "out").glob("*.safetensors"):
        with safe_open(path, "numpy") as file:
            assert file.metadata()["format"] == "pt"


def test_shards_have_an_index_and_load(pleat, tinylm, tmp_path):
    out = tmp_path / "out"
    pleat.run("convert", tinylm, "--to", "safetensors", "--shard", "3MB", "-o", out)
    shards = sorted(path.name for path in out.glob("*.safetensors"))
    count = len(shards)
    assert count > 4
    assert shards == [f"model-{i + 1:05}-of-{count:05}.safetensors" for i in range(count)]
    index = json.loads((out / "model.safetensors.index.json").read_text())
    places, sizes = {}, {}
    for shard in shards:
        with safe_open(out / shard, "numpy") as file:
            places.update((name, shard) for name in file.keys())
            sizes[shard] = sum(file.get_tensor(name).nbytes for name in file.keys())
    assert index["weight_map"] == places
    assert index["metadata"]["total_size"] == sum(sizes.values())
    assert max(sizes.values()) <= 3_000_000
    assert_same_tensors(checkpoint(out), checkpoint(tinylm))
    models.load(out, tinylm)


def test_an_output_is_replaced_only_with_force_and_then_completely(pleat, tinylm, tmp_path):
    """Programs that use a glob, such as mlx-lm, would read a stale model*.safetensors."""
    out = tmp_path / "out"
    pleat.run("convert", tinylm, "--to", "safetensors", "--shard", "3MB", "-o", out)
    before = sorted(path.name for path in out.iterdir())
    refused = pleat.attempt("convert", tinylm, "--to", "safetensors", "-o", out)
    assert refused.returncode != 0 and "--force" in refused.stderr
    assert sorted(path.name for path in out.iterdir()) == before
    pleat.run("convert", tinylm, "--to", "safetensors", "--force", "-o", out)
    assert [path.name for path in out.glob("*.safetensors")] == ["model.safetensors"]
    assert not (out / "model.safetensors.index.json").exists()
    assert_same_tensors(checkpoint(out), checkpoint(tinylm))


def test_the_input_is_never_the_output(pleat, tinylm, tmp_path):
    copy = tmp_path / "model"
    shutil.copytree(tinylm, copy)
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    refused = pleat.attempt("convert", copy, "--to", "safetensors", "--force", "-o", copy)
    assert refused.returncode != 0
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before
