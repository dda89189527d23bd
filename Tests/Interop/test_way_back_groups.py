"""GGUF files to the folders of mlx-lm, GPTQ, AWQ and compressed-tensors in one step.

A safetensors folder in between gives the same tensors. What moves whole rows keeps its codes.
"""

import json
import re
import shutil
from pathlib import Path

import adapters
import architectures
import gguf
import numpy as np
import pytest
import safetensors.torch
import torch
from ggml import Matrix
from test_way_back import BACK_CASES, Made, load

mlx_models = pytest.importorskip("mlx_models")
mlx_lm, mx = mlx_models.mlx_lm, mlx_models.mx
pytestmark = pytest.mark.llama
GROUPED = ["gptq", "awq", "compressed-tensors"]
# Fewer tokens than any sliding window has, because mlx-lm ignores some, with a note.
ROWS = torch.arange(3, 15)[None]
# Everything is in F32, so only the order of sums and the function GELU differ. Measured: at most
# 2.4e-3, for gemma2.
SUMS = 5e-3
# mlx-lm needs another package for olmo, and takes the long factors of longrope, with a note.
OTHERWISE = {"olmo", "olmo-tied", "phi3-longrope", "phi4-mini"}
# llama.cpp stores the transposed matrices for keys, which are decoded to F16.
DECODED = {"deepseek2": 6, "deepseek2-lite": 54, "deepseek3": 6, "glm4-moe-lite": 6}


@pytest.fixture(scope="module", params=BACK_CASES, ids=str)
def made(request, pleat, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param.name)
    source = architectures.make(request.param, folder)
    result = Made(request.param, source, folder / "model.gguf", folder / "back")
    pleat.run("convert", source, "--to", "gguf", "--dtype", "F32", "-o", result.gguf)
    pleat.run("convert", result.gguf, "--to", "safetensors", "-o", result.back)
    yield result
    shutil.rmtree(folder)


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    found = {}
    for path in folder.glob("*.safetensors"):
        found |= safetensors.torch.load_file(path)
    return found


def assert_same(found: Path, expected: Path) -> None:
    own, other = tensors(found), tensors(expected)
    assert sorted(own) == sorted(other)
    for name, tensor in other.items():
        assert own[name].dtype == tensor.dtype and torch.equal(own[name], tensor), name
    assert config_of(found) == config_of(expected)


def config_of(folder: Path) -> dict:
    """The config, with the modules that are not quantized in alphabetical order."""
    config = json.loads((folder / "config.json").read_text())
    groups = config.get("quantization_config", {})
    for key in ("modules_to_not_convert", "ignore"):
        if key in groups:
            groups[key] = sorted(groups[key])
    return config


def expect_same_refusal(pleat, command: list, made: Made, out: Path) -> bool:
    """Whether both ways are refused, for the same reason."""
    results = [
        pleat.attempt(command[0], path, *command[1:], "-o", out / path.name)
        for path in (made.gguf, made.back)
    ]
    if results[1].returncode == 0:
        assert results[0].returncode == 0, results[0].stderr
        return False
    assert results[0].returncode == results[1].returncode
    reasons = [result.stderr.splitlines()[0].rsplit(": ", 1)[-1] for result in results]
    assert reasons[0] == reasons[1]
    return True


@pytest.mark.parametrize(
    "command",
    [
        ["convert", "--to", "mlx"],
        ["quantize", "--to", "mlx", "-b", 4, "-g", 32],
        *(["quantize", "--to", to, "-b", 4, "-g", 32] for to in GROUPED),
    ],
    ids=lambda command: "-".join(map(str, command[:3:2])),
)
def test_one_step_gives_the_tensors_of_two(pleat, made, tmp_path, command):
    if not expect_same_refusal(pleat, command, made, tmp_path):
        assert_same(tmp_path / made.gguf.name, tmp_path / made.back.name)


def mlx_logits(folder: Path) -> np.ndarray:
    model, _ = mlx_lm.utils.load_model(folder)
    model.set_dtype(mx.float32)
    return np.array(model(mx.array(ROWS.numpy().astype(np.int32))).astype(mx.float32))


def transformers_logits(folder: Path) -> np.ndarray:
    with torch.no_grad():
        return load(folder)[0](ROWS).logits.numpy()


def is_run(made: Made, folder: Path) -> bool:
    """Whether mlx-lm has the model type, and computes the same."""
    if made.case.name in OTHERWISE:
        return False
    type = mlx_models.remapped(json.loads((folder / "config.json").read_text())["model_type"])
    return (Path(mlx_lm.__file__).parent / "models" / f"{type}.py").exists()


def test_mlx_computes_what_transformers_does(pleat, made, tmp_path):
    out = tmp_path / "out"
    result = pleat.attempt("convert", made.gguf, "--to", "mlx", "-o", out)
    if result.returncode == 0 and is_run(made, out):
        expected = transformers_logits(made.back)
        assert np.abs(mlx_logits(out) - expected).max() < SUMS
        pleat.run("verify", out, "--against", made.gguf)


def quantized(pleat, made: Made, path: Path) -> dict[str, np.ndarray]:
    """The decoded weights of a new file of Q4_0 and others, by the names of the checkpoint."""
    options = ["-b", 4, "--offset", "none", "-g", 32]
    pleat.run("quantize", made.folder, "--to", "gguf", *options, "-o", path)
    plain = path.with_suffix(".plain")
    pleat.run("convert", path, "--to", "safetensors", "--dtype", "F32", "-o", plain)
    return adapters.decoded(pleat, plain, path.with_suffix(".d"))


def test_mlx_computes_with_the_codes_of_the_file(pleat, made, tmp_path):
    path, out = tmp_path / "model.gguf", tmp_path / "out"
    quantized(pleat, made, path)
    result = pleat.attempt("convert", path, "--to", "mlx", "-o", out)
    if result.returncode != 0:
        # The reason for plain numbers, or that mlx-lm multiplies them.
        assert pleat.attempt(
            "quantize", made.back, "--to", "mlx", "-b", 4, "-g", 32, "-o", tmp_path / "x"
        ).returncode == result.returncode
        return
    decoded = DECODED.get(made.case.name, 0)
    assert ("are decoded" in result.stderr) == (decoded > 0)
    pleat.run("verify", out, "--against", path, *(["--tolerance", 1e-3] if decoded else []))
    if is_run(made, out) and not decoded:
        expected = transformers_logits(path.with_suffix(".plain"))
        assert np.abs(mlx_logits(out) - expected).max() < SUMS


@pytest.mark.parametrize("to", GROUPED)
@pytest.mark.parametrize("name", ["qwen3-moe", "granite-moe", "qwen3-next", "qwen3.5-moe", "lfm2"])
def test_experts_keep_their_codes(pleat, tmp_path, name, to):
    case = next(case for case in BACK_CASES if case.name == name)
    made = Made(case, architectures.make(case, tmp_path), tmp_path, tmp_path)
    path, out = tmp_path / "model.gguf", tmp_path / "out"
    rules = ["--rule", "*embed*=keep", "--rule", "lm_head*=keep"]
    options = ["-b", 4, "--offset", "none", *rules]
    pleat.run("quantize", made.folder, "--to", "gguf", *options, "-o", path)
    pleat.run("convert", path, "--to", to, "-o", out)
    pleat.run("convert", path, "--to", "safetensors", "--dtype", "F32", "-o", tmp_path / "plain")
    found, expected = (
        adapters.decoded(pleat, model, model.with_suffix(".d"))
        for model in (out, tmp_path / "plain")
    )
    assert sorted(found) == sorted(expected)
    for name, values in expected.items():
        # Stacks and transposed matrices become F16.
        np.testing.assert_allclose(found[name], values, rtol=2**-10, atol=1e-6, err_msg=name)
    packed = [name for name in tensors(out) if name.endswith(("qweight", "weight_packed"))]
    kept = {
        "qwen3-moe": "mlp.experts.1.down_proj",
        "granite-moe": "self_attn.q_proj",
        "qwen3-next": "linear_attn.in_proj_qkvz",
        "qwen3.5-moe": "linear_attn.in_proj_qkv",
        "lfm2": "conv.in_proj",
    }[case.name]
    assert any(f".{kept}." in name for name in packed)


@pytest.mark.parametrize("mode", ["nvfp4", "mxfp4"])
@pytest.mark.parametrize("name", ["qwen3-moe", "granite-moe", "qwen3.5-moe"])
def test_stacks_keep_the_codes_of_modes(pleat, tmp_path, name, mode):
    case = next(case for case in BACK_CASES if case.name == name)
    source = architectures.make(case, tmp_path)
    first, path, out = (tmp_path / name for name in ("first.pleat", "model.gguf", "out"))
    pleat.run("quantize", source, "--to", "pleat", "--mode", mode, "-o", first)
    pleat.run("convert", first, "--to", "gguf", "-o", path)
    types = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(path).tensors}
    assert types["blk.0.ffn_up_exps.weight"] == mode.upper()
    pleat.run("convert", path, "--to", "mlx", "-o", out)
    pleat.run("verify", out, "--against", path)
    scales = {name for name in tensors(out) if name.endswith("up_proj.scales")}
    assert len(scales) >= sum("ffn_up_exps.weight" in name for name in types)
    pleat.run("convert", path, "--to", "safetensors", "--dtype", "F32", "-o", tmp_path / "plain")
    expected = transformers_logits(tmp_path / "plain")
    assert np.abs(mlx_logits(out) - expected).max() < SUMS


@pytest.mark.parametrize("to", ["mlx", "gptq"])
def test_importance_follows_the_matrices(pleat, tmp_path, to):
    """Of a stack that is divided, of rows that move, and of joined rows."""
    case = next(case for case in BACK_CASES if case.name == "qwen3-next")
    source = architectures.make(case, tmp_path)
    path, back, matrix = (tmp_path / name for name in ("model.gguf", "back", "matrix.gguf"))
    pleat.run("convert", source, "--to", "gguf", "--dtype", "F32", "-o", path)
    pleat.run("convert", path, "--to", "safetensors", "-o", back)
    generator = np.random.default_rng(17)
    weights = {}
    for tensor in gguf.GGUFReader(path).tensors:
        columns, count = int(tensor.shape[0]), int(tensor.shape[2]) if len(tensor.shape) > 2 else 1
        if len(tensor.shape) > 1 and not re.search("token_embd|conv1d", tensor.name):
            weights[tensor.name] = generator.uniform(0.01, 100, (count, columns))
    Matrix(matrix, weights)
    command = ["--to", to, "-b", 2, "-g", 32, "--importance", matrix]
    found, plain, expected = (tmp_path / name for name in ("found", "unweighted", "expected"))
    pleat.run("quantize", path, *command, "-o", found)
    pleat.run("quantize", path, *command[:-2], "-o", plain)
    pleat.run("quantize", back, *command, "-o", expected)
    own, unweighted, other = tensors(found), tensors(plain), tensors(expected)
    ending = "scales"
    experts = [name for name in other if ".shared" not in name and "_proj." in name]
    for name in (name for name in experts if name.endswith(ending) and "mlp." in name):
        assert torch.equal(own[name], other[name]), name
        assert not torch.equal(own[name], unweighted[name]), name
    joined = f"model.layers.0.linear_attn.in_proj_qkvz.{ending}"
    assert not torch.equal(own[joined], unweighted[joined])
