"""GPTQ checkpoints, packed by the rules of the format in plain Python, and by gptqmodel.

gptqmodel requires other versions of packages, so it is installed without dependencies; see
requirements-alone.txt. The tests below its heading run if it can be imported.
"""

import json
import re

import gptq_models
import models
import numpy as np
import pytest
import torch
import transformers
from gptq_models import VERSIONS, Layer, arrays, quantization, weights
from safetensors.numpy import load_file, save_file

BITS = (2, 3, 4, 8)
FORMATS = dict(zip(VERSIONS, ("gptq-v1", "gptq"), strict=True))
# outputs, inputs, columns of a group
SHAPES = ((32, 32, 32), (96, 224, 32), (160, 1088, 64), (32, 1536, 512))
# The tolerance of F16 logits against F32. They reach 15; measured: 0.0085.
HALF = 0.05
# The adapters of the fixtures are for groups of 32 in all linears of a layer.
AS_TRAINED = ["-g", 32]


def decoded(pleat, folder, out) -> dict[str, np.ndarray]:
    pleat.run("convert", folder, "--to", "safetensors", "--dtype", "F32", "-o", out)
    return {name: tensor for name, tensor in load_file(out / "model.safetensors").items()}


def same(left: np.ndarray, right: np.ndarray) -> bool:
    return left.dtype == right.dtype and left.tobytes() == right.tobytes()


def quantizer(pleat, model, folder):
    """Makes GPTQ folders of a model, once for each set of options."""

    def make(bits: int, version: str = "gptq_v2", *options):
        out = folder / "-".join([str(bits), version, *map(str, options)])
        if not out.exists():
            to = ["--to", FORMATS[version], "-b", bits, *AS_TRAINED, *options]
            pleat.run("quantize", model, *to, "-o", out)
        return out

    return make


@pytest.fixture(scope="module")
def quantized(pleat, tinylm, tmp_path_factory):
    return quantizer(pleat, tinylm, tmp_path_factory.mktemp("gptq"))


@pytest.fixture(scope="module")
def quantized_layer(pleat, tinylm, tmp_path_factory):
    """The first layer only, since gptqmodel and Python's long integers take long for one."""
    folder = tmp_path_factory.mktemp("gptq-layer")
    model = folder / "model"
    model.mkdir()
    tensors = load_file(tinylm / "model.safetensors")
    kept = {name: one for name, one in tensors.items() if not re.match(r"model.layers.[1-9]", name)}
    save_file(kept, model / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((tinylm / "config.json").read_text()) | {"num_hidden_layers": 1}
    (model / "config.json").write_text(json.dumps(config))
    for path in tinylm.glob("*token*"):
        (model / path.name).write_bytes(path.read_bytes())
    return quantizer(pleat, model, folder)


# The rules of the format


@pytest.mark.parametrize("scattered", [False, True])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("bits", BITS)
def test_a_folder_packed_by_the_rules_is_read(pleat, tmp_path, bits, version, scattered):
    generator = np.random.default_rng(bits)
    for number, (outputs, inputs, size) in enumerate(SHAPES):
        layer = Layer.random(generator, outputs, inputs, bits, size, scattered)
        bias = generator.normal(0, 1, outputs).astype(np.float16)
        folder = gptq_models.write(
            tmp_path / f"{number}", {"model.layers.0.up": layer}, {"model.layers.0.up.bias": bias},
            version,
        )  # fmt: skip
        found = decoded(pleat, folder, tmp_path / f"{number}-decoded")
        assert same(found["model.layers.0.up.weight"], layer.weights())
        assert same(found["model.layers.0.up.bias"], bias.astype(np.float32))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("bits", BITS)
def test_zero_points_determine_the_version_if_the_config_is_wrong(pleat, tmp_path, bits, version):
    layer = Layer.random(np.random.default_rng(7), 64, 128, bits, 32, central=True)
    wrong = VERSIONS[1 - VERSIONS.index(version)]
    folder = gptq_models.write(
        tmp_path / "in", {"a": layer}, {}, version, checkpoint_format=wrong, sym=True
    )
    assert same(decoded(pleat, folder, tmp_path / "out")["a.weight"], layer.weights())


@pytest.mark.parametrize("scheme", ["zeropoint", "symmetric"])
@pytest.mark.parametrize("bits", BITS)
def test_a_written_folder_follows_the_rules(pleat, quantized, tmp_path, bits, scheme):
    folder = quantized(bits, "gptq_v2", "--scheme", scheme)
    config = quantization(folder)
    assert config["sym"] == (scheme == "symmetric") and not config["desc_act"]
    found, expected = decoded(pleat, folder, tmp_path / "out"), weights(folder)
    assert len(expected) == 42
    for path, values in expected.items():
        assert same(found[path + ".weight"], values), path


@pytest.mark.parametrize("bits", BITS)
def test_both_versions_decode_to_the_same_weights(pleat, quantized_layer, tmp_path, bits):
    second = quantized_layer(bits, "gptq_v2", "--scheme", "symmetric")
    pleat.run("convert", second, "--to", "gptq-v1", "-o", tmp_path / "first")
    expected = weights(second)
    assert len(expected) == 7
    for path, values in weights(tmp_path / "first").items():
        assert same(values, expected[path]), path
    words = {2: 0x55555555, 4: 0x77777777, 8: 0x7F7F7F7F}
    if bits in words:
        for name, tensor in arrays(tmp_path / "first").items():
            if name.endswith(".qzeros"):
                assert (tensor == words[bits]).all()


@pytest.mark.parametrize("bits", BITS)
def test_transformers_reads_the_config(quantized, bits):
    config = transformers.AutoConfig.from_pretrained(quantized(bits)).quantization_config
    found = transformers.GPTQConfig.from_dict(config)
    assert (found.bits, found.group_size, found.format) == (bits, 32, "gptq_v2")
    assert not found.sym and not found.desc_act
    assert found.meta["quantizer"][0].startswith("pleat:")


@pytest.mark.parametrize("bits", (2, 3, 4))
def test_a_fold_widens_zero_points(pleat, quantized, trained, tmp_path, bits):
    """New codes are multiples of the old ones, and scales are divided by the same factor."""
    base, out = quantized(bits), tmp_path / "out"
    adapter = trained / f"qalora_int{bits}"
    pleat.run("fold", base, "--adapter", adapter, "--widen", 8, "-o", out)
    pleat.run("verify", out, "--against", base, "--adapter", adapter)
    assert quantization(out)["bits"] == 8 and not quantization(out)["sym"]
    before, after, factor = arrays(base), arrays(out), 255 // ((1 << bits) - 1)
    moved = 0
    for name in before:
        if not name.endswith(".qweight"):
            continue
        path = name.removesuffix(".qweight")
        old = Layer.read(before, path, bits, "gptq_v2")
        new = Layer.read(after, path, 8, "gptq_v2")
        assert (new.codes == factor * old.codes).all()
        scale = old.scales.astype(np.float32) / np.float32(factor)
        assert same(new.scales, scale.astype(np.float16))
        moved += int((new.zeros != factor * old.zeros).sum())
    assert moved > 10_000


# gptqmodel


@pytest.fixture(scope="module")
def gptqmodel():
    return pytest.importorskip("gptqmodel")


@pytest.fixture(scope="module")
def torch_linear(gptqmodel):
    from gptqmodel.nn_modules.qlinear.torch import TorchLinear

    return TorchLinear


def load(gptqmodel, folder):
    """Loads in F16: by default gptqmodel rounds scales to BF16 on a CPU."""
    backend = gptqmodel.BACKEND.GPTQ_TORCH
    return gptqmodel.GPTQModel.load(
        str(folder), device="cpu", backend=backend, dtype=torch.float16
    ).model


# gptqmodel loads the other pairs below, through transformers.
@pytest.mark.parametrize(("bits", "version"), zip(BITS, VERSIONS * 2, strict=True))
def test_gptqmodel_loads_our_folder(
    pleat, gptqmodel, torch_linear, quantized_layer, tmp_path, bits, version
):
    """Its weights equal ours, rounded once to the type of its scales."""
    scheme = ["--scheme", "symmetric"] if version == "gptq" else []
    folder = quantized_layer(bits, version, *scheme)
    found, expected = load(gptqmodel, folder), decoded(pleat, folder, tmp_path / "out")
    layers = [pair for pair in found.named_modules() if isinstance(pair[1], torch_linear)]
    assert len(layers) == 7
    for path, layer in layers:
        values = torch.from_numpy(expected[path + ".weight"]).to(layer.scales.dtype)
        assert torch.equal(layer.dequantize_weight().T, values), path


def test_gptqmodel_applies_our_rules(pleat, gptqmodel, torch_linear, quantized, tmp_path):
    """Layers with other bits, with one group per row, and with 16 bits."""
    options = ["--rule", "*.0.mlp.*=8:64", "--rule", "*.1.mlp.*=3:row", "--rule", "*.2.mlp.*=keep"]
    folder = quantized(4, "gptq_v2", *options)
    assert len(quantization(folder)["dynamic"]) == 9
    found, expected = load(gptqmodel, folder), decoded(pleat, folder, tmp_path / "out")
    layers = dict(found.named_modules())
    for name, tensor in expected.items():
        layer = layers.get(name.removesuffix(".weight"))
        if isinstance(layer, torch_linear):
            values = torch.from_numpy(tensor).to(layer.scales.dtype)
            assert torch.equal(layer.dequantize_weight().T, values), name
    assert sum(isinstance(layer, torch_linear) for layer in layers.values()) == 39


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("scattered", [False, True])
@pytest.mark.parametrize("bits", BITS)
def test_a_layer_packed_by_gptqmodel_is_read(
    pleat, gptqmodel, torch_linear, tmp_path, bits, scattered, version
):
    from gptqmodel.quantization import QuantizeConfig
    from gptqmodel.utils.model import convert_gptq_v2_to_v1_format_module

    generator = np.random.default_rng(bits)
    for number, (outputs, inputs, size) in enumerate(SHAPES):
        layer = Layer.random(generator, outputs, inputs, bits, size, scattered)
        linear = torch.nn.Linear(inputs, outputs, dtype=torch.float32)
        linear.weight.data = torch.from_numpy(layer.weights())
        packed = torch_linear(
            bits=bits, group_size=size, sym=False, desc_act=scattered, in_features=inputs,
            out_features=outputs, bias=True, register_buffers=True,
        )  # fmt: skip
        packed.pack_original(
            linear,
            torch.from_numpy(layer.scales.astype(np.float32)).T,
            torch.from_numpy(layer.zeros.astype(np.int32)).T,
            torch.from_numpy(layer.groups),
        )
        if version == "gptq":
            config = QuantizeConfig(bits=bits, group_size=size, sym=False)
            convert_gptq_v2_to_v1_format_module(packed, config)
        names = ("qweight", "qzeros", "scales", "g_idx", "bias")
        tensors = {f"a.{name}": getattr(packed, name).detach().numpy() for name in names}
        expected = layer.tensors("a", version)
        assert all(same(tensors[name], expected[name]) for name in expected)
        folder = gptq_models.write(tmp_path / f"{number}", {"a": layer}, {}, version)
        gptq_models.save_file(tensors, folder / "model.safetensors")
        found = decoded(pleat, folder, tmp_path / f"{number}-decoded")
        assert same(found["a.weight"], layer.weights())
        assert same(found["a.bias"], tensors["a.bias"].astype(np.float32))


@pytest.mark.parametrize("bits", BITS)
def test_zero_points_of_0_in_the_first_version_are_read(
    pleat, gptqmodel, torch_linear, tmp_path, bits
):
    """gptqmodel subtracts one from whole words, and adds it again when it loads them."""
    from gptqmodel.quantization import QuantizeConfig
    from gptqmodel.utils.model import (
        convert_gptq_v1_to_v2_format_module,
        convert_gptq_v2_to_v1_format_module,
    )

    generator = np.random.default_rng(bits)
    layer = Layer.random(generator, 64, 96, bits, 32)
    layer.zeros[generator.random(layer.zeros.shape) < 0.3] = 0
    linear = torch_linear(
        bits=bits, group_size=32, sym=False, desc_act=False, in_features=96, out_features=64,
        bias=False, register_buffers=True,
    )  # fmt: skip
    for name, tensor in layer.tensors("a", "gptq_v2").items():
        getattr(linear, name.removeprefix("a.")).copy_(torch.from_numpy(tensor))
    config = QuantizeConfig(bits=bits, group_size=32, sym=False)
    convert_gptq_v2_to_v1_format_module(linear, config)
    folder = gptq_models.write(tmp_path / "model", {"a": layer}, {}, "gptq")
    stored = layer.tensors("a", "gptq_v2") | {"a.qzeros": linear.qzeros.numpy().copy()}
    gptq_models.save_file(stored, folder / "model.safetensors")
    found = decoded(pleat, folder, tmp_path / "decoded")
    assert same(found["a.weight"], layer.weights())
    convert_gptq_v1_to_v2_format_module(linear, bits, torch.int32)
    assert same(linear.qzeros.numpy(), layer.tensors("a", "gptq_v2")["a.qzeros"])


@pytest.mark.parametrize(("bits", "version"), zip(BITS, VERSIONS[::-1] * 2, strict=True))
def test_transformers_runs_our_folder(gptqmodel, pleat, quantized, tinylm, tmp_path, bits, version):
    """transformers uses optimum and gptqmodel, in F16."""
    pytest.importorskip("optimum.gptq")
    scheme = ["--scheme", "symmetric"] if version == "gptq" else []
    folder = quantized(bits, version, *scheme)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, device_map="cpu", dtype=torch.float16
    )
    decoded(pleat, folder, tmp_path / "out")
    rows = models.reference_rows()[:2, :8]
    expected = models.logits(models.load(tmp_path / "out", tinylm), rows)
    with torch.no_grad():
        found = model(torch.from_numpy(rows)).logits.float().numpy()
    assert np.abs(found - expected).max() < HALF


def test_gptqmodel_matches_the_decoded_model(pleat, gptqmodel, quantized, tinylm, tmp_path):
    """gptqmodel computes in F16; logits reach 15."""
    folder = quantized(4)
    decoded(pleat, folder, tmp_path / "out")
    rows = models.reference_rows()[:4, :8]
    expected = models.logits(models.load(tmp_path / "out", tinylm), rows)
    with torch.no_grad():
        found = load(gptqmodel, folder)(torch.from_numpy(rows)).logits.float().numpy()
    assert np.abs(found - expected).max() < HALF
