"""Models with states or convolutions instead of attention: in MLX, and with adapters."""

import architectures
import numpy as np
import peft
import pytest
import torch
from llama_runs import logits
from mlx_models import mlx_lm, mx
from recurrent_architectures import MLX_CASES, MORE_RECURRENT_CASES, RECURRENT_CASES
from test_architectures import EXACT
from test_llama import rms

CASES = [*RECURRENT_CASES, *MORE_RECURRENT_CASES, *MLX_CASES]
ROWS = architectures.tokens(64)
# Only the order of sums differs. Measured on logits of up to 22: at most 7e-5.
SUMS = 5e-4
# mlx-lm norms the states of all groups together.
REFUSED = {
    "falcon-h1": "mamba_n_groups",
    "granite-h-moe": "mamba_n_groups",
    "mamba2": "n_groups",
}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_mlx_computes_what_transformers_does(pleat, case, tmp_path):
    folder = architectures.make(case, tmp_path)
    out = tmp_path / "mlx"
    command = ["convert", folder, "--to", "mlx", "--dtype", "F32", "-o", out]
    if case.name in REFUSED:
        result = pleat.attempt(*command)
        assert result.returncode != 0
        assert REFUSED[case.name] in result.stderr
        return
    pleat.run(*command)
    model, _ = mlx_lm.utils.load_model(out)
    expected = architectures.logits(folder, ROWS)
    assert rms(expected) > 2
    found = np.array(model(mx.array(ROWS)).astype(mx.float32))
    assert np.abs(found - expected).max() < SUMS


def adapted(folder, adapter, modules: list[str]) -> np.ndarray:
    """Saves a random adapter for a model, and returns the logits of both."""
    torch.manual_seed(1)
    config = peft.LoraConfig(r=4, target_modules=modules, task_type="CAUSAL_LM")
    model = peft.get_peft_model(architectures.load(folder), config)
    for name, numbers in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(numbers, std=0.1)
    model.save_pretrained(adapter)
    with torch.no_grad():
        expected = model(input_ids=torch.from_numpy(ROWS)).logits.numpy()
    assert np.abs(architectures.logits(folder, ROWS) - expected).max() > 0.5
    return expected


@pytest.mark.llama
def test_an_adapter_is_folded_where_few_layers_have_attention(pleat, tmp_path):
    case = next(case for case in CASES if case.name == "nemotron-h")
    folder = architectures.make(case, tmp_path)
    adapter, base, result = (tmp_path / name for name in ("adapter", "base.gguf", "result.gguf"))
    expected = adapted(folder, adapter, ["q_proj", "k_proj", "o_proj", "up_proj"])
    pleat.run("convert", folder, "--to", "gguf", "--dtype", "F32", "-o", base)
    pleat.run("fold", base, "--adapter", adapter, "-o", result)
    assert np.abs(logits(result, ROWS) - expected).max() < EXACT


@pytest.mark.llama
def test_an_adapter_is_folded_before_its_weights_are_multiplied(pleat, tmp_path):
    case = next(case for case in CASES if case.name == "falcon-h1")
    folder = architectures.make(case, tmp_path)
    adapter = tmp_path / "adapter"
    expected = adapted(folder, adapter, ["k_proj", "in_proj"])
    base, folded, result = (tmp_path / name for name in ("base.gguf", "folded", "result.gguf"))
    pleat.run("convert", folder, "--to", "gguf", "--dtype", "F32", "-o", base)
    for source in (base, folder):
        attempt = pleat.attempt("fold", source, "--adapter", adapter, "--to", "gguf", "-o", result)
        assert attempt.returncode != 0
        assert "in another form than the adapter expects" in attempt.stderr
    plain = tmp_path / "plain"
    pleat.run("convert", folder, "--to", "safetensors", "--dtype", "F32", "-o", plain)
    pleat.run("fold", plain, "--adapter", adapter, "-o", folded)
    pleat.run("convert", folded, "--to", "gguf", "-o", result)
    assert np.abs(logits(result, ROWS) - expected).max() < EXACT


@pytest.mark.parametrize("format", ["gguf", "mlx"])
def test_a_norm_that_the_config_denies_is_refused(pleat, format, tmp_path):
    case = next(case for case in CASES if case.name == "falcon-h1-norm-mlx")
    folder = architectures.make(case, tmp_path)
    architectures.edited(mamba_rms_norm=False)(folder)
    result = pleat.attempt("convert", folder, "--to", format, "-o", tmp_path / "out")
    assert result.returncode == 65
    assert "mamba.norm.weight: config.json says that the model has no such tensor" in result.stderr
