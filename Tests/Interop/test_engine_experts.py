"""`pleat eval` of models with experts, in each form that programs store them in."""

import json

import architectures
import numpy as np
import peft
import pytest
import safetensors.torch
import torch
import transformers
from architecture_weights import fill
from architectures import CASES
from arranged_architectures import ARRANGED_CASES
from engine_runs import (
    MEANS, assert_adapter_is_that_of_peft, evaluation, losses, write_tokens,
)  # fmt: skip
from expert_architectures import EXPERT_CASES

ROWS = architectures.tokens(48)

# Types with other names beside stacks, each in its own way, and one without.
NAMES = ["minimax-m2", "granite-moe-shared", "ernie4_5-moe", "exaone-moe", "hy3", "glm4-moe"]


def case_of(name: str):
    return next(case for case in [*CASES, *EXPERT_CASES, *ARRANGED_CASES] if case.name == name)


@pytest.mark.parametrize("name", NAMES)
def test_experts_run_as_transformers_stacks_them(pleat, tmp_path, name):
    """The same numbers in the form that transformers holds in memory have the same losses."""
    folder = architectures.make(case_of(name), tmp_path)
    stacked = tmp_path / "stacked"
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    model.save_pretrained(stacked, save_original_format=False)
    names = safetensors.torch.load_file(stacked / "model.safetensors")
    assert any(name.endswith(".experts.gate_up_proj") for name in names)
    first, second = (evaluation(pleat, path, ROWS, tmp_path) for path in (folder, stacked))
    assert first["chunkLosses"] == second["chunkLosses"]


def write_mlx(source, out, bits: int | None, size: int = 32) -> np.ndarray:
    """Writes a folder as mlx_lm does, in groups of a size; its mean losses there, in F32."""
    from mlx.utils import tree_flatten

    from mlx_models import mlx_lm, mx

    model, config = mlx_lm.utils.load_model(source)
    model.set_dtype(mx.float32)
    if bits:
        model, config = mlx_lm.utils.quantize_model(model, config, size, bits)
    out.mkdir()
    mx.save_safetensors(str(out / "model.safetensors"), dict(tree_flatten(model.parameters())))
    (out / "config.json").write_text(json.dumps(config))
    found = model(mx.array(ROWS.astype(np.int32))).astype(mx.float32)
    return losses(np.array(found), ROWS).mean(1)


@pytest.mark.parametrize("name", ["qwen3-moe", "mixtral", "dots1", "granite-moe", "glm4-moe-lite"])
def test_folders_of_mlx_have_the_losses_of_mlx(pleat, tmp_path, name):
    """mlx_lm stacks experts, renames them, and divides matrices of attention."""
    source = architectures.make(case_of(name), tmp_path)
    for bits in (None, 4):
        out = tmp_path / f"mlx-{bits}"
        expected = write_mlx(source, out, bits)
        found = evaluation(pleat, out, ROWS, tmp_path)["chunkLosses"]
        assert np.allclose(found, expected, rtol=MEANS)


def test_two_names_of_a_weight_are_refused(pleat, tmp_path):
    folder = architectures.make(case_of("hy3"), tmp_path)
    path = folder / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    router = "model.layers.1.mlp.router.gate.weight"
    tensors["model.layers.1.mlp.gate.weight"] = tensors[router] + 1
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})
    tokens = write_tokens(ROWS, tmp_path / "tokens.bin")
    result = pleat.attempt("eval", folder, "--tokens", tokens, "--context", 48)
    assert result.returncode == 65 and "two tensors are the same weight" in result.stderr


# DeepSeek 2

LIMITED = dict(topk_method="group_limited_greedy", n_group=2, topk_group=1)


def deepseek(folder, scales: dict, **values):
    """A small model with groups of experts, and YaRN with two scales."""
    config = case_of("deepseek2").config().to_dict() | values
    config["rope_parameters"] = (
        dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=128)
        | scales
    )
    config = transformers.DeepseekV2Config(**config)
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    fill(model, 18)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    "scales", [{"mscale": 1.0, "mscale_all_dim": 0.5}, {}], ids=["two", "none"]
)
def test_deepseek_chooses_in_groups_and_scales_as_transformers(pleat, tmp_path, scales):
    folder = deepseek(tmp_path / "model", scales, **LIMITED)
    expected = losses(architectures.logits(folder, ROWS), ROWS).mean(1)
    assert np.allclose(
        evaluation(pleat, folder, ROWS, tmp_path)["chunkLosses"], expected, rtol=MEANS
    )
    # Without groups other experts are chosen.
    path = folder / "config.json"
    path.write_text(path.read_text().replace("group_limited_greedy", "greedy"))
    greedy = evaluation(pleat, folder, ROWS, tmp_path)["chunkLosses"]
    assert not np.allclose(greedy, expected, rtol=10 * MEANS)


def test_a_way_to_choose_experts_that_is_not_known_is_refused(pleat, tmp_path):
    folder = deepseek(tmp_path / "model", {}, **(LIMITED | dict(topk_method="noaux_tc")))
    tokens = write_tokens(ROWS, tmp_path / "tokens.bin")
    result = pleat.attempt("eval", folder, "--tokens", tokens, "--context", 48)
    assert result.returncode == 69 and "topk_method" in result.stderr


# Adapters of tensors that are arranged


@pytest.mark.parametrize(
    ("name", "modules", "parameters"),
    [
        ("deepseek2", ["kv_b_proj", "q_b_proj"], None),
        ("gpt-oss", ["q_proj"], ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]),
    ],
    ids=["compressed", "inputs-by-outputs"],
)
def test_adapters_of_arranged_tensors_are_those_of_peft(pleat, tmp_path, name, modules, parameters):
    folder = architectures.make(case_of(name), tmp_path)
    config = peft.LoraConfig(
        r=4, lora_alpha=8, target_modules=modules, target_parameters=parameters, lora_dropout=0.0
    )
    assert_adapter_is_that_of_peft(pleat, folder, config, ROWS, tmp_path)
