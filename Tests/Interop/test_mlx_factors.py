"""Weights of Falcon H1 in MLX, multiplied by the factors of the config as mlx_lm.convert does."""

import json
import shutil
from pathlib import Path

import architectures
import numpy as np
import peft
import pytest
import torch
from architectures import Case, config_of
from engine_runs import MEANS, evaluation, losses
from mlx_models import arrays, float32, mlx_lm, mx
from recurrent_architectures import FALCON, PLAIN_ATTENTION

ROWS = architectures.tokens(64)
# Logits have a root mean square of 3.9. Only the order of sums differs. Measured: 7e-5.
SUMS = 5e-4
GROUPS = ["-b", 4, "-g", 32]
# mlx_lm.convert needs a config with a base of the angles at the top.
ROPE = {"theta": 10000.0}
# Otherwise mlx_lm.convert does not multiply all weights that transformers does.
VALUES = FALCON | PLAIN_ATTENTION | dict(mamba_n_groups=1)
CASES = [
    Case(
        "own-head",
        config_of("FalconH1Config", mamba_rms_norm=True, **VALUES),
        "qwen2",
        rope=ROPE,
    ),
    Case(
        "tied",
        config_of("FalconH1Config", mamba_rms_norm=False, tie_word_embeddings=True, **VALUES),
        "qwen2",
        rope=ROPE,
    ),
    Case(
        "halves",
        config_of("FalconH1Config", mamba_rms_norm=False, **VALUES),
        "qwen2",
        dtype="F16",
        rope=ROPE,
    ),
]


class Made:
    """A model, and the folders that mlx_lm.convert makes of it."""

    def __init__(self, case: Case, folder: Path):
        self.case = case
        self.folder = architectures.make(case, folder)
        self.plain, self.quantized = folder / "mlx-plain", folder / "mlx-quantized"
        mlx_lm.convert(str(self.folder), str(self.plain))
        groups = dict(quantize=True, q_bits=4, q_group_size=32)
        mlx_lm.convert(str(self.folder), str(self.quantized), **groups)


@pytest.fixture(scope="module", params=CASES, ids=str)
def made(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param.name)
    yield Made(request.param, folder)
    shutil.rmtree(folder)


def logits(folder: Path) -> np.ndarray:
    model, _ = mlx_lm.utils.load_model(folder)
    model.set_dtype(mx.float32)
    return np.array(model(mx.array(ROWS)))


def assert_same(found: Path, expected: Path) -> None:
    own, other = arrays(found), arrays(expected)
    assert sorted(own) == sorted(other)
    for name, array in other.items():
        assert own[name].dtype == array.dtype and own[name].shape == array.shape, name
        assert mx.array_equal(own[name], array), name
    assert np.array_equal(logits(found), logits(expected))


def test_plain_numbers_are_those_of_mlx(pleat, made, tmp_path):
    out = tmp_path / "out"
    pleat.run("convert", made.folder, "--to", "mlx", "-o", out)
    assert_same(out, made.plain)
    pleat.run("verify", out, "--against", made.folder, "--tolerance", 0)


def test_codes_are_those_of_mlx(pleat, made, tmp_path):
    out = tmp_path / "out"
    options = ["--scheme", "mlx", "--parameters", made.case.dtype, *GROUPS]
    pleat.run("quantize", made.folder, "--to", "mlx", *options, "-o", out)
    assert_same(out, made.quantized)


def test_folders_of_mlx_are_read(pleat, made, tmp_path):
    """Their configs state factors that the weights have already."""
    expected = logits(made.plain)
    back = tmp_path / "back"
    pleat.run("convert", made.plain, "--to", "safetensors", "--dtype", "F32", "-o", back)
    assert np.abs(architectures.logits(back, ROWS) - expected).max() < SUMS
    again = tmp_path / "again"
    pleat.run("convert", back, "--to", "mlx", "-o", again)
    assert np.abs(logits(again) - expected).max() < SUMS
    copy = tmp_path / "copy"
    pleat.run("quantize", made.plain, "--to", "mlx", *GROUPS, "-o", copy)
    own = tmp_path / "own"
    pleat.run("quantize", back, "--to", "mlx", *GROUPS, "-o", own)
    assert np.abs(logits(copy) - logits(own)).max() < SUMS
    file = tmp_path / "model.gguf"
    command = ("convert", made.plain, "--to", "gguf", "--dtype", "F32", "-o", file)
    if made.case.name == "tied":  # llama.cpp has one factor for embeddings and head
        result = pleat.attempt(*command)
        assert result.returncode == 69 and "tie_word_embeddings" in result.stderr
        return
    pleat.run(*command)
    means = losses(expected, ROWS).mean(1)
    for model in (made.plain, back, file):
        report = evaluation(pleat, model, ROWS, tmp_path)
        assert np.allclose(report["chunkLosses"], means, rtol=MEANS)
    report = evaluation(pleat, made.quantized, ROWS, tmp_path)
    means = losses(logits(made.quantized), ROWS).mean(1)
    assert np.allclose(report["chunkLosses"], means, rtol=MEANS)


def test_an_adapter_for_the_weights_without_factors_is_refused(pleat, made, tmp_path):
    adapter, out = tmp_path / "adapter", tmp_path / "out"
    config = peft.LoraConfig(r=4, target_modules=["o_proj"], task_type="CAUSAL_LM")
    torch.manual_seed(4)
    peft.get_peft_model(architectures.load(made.folder), config).save_pretrained(adapter)
    for command in (
        ["fold", made.folder, "--adapter", adapter, "--to", "mlx"],
        ["quantize", made.folder, "--adapter", adapter, "--to", "mlx", *GROUPS],
        ["quantize", made.folder, "--adapter", adapter, "--to", "gguf"],
        ["fold", made.plain, "--adapter", adapter],
    ):
        result = pleat.attempt(*command, "-o", out)
        assert result.returncode == 69
        assert "in another form than the adapter expects" in result.stderr
    folded = tmp_path / "folded"
    pleat.run("fold", made.folder, "--adapter", adapter, "-o", folded)
    pleat.run("convert", folded, "--to", "mlx", "-o", out)


def test_an_adapter_of_mlx_lm_is_for_multiplied_weights(pleat, made, tmp_path):
    adapter = tmp_path / "adapter"
    path = "model.layers.0.self_attn.o_proj"
    sizes = architectures.load(made.folder).get_submodule(path).weight.shape
    generator = np.random.default_rng(6)
    a, b = (
        mx.array(generator.normal(size=size).astype(np.float32))
        for size in ((sizes[1], 4), (4, sizes[0]))
    )
    adapter.mkdir()
    mx.save_safetensors(
        str(adapter / "adapters.safetensors"), {f"{path}.lora_a": a, f"{path}.lora_b": b}
    )
    parameters = {"rank": 4, "scale": 0.5, "dropout": 0.0}
    config = {"fine_tune_type": "lora", "num_layers": -1, "lora_parameters": parameters}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    out = tmp_path / "out"
    for model in (made.folder, made.plain):
        result = pleat.attempt("fold", model, "--adapter", adapter, "-o", out)
        if model == made.plain:
            assert result.returncode == 0, result.stderr
        else:
            assert result.returncode == 69
            assert "weights multiplied by factors of config.json" in result.stderr
    before, after = (float32(arrays(folder)[f"{path}.weight"]) for folder in (made.plain, out))
    expected = before + 0.5 * float32(a @ b).T
    assert np.abs(after - expected).max() <= np.abs(expected).max() / 256  # half a unit of BF16


def test_a_gguf_file_is_quantized_in_one_step(pleat, made, tmp_path):
    if made.case.name == "tied":
        pytest.skip("llama.cpp has one factor for embeddings and head")
    file, back = tmp_path / "model.gguf", tmp_path / "back"
    pleat.run("convert", made.folder, "--to", "gguf", "--dtype", "F32", "-o", file)
    pleat.run("convert", file, "--to", "safetensors", "-o", back)
    for source in (file, back):
        pleat.run("quantize", source, "--to", "mlx", *GROUPS, "-o", tmp_path / f"q-{source.stem}")
    assert_same(tmp_path / "q-model", tmp_path / "q-back")
    config = json.loads((tmp_path / "q-model" / "config.json").read_text())
    assert config["ssm_multipliers"] == [1] * 5
