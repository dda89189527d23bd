"""`pleat eval`, `run` and `calibrate` of Gemma 3n and 4 beyond one model of each: each part."""

import json

import architectures
import gguf
import numpy as np
import peft
import pytest
import torch
import transformers
from architecture_weights import fill
from architectures import SHAPE, VOCABULARY, Case
from engine_runs import (
    MEANS, assert_adapter_is_that_of_peft, evaluation, losses, write_tokens,
)  # fmt: skip
from gemma_architectures import FULL, LARGE, SLIDING, SMALL, UPDATES
from test_engine_experts import ROWS as MLX_ROWS
from test_engine_experts import write_mlx

# Longer than the windows, of 24 positions.
ROWS = architectures.tokens(64)
WITHOUT_INPUTS = dict(hidden_size_per_layer_input=0)
WITHOUT_SHARING = dict(num_kv_shared_layers=0, use_double_wide_mlp=False)
VARIANTS = {
    "small": SMALL,
    "experts": LARGE,
    "untied": SMALL | dict(tie_word_embeddings=False),
    "without-inputs": SMALL | WITHOUT_INPUTS,
    "without-sharing": SMALL | WITHOUT_SHARING,
    "plain": SMALL | WITHOUT_INPUTS | WITHOUT_SHARING | dict(final_logit_softcapping=None),
    "keys-as-values": SMALL | dict(attention_k_eq_v=True, num_global_key_value_heads=1),
    "full-first": SMALL | dict(layer_types=[FULL, SLIDING, SLIDING, FULL, FULL]),
    "experts-and-inputs": SMALL
    | dict(enable_moe_block=True, num_experts=8, top_k_experts=3, moe_intermediate_size=96),
    "all-rotated": SMALL
    | dict(
        rope_parameters={
            SLIDING: dict(rope_type="default", rope_theta=10000.0),
            FULL: dict(rope_type="proportional", rope_theta=100000.0, partial_rotary_factor=1.0),
        }
    ),
}
STATES = UPDATES | dict(
    num_hidden_layers=4,
    num_kv_shared_layers=0,
    layer_types=[SLIDING, FULL, SLIDING, FULL],
    activation_sparsity_pattern=[0.95, 0.95, 0.0, 0.95],
    vocab_size_per_layer_input=VOCABULARY,
)
VARIANTS |= {
    "states": STATES,
    "states-shared": STATES | dict(num_kv_shared_layers=2),
    "states-dense": STATES | dict(activation_sparsity_pattern=[0.0] * 4),
    # Tokens beyond the table have the inputs of the first one.
    "states-narrow": STATES
    | dict(hidden_size_per_layer_input=32, vocab_size_per_layer_input=200),
    "states-untied": STATES | dict(tie_word_embeddings=False, final_logit_softcapping=20.0),
}
# What llama.cpp does not compute.
CHECKPOINTS_ONLY = {
    "full-first": "num_kv_shared_layers",
    "states": "activation_sparsity_pattern",
    "states-shared": "num_kv_shared_layers",
    "states-dense": "activation_sparsity_pattern",
    "states-narrow": "hidden_size_per_layer_input",
    "states-untied": "final_logit_softcapping",
}


def make(name: str, folder):
    values = SHAPE | dict(vocab_size=VOCABULARY) | VARIANTS[name]
    has_states = name.startswith("states")
    config = transformers.Gemma3nTextConfig if has_states else transformers.Gemma4TextConfig
    tokenizer = "sentencepiece" if has_states else "gemma4"
    return architectures.make(Case(name, lambda: config(**values), tokenizer, "F32"), folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gemma4")
    return {name: make(name, folder) for name in VARIANTS}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_part_has_the_losses_of_transformers(pleat, folders, tmp_path, name):
    folder = folders[name]
    with torch.no_grad():
        # Without hidden states, transformers fails where keys are shared and layers have no inputs.
        found = architectures.load(folder)(torch.from_numpy(ROWS), output_hidden_states=True)
    expected = losses(found.logits.numpy(), ROWS).mean(1)
    found = [evaluation(pleat, folder, ROWS, tmp_path, "-t", count) for count in (1, 2, 8)]
    assert np.allclose(found[0]["chunkLosses"], expected, rtol=MEANS)
    # Chunks that are computed one by one.
    found.append(evaluation(pleat, folder, ROWS, tmp_path, "--memory", "1MB"))
    assert all(report["chunkLosses"] == found[0]["chunkLosses"] for report in found)
    file = tmp_path / "model.gguf"
    if name in CHECKPOINTS_ONLY:
        result = pleat.attempt("convert", folder, "-n", "-o", file)
        assert result.returncode == 69 and CHECKPOINTS_ONLY[name] in result.stderr
        return
    pleat.run("convert", folder, "--dtype", "F32", "-o", file)
    found = evaluation(pleat, file, ROWS, tmp_path)["chunkLosses"]
    assert np.allclose(found, expected, rtol=MEANS)


@pytest.mark.parametrize("name", ["without-inputs", "experts"])
def test_folders_of_mlx_have_the_losses_of_mlx(pleat, folders, tmp_path, name):
    # Newer configs of transformers lack the sizes of heads that mlx_lm reads.
    plain = tmp_path / "plain"
    pleat.run("convert", folders[name], "--to", "mlx", "--dtype", "F32", "-o", plain)
    for bits in (None, 4, 8):
        out = tmp_path / f"mlx-{bits}"
        expected = write_mlx(plain, out, bits, size=64)
        found = evaluation(pleat, out, MLX_ROWS, tmp_path)["chunkLosses"]
        assert np.allclose(found, expected, rtol=MEANS)


CONTINUED = ["small", "experts", "full-first", "experts-and-inputs", "states", "states-shared"]


@pytest.mark.parametrize("name", CONTINUED)
def test_a_text_is_continued_as_in_transformers(pleat, folders, name):
    folder = folders[name]
    prompt = "the model reads this text and continues it " * 3
    options = ("--max-tokens", 40, "--bos", "no", "--raw", "--json")
    report = json.loads(pleat.run("run", folder, prompt, *options))
    found, ids = report["tokens"], torch.tensor([report["promptTokens"]])
    assert ids.shape[1] > 24
    model = architectures.load(folder)
    model.generation_config.eos_token_id = None
    expected = model.generate(ids, max_new_tokens=40, do_sample=False)[0, ids.shape[1] :].tolist()
    # Pleat ends with a token that ends texts.
    assert found == expected[: len(found)]
    assert len(found) == 40 or expected[len(found)] == 1
    for memory in (("-t", 1), ("--memory", "1B")):
        assert json.loads(pleat.run("run", folder, prompt, *options, *memory))["tokens"] == found


def test_layer_errors_are_those_of_hidden_states(pleat, folders, tmp_path):
    folder, states = folders["small"], []
    rounded, plain = tmp_path / "rounded.gguf", tmp_path / "plain"
    pleat.run("quantize", folder, "--type", "Q8_0", "-o", rounded)
    pleat.run("convert", rounded, "--to", "safetensors", "--dtype", "F32", "-o", plain)
    for path in (folder, plain):
        with torch.no_grad():
            found = architectures.load(path).model(
                torch.from_numpy(ROWS), output_hidden_states=True
            )
        states.append(found.hidden_states[1:-1])
    expected = [((b - a).norm() / a.norm()).item() for a, b in zip(*states)]
    report = evaluation(pleat, rounded, ROWS, tmp_path, "--against", folder, "--layers")
    assert np.allclose(report["against"]["layerErrors"][:-1], expected, rtol=1e-3)


ADAPTED = {
    "small": ["q_proj", "k_proj", "per_layer_input_gate", "per_layer_model_projection", "up_proj"],
    "experts": ["q_proj", "o_proj", "down_proj", "router.proj"],
    "states": ["v_proj", "linear_left", "altup_projections.1", "modality_router", "gate_proj"],
}


@pytest.mark.parametrize("name", ADAPTED)
def test_adapters_are_those_of_peft(pleat, folders, tmp_path, name):
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=ADAPTED[name], lora_dropout=0.0)
    assert_adapter_is_that_of_peft(pleat, folders[name], config, ROWS, tmp_path)


# Modules of transformers, and the names of their weights in llama.cpp.
SEEN = {
    "layers.1.per_layer_input_gate": "blk.1.inp_gate",
    "layers.1.per_layer_projection": "blk.1.proj",
    "layers.1.self_attn.v_proj": "blk.1.attn_v",
    "layers.4.self_attn.q_proj": "blk.4.attn_q",
    "layers.3.mlp.down_proj": "blk.3.ffn_down",
    "layers.2.router.proj": "blk.2.ffn_gate_inp",
}


def test_an_importance_matrix_has_the_sums_of_the_inputs(pleat, folders, tmp_path):
    folder, sums = folders["experts-and-inputs"], {}
    model = architectures.load(folder)
    for module, name in SEEN.items():

        def observe(module, inputs, output, name=name):
            sums[name] = inputs[0].double().square().flatten(0, -2).sum(0).numpy()

        model.model.get_submodule(module).register_forward_hook(observe)
    with torch.no_grad():
        model(torch.from_numpy(ROWS))
    out = tmp_path / "importance.gguf"
    tokens = write_tokens(ROWS, tmp_path / "tokens.bin")
    pleat.run("calibrate", folder, "--tokens", tokens, "--context", 64, "--bos", "no", "-o", out)
    found = {tensor.name: tensor.data for tensor in gguf.GGUFReader(out).tensors}
    for name, expected in sums.items():
        assert np.allclose(found[f"{name}.weight.in_sum2"].flatten(), expected, rtol=1e-4), name
    # Layers with the keys of others have none; experts count their own tokens.
    assert not any(name.startswith(("blk.3.attn_k", "blk.4.attn_k")) for name in found)
    counts = found["blk.2.ffn_gate_up_exps.weight.counts"]
    assert counts.sum() == 3 * ROWS.size
    pleat.run(
        *("quantize", folder, "--type", "Q4_0", "--importance", out, "-o", tmp_path / "out.gguf")
    )


def test_weights_that_contradict_the_config_are_refused(pleat, folders, tmp_path):
    folder = make("experts", tmp_path)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    tokens = write_tokens(ROWS, tmp_path / "tokens.bin")

    def refusal(**values):
        path.write_text(json.dumps(config | values))
        return pleat.attempt("eval", folder, "--tokens", tokens, "--context", 64)

    result = refusal(num_kv_shared_layers=1)
    assert result.returncode == 69 and "num_kv_shared_layers" in result.stderr
    for values in (dict(global_head_dim=32), dict(num_global_key_value_heads=3)):
        result = refusal(**values, per_layer_config=None)
        assert result.returncode == 65 and "global" in result.stderr, result.stderr
