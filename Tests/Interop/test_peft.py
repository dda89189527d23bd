"""Adapters created by PEFT and folded by pleat, against merging in PEFT."""

from dataclasses import replace

import adapters
import numpy as np
import peft_models
import pytest
import safetensors.torch
import torch
from peft import PeftModel
from peft_models import Case

F16, BF16, F32 = torch.float16, torch.bfloat16, torch.float32
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
EXPERTS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
PLAIN = {"target_modules": LINEARS}
ATTENTION = {"target_modules": ["q_proj", "k_proj", "v_proj"]}
STACKS = ATTENTION | {"target_parameters": EXPERTS}
PATTERNS = {
    "target_modules": LINEARS,
    "rank_pattern": {"down_proj": 4, r"model.layers.1.self_attn.*": 2, "v_proj": 16},
    "alpha_pattern": {
        "o_proj": 5,
        r"^model.layers.0.mlp.up_proj": 24,
        r"layers\.[01]\.self_attn\.(q|k)_proj": 7,
        "layers.1.mlp.*": 3,
    },
}
GPT2 = {"target_modules": ["c_attn", "c_proj", "c_fc"], "fan_in_fan_out": True}

CASES = {
    "plain-F16": Case("llama", F16, [PLAIN]),
    "plain-BF16": Case("llama", BF16, [PLAIN]),
    "plain-F32": Case("llama", F32, [PLAIN]),
    "adapter-in-BF16": Case("llama", BF16, [PLAIN], adapter_type=BF16),
    "adapter-in-F16": Case("llama", F16, [PLAIN], adapter_type=F16),
    "rslora": Case("llama", F16, [PLAIN | {"use_rslora": True}]),
    "patterns": Case("llama", F16, [PATTERNS]),
    "patterns-rslora": Case("llama", F32, [PATTERNS | {"use_rslora": True}]),
    "all-linear": Case("llama", BF16, [{"target_modules": "all-linear"}]),
    "some-layers": Case("llama", F16, [PLAIN | {"layers_to_transform": [1]}]),
    "dora-F16": Case("llama", F16, [PLAIN | {"use_dora": True}]),
    "dora-BF16": Case("llama", BF16, [PLAIN | {"use_dora": True}]),
    "dora-F32": Case("llama", F32, [PLAIN | {"use_dora": True}]),
    "embedding": Case("llama", F16, [{"target_modules": ["embed_tokens", "q_proj"]}]),
    "embedding-F32": Case("llama", F32, [{"target_modules": ["embed_tokens", "lm_head"]}]),
    "modules-to-save": Case("llama", F16, [PLAIN | {"modules_to_save": ["lm_head"]}]),
    "saved-embedding-and-norm": Case(
        "llama", BF16, [PLAIN | {"modules_to_save": ["embed_tokens", "input_layernorm"]}]
    ),
    "lora-bias": Case("qwen2", F16, [ATTENTION | {"lora_bias": True}]),
    "bias-all": Case("qwen2", F16, [PLAIN | {"bias": "all"}]),
    "bias-lora-only": Case("qwen2", BF16, [PLAIN | {"bias": "lora_only"}]),
    "conv1d-F16": Case("gpt2", F16, [GPT2]),
    "conv1d-F32": Case("gpt2", F32, [GPT2]),
    "conv1d-bias-all": Case("gpt2", F32, [GPT2 | {"bias": "all"}]),
    "experts-out-in": Case("qwen3_moe", F32, [STACKS]),
    "experts-F16": Case("qwen3_moe", F16, [{"target_modules": [], "target_parameters": EXPERTS}]),
    "experts-in-out": Case("gpt_oss", F32, [STACKS]),
    "experts-one": Case("qwen3_moe", F32, [ATTENTION | {"target_parameters": EXPERTS[1:]}]),
    "experts-alphas": Case("qwen3_moe", F32, [STACKS | {"alpha_pattern": {EXPERTS[1]: 4}}]),
    "experts-ranks": Case("qwen3_moe", F32, [STACKS | {"rank_pattern": {EXPERTS[0]: 4}}]),
    "experts-apart": Case("qwen3_moe", F32, [STACKS], fused_experts=False),
    "experts-apart-mixtral": Case("mixtral", F32, [STACKS], fused_experts=False),
    "scaled": Case("llama", F16, [PLAIN], scales=[0.5]),
    "two": Case("llama", F16, [PLAIN, ATTENTION | {"r": 4}], [1, 1], merge_type=F32),
    "dora-and-plain": Case("llama", F32, [PLAIN | {"use_dora": True}, PLAIN | {"r": 4}]),
    "plain-and-dora": Case("llama", F32, [PLAIN | {"r": 4}, PLAIN | {"use_dora": True}]),
    "two-scaled": Case(
        "llama", BF16, [PLAIN, PATTERNS], scales=[0.25, -1.5], merge_type=F32
    ),
}  # fmt: skip

# PEFT and pleat sum r products in float32 in different orders. Sometimes this rounds to the other
# side of a tie, for at most 1.5e-4 of the weights so far.
FEW = 1e-3
# For these, PEFT rounds ΔW to the stored type before the addition; pleat does not.
ROUNDED_TWICE = {"embedding", "experts-F16"}

# Adapters that PEFT merges and pleat refuses.
DORA = {"use_dora": True}
REFUSED = {
    "dora-embedding": Case("llama", F32, [{"target_modules": ["embed_tokens", "v_proj"]} | DORA]),
    "dora-conv1d": Case("gpt2", F32, [GPT2 | DORA]),
    "dora-scaled": Case("llama", F32, [PLAIN | DORA], scales=[0.5]),
}


@pytest.fixture(scope="module", params=CASES)
def made(request, tmp_path_factory):
    case = CASES[request.param]
    return request.param, case, peft_models.make(case, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def folded(pleat, made, tmp_path_factory):
    """The base with all adapters of the case folded in."""
    _, case, files = made
    out = tmp_path_factory.mktemp("folded") / "out"
    pleat.run("fold", files.base, *options(case, files), "-o", out)
    return out


def options(case, files) -> list:
    result = []
    for index, path in enumerate(files.adapters):
        result += ["--adapter", path]
        # The equals sign is needed: a negative number would look like an option.
        result += [f"--scale={case.scales[index]}"] if case.scales else []
    return result


def test_folding_matches_merging_with_peft(made, folded):
    name, case, files = made
    base, expected, found = map(adapters.stored, (files.base, files.merged, folded))
    assert sorted(found) == sorted(expected)
    touched = [name for name in expected if not torch.equal(expected[name], base[name])]
    assert touched
    for tensor in sorted(set(expected) - set(touched)):
        assert adapters.bytes_of(found[tensor]) == adapters.bytes_of(base[tensor]), tensor
    off = np.concatenate(
        [
            adapters.steps(found[tensor], expected[tensor], base[tensor]).ravel()
            for tensor in touched
        ]
    )
    summary = f"{off.size} weights, {np.count_nonzero(off)} differ, at most {off.max()} steps"
    # The row lengths of DoRA are float32 sums too.
    assert off.max() <= (2 if case.type == F32 else 1), summary
    assert np.count_nonzero(off > 1) <= FEW * off.size, summary
    if name not in ROUNDED_TWICE and case.type != F32:
        assert np.count_nonzero(off) <= FEW * off.size, summary


def test_verify_confirms_the_fold(pleat, made, folded):
    _, case, files = made
    pleat.run("verify", folded, "--against", files.base, *options(case, files))


def test_an_embedding_saved_with_the_adapter_replaces_that_of_the_base(pleat, tmp_path):
    """PEFT saves the whole embedding with a LoRA of it, and loads it into the base.

    It is usually a copy, but not if the vocabulary was trained too.
    """
    case, out = CASES["embedding-F32"], tmp_path / "out"
    files = peft_models.make(case, tmp_path)
    path = files.adapters[0] / "adapter_model.safetensors"
    tensors = safetensors.torch.load_file(path)
    tensors["base_model.model.model.embed_tokens.base_layer.weight"] *= 1.5
    safetensors.torch.save_file(tensors, path, {"format": "pt"})
    peft_models.merge(case, files)
    pleat.run("fold", files.base, "--adapter", files.adapters[0], "-o", out)
    base, expected, found = map(adapters.stored, (files.base, files.merged, out))
    for tensor, values in expected.items():
        assert adapters.steps(found[tensor], values, base[tensor]).max() <= 2, tensor


@pytest.mark.parametrize("name", ["plain-F32", "patterns-rslora", "conv1d-F32", "scaled"])
def test_peft_merges_an_exported_adapter_to_the_same_weights(pleat, tmp_path, name):
    case, again = CASES[name], tmp_path / "again"
    files = peft_models.make(case, tmp_path)
    pleat.run("attach", files.base, *options(case, files), "--to", "peft", "-o", again)
    merged = peft_models.Made(files.base, [again], tmp_path / "merged-again")
    peft_models.merge(replace(case, scales=[]), merged)
    base, expected, found = map(adapters.stored, (files.base, files.merged, merged.merged))
    for tensor, values in expected.items():
        off = adapters.steps(found[tensor], values, base[tensor])
        assert off.max() <= 1, tensor


@pytest.mark.parametrize("name", REFUSED)
def test_unsupported_adapters_are_refused_by_name(pleat, tmp_path, name):
    case, out = REFUSED[name], tmp_path / "out"
    files = peft_models.make(case, tmp_path)
    result = pleat.attempt("fold", files.base, *options(case, files), "-o", out)
    assert result.returncode == 69 and "DoRA" in result.stderr, result.stderr
    assert not out.exists()


@pytest.mark.parametrize("target", ["embed_tokens", "lm_head"])
def test_a_fold_of_tied_embeddings_computes_what_peft_does_unmerged(pleat, tmp_path, target):
    """PEFT changes one of them; its merge would change both."""
    case = Case("tied", F32, [{"target_modules": [target, "q_proj"]}])
    files, out = peft_models.make(case, tmp_path), tmp_path / "out"
    pleat.run("fold", files.base, "--adapter", files.adapters[0], "-o", out)
    base = peft_models.load(files.base, F32)
    unmerged = PeftModel.from_pretrained(base, files.adapters[0])
    rows = torch.arange(48).reshape(2, 24)
    with torch.no_grad():
        before = peft_models.load(files.base, F32)(rows).logits
        expected, found = unmerged(rows).logits, peft_models.load(out, F32)(rows).logits
    assert (expected - before).abs().max() > 100 * (found - expected).abs().max()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
