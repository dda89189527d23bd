"""Models with states in place of attention: what `pleat eval`, `run` and `calibrate` compute."""

import json

import architectures
import gguf
import numpy as np
import peft
import pytest
import torch
import transformers
from arranged_architectures import ARRANGED_CASES
from engine_runs import (
    MEANS, assert_adapter_is_that_of_peft, evaluation, losses, write_tokens,
)  # fmt: skip
from recurrent_architectures import MORE_RECURRENT_CASES, RECURRENT_CASES

CASES = {
    case.name: case for case in [*ARRANGED_CASES, *RECURRENT_CASES, *MORE_RECURRENT_CASES]
}
NAMES = ["qwen3.5", "qwen3.5-prediction", "qwen3.5-moe", "qwen3-next"]
NAMES += ["mamba2", "granite-h", "granite-h-moe", "falcon-h1", "falcon-h1-plain"]
NAMES += ["nemotron-h", "nemotron-h-moe"]
# Sums of squares of inputs that layers of transformers compute. Measured: 2e-6.
SQUARES = 2e-5


@pytest.fixture(scope="module", params=NAMES)
def made(request, pleat, tmp_path_factory):
    """The folder of a model and its GGUF file in F32."""
    folder = architectures.make(CASES[request.param], tmp_path_factory.mktemp("model"))
    file = folder.with_suffix(".gguf")
    pleat.run("convert", folder, "--to", "gguf", "--dtype", "F32", "-o", file)
    return folder, file


# transformers computes chunks of 64 tokens at once.
@pytest.mark.parametrize("count", [2, 3, 4, 63, 64, 65, 150])
def test_losses_of_texts_of_each_length_are_the_same(pleat, made, count, tmp_path):
    rows = architectures.tokens(count)
    expected = losses(architectures.logits(made[0], rows), rows).mean(1)
    for model in made:
        report = evaluation(pleat, model, rows, tmp_path)
        assert np.allclose(report["chunkLosses"], expected, rtol=MEANS)


def test_threads_and_memory_change_no_bit(pleat, made, tmp_path):
    rows = np.concatenate([architectures.tokens(40)] * 3)
    rows[1:, 5] += 1
    expected = evaluation(pleat, made[0], rows, tmp_path)["chunkLosses"]
    for options in [("-t", 1), ("-t", 8), ("--memory", "1KB")]:
        assert evaluation(pleat, made[0], rows, tmp_path, *options)["chunkLosses"] == expected


def test_a_text_is_continued_as_in_transformers(pleat, made):
    folder, file = made
    model = architectures.load(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    end = tokenizer.eos_token_id
    for prompt in ("a", "def first(items):\n    return items[0]\n" * 4):
        ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt").input_ids
        expected = model.generate(ids, max_new_tokens=70, do_sample=False, eos_token_id=end)
        expected = [token for token in expected[0, ids.shape[1] :].tolist() if token != end]
        options = ("--raw", "--bos", "no", "--max-tokens", 70, "--json")
        for path in (folder, file):
            found = json.loads(pleat.run("run", path, prompt, *options))["tokens"]
            assert found == expected and len(found) > 2


LINEARS = {
    "qwen3.5": ["in_proj_qkv", "in_proj_z", "in_proj_a", "in_proj_b", "out_proj", "q_proj"],
    "qwen3-next": ["in_proj_qkvz", "in_proj_ba", "out_proj", "q_proj"],
    "granite-h": ["in_proj", "out_proj", "q_proj"],
    # PEFT refuses out_proj of these.
    "mamba2": ["in_proj"],
    "nemotron-h": ["in_proj", "v_proj", "up_proj"],
    "falcon-h1": ["in_proj", "q_proj", "k_proj", "o_proj", "gate_proj", "down_proj"],
}


@pytest.mark.parametrize("name", LINEARS)
def test_adapters_beside_the_model_are_those_of_peft(pleat, name, tmp_path):
    folder, rows = architectures.make(CASES[name], tmp_path), architectures.tokens(48)
    config = peft.LoraConfig(r=4, target_modules=LINEARS[name], task_type="CAUSAL_LM")
    assert_adapter_is_that_of_peft(pleat, folder, config, rows, tmp_path)


def test_layer_errors_are_those_of_hidden_states(pleat, made, tmp_path):
    folder, rows = made[0], architectures.tokens(48)
    rounded, plain = tmp_path / "rounded.gguf", tmp_path / "plain"
    pleat.run("quantize", folder, "--type", "Q8_0", "-o", rounded)
    pleat.run("convert", rounded, "--to", "safetensors", "--dtype", "F32", "-o", plain)
    states = []
    for path in (folder, plain):
        with torch.no_grad():
            found = architectures.load(path)(torch.from_numpy(rows), output_hidden_states=True)
        # The outputs of mamba2 begin after the first layer, others before it.
        first = 0 if folder.name == "mamba2" else 1
        states.append(found.hidden_states[first : first + len(found.hidden_states) - 2])
    expected = [((b - a).norm() / a.norm()).item() for a, b in zip(*states, strict=True)]
    report = evaluation(pleat, rounded, rows, tmp_path, "--against", folder, "--layers")
    # transformers has the last layer's output only after the last norm.
    assert np.allclose(report["against"]["layerErrors"][:-1], expected, rtol=1e-3)


def squares(model, modules: dict[str, str], rows: np.ndarray) -> dict[str, np.ndarray]:
    """The sums of squares of the inputs of some modules of the first layer."""
    sums = {}

    def observe(name):
        def hook(module, inputs):
            numbers = inputs[0].double().reshape(-1, inputs[0].shape[-1])
            sums[name] = (numbers**2).sum(0).numpy()

        return hook

    layer = model.base_model.layers[0]
    mixer = next(
        getattr(layer, name) for name in ("linear_attn", "mamba", "mixer") if hasattr(layer, name)
    )
    for name, module in modules.items():
        mixer.get_submodule(module).register_forward_pre_hook(observe(name))
    with torch.no_grad():
        model(torch.from_numpy(rows))
    return sums


def test_an_importance_matrix_has_the_squares_of_their_inputs(pleat, made, tmp_path):
    """The names are those of llama-imatrix; its columns have llama.cpp's order of heads."""
    folder, rows = made[0], architectures.tokens(64)
    config = json.loads((folder / "config.json").read_text())
    if config["model_type"] == "qwen3_next":
        modules = {"attn_qkv": "in_proj_qkvz", "attn_gate": "in_proj_qkvz", "ssm_ba": "in_proj_ba"}
    elif config["model_type"].startswith("qwen3_5"):
        modules = {"attn_qkv": "in_proj_qkv", "attn_gate": "in_proj_z"}
        modules |= {"ssm_alpha": "in_proj_a", "ssm_beta": "in_proj_b"}
    else:
        modules = {"ssm_in": "in_proj"}
    expected = squares(architectures.load(folder), modules | {"ssm_out": "out_proj"}, rows)
    out = tmp_path / "importance.gguf"
    tokens = write_tokens(rows, tmp_path / "tokens.bin")
    pleat.run("calibrate", folder, "--tokens", tokens, "--context", 64, "--bos", "no", "-o", out)
    found = {tensor.name: tensor.data for tensor in gguf.GGUFReader(out).tensors}
    layer = {name.split(".")[2] for name in found if name.startswith("blk.0.")}
    states = ("attn_qkv", "attn_gate", "ssm")
    assert {name for name in layer if name.startswith(states)} == expected.keys()
    for name, numbers in expected.items():
        if name == "ssm_out" and "ssm_alpha" in modules:
            keys, size = config["linear_num_key_heads"], config["linear_value_head_dim"]
            numbers = numbers.reshape(keys, -1, size).transpose(1, 0, 2).flatten()
        if name == "ssm_in":
            # The weights have this factor in llama.cpp.
            numbers = numbers / config.get("ssm_in_multiplier", 1) ** 2
        values = found[f"blk.0.{name}.weight.in_sum2"].flatten()
        assert np.allclose(values, numbers, rtol=SQUARES, atol=1e-6 * numbers.max()), name
