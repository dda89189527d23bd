"""`pleat eval --adapter`: adapters that are applied without merging them, against PEFT and MLX."""

from dataclasses import replace

import models
import numpy as np
import peft_models
import pytest
import safetensors.torch
import test_adapter_sources
import test_peft
import torch
from engine_runs import evaluation, losses, write_tokens
from peft import PeftModel

# Only the order of sums differs. Measured on means of losses: 4e-8.
EXACT = 1e-5
# Losses of 32 tokens of random models. Measured: 3e-7.
SMALL = 2e-6


@pytest.fixture(scope="module")
def base(pleat, tinylm, tmp_path_factory):
    """tinylm with three bits, as the adapters' base was rounded, and with biases in F32."""
    path = tmp_path_factory.mktemp("base") / "base.pleat"
    options = ("--to", "pleat", "-b", 3, "-g", 32, "--scheme", "minmax")
    pleat.run("quantize", tinylm, *options, "-o", path)
    return path


def test_an_adapter_of_a_float_model_is_that_of_peft(pleat, tinylm, trained, tmp_path):
    rows = models.held_out("B")[:2, :96]
    tuned = PeftModel.from_pretrained(models.load(tinylm, tinylm), trained / "lora_fp16").eval()
    expected = losses(models.logits(tuned, rows), rows).mean(1)
    options = ("--adapter", trained / "lora_fp16")
    report = evaluation(pleat, tinylm, rows, tmp_path, *options)
    assert np.allclose(report["chunkLosses"], expected, rtol=EXACT)
    assert [adapter["name"] for adapter in report["adapters"]] == ["lora_fp16"]
    # Threads and memory change no bit.
    small = evaluation(pleat, tinylm, rows, tmp_path, *options, "-t", 1, "--memory", "1MB")
    assert small["chunkLosses"] == report["chunkLosses"]


def test_base_apart_and_folded_are_compared_in_one_run(pleat, base, trained, tmp_path):
    """The reference was computed by PyTorch, with pooled inputs and QA-LoRA kept apart."""
    adapter, rows = trained / "qalora_int3", models.reference_rows()
    reference = models.reference_logits(adapter / "reference.npz")[None]
    folded = tmp_path / "folded.pleat"
    pleat.run("fold", base, "--adapter", adapter, "--bias-type", "F32", "-o", folded)
    options = ("--against", base, "--adapter", adapter)
    report = evaluation(pleat, folded, rows, tmp_path, *options)
    against = report["against"]
    expected = losses(reference, rows).mean()
    assert against["meanLoss"] == pytest.approx(expected, rel=EXACT)
    assert report["meanLoss"] == pytest.approx(expected, rel=EXACT)
    assert report["adapters"] == [] and len(against["adapters"]) == 1
    assert against["divergence"]["largest"] < 1e-6
    # The base alone, from the weights that it decodes to.
    plain = models.REFERENCE / "reference_rtn_int3.npz"
    alone = losses(models.reference_logits(plain)[None], rows).mean()
    assert against["withoutAdapters"]["meanLoss"] == pytest.approx(alone, rel=EXACT)
    p, q = (
        torch.from_numpy(numbers[:, :-1]).double().log_softmax(-1)
        for numbers in (reference, models.reference_logits(plain)[None])
    )
    divergence = (p.exp() * (p - q)).sum(-1).mean().item()
    found = against["withoutAdapters"]["divergence"]["mean"]
    assert found == pytest.approx(divergence, rel=1e-3)


def test_an_adapter_that_the_model_carries_is_named(pleat, base, trained, tmp_path):
    rows, both = models.held_out("B")[:1, :32], tmp_path / "both.pleat"
    plain = ("--adapter", trained / "qalora_int3")
    pleat.run("attach", base, *plain, "-o", both)
    expected = evaluation(pleat, base, rows, tmp_path, *plain)
    report = evaluation(pleat, both, rows, tmp_path, "--adapter", "qalora_int3")
    assert report["chunkLosses"] == expected["chunkLosses"]
    options = ("--tokens", tmp_path / "tokens.bin", "--context", 32, "--bos", "no")
    note = "the adapters beside the weights are not applied"
    assert note in pleat.attempt("eval", both, *options).stderr
    assert note not in pleat.attempt("eval", both, *options, "--adapter", "qalora_int3").stderr


LINEARS = {"target_modules": test_peft.LINEARS}
NAMES = [
    "dora-F32", "embedding-F32", "modules-to-save", "saved-embedding-and-norm", "lora-bias",
    "bias-all", "experts-apart-mixtral", "two-scaled", "dora-and-plain",
    "plain-and-dora",
]  # fmt: skip
CASES = {name: replace(test_peft.CASES[name], type=torch.float32) for name in NAMES} | {
    "tied-embedding": peft_models.Case(
        "tied", torch.float32, [{"target_modules": ["embed_tokens", "q_proj"]}]
    ),
    "experts": peft_models.Case("normed_moe", torch.float32, [test_peft.STACKS]),
    "tokens": peft_models.Case(
        "tied", torch.float32, [LINEARS | {"trainable_token_indices": [3, 90]}]
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_changes_of_each_kind_are_those_of_peft(pleat, tmp_path, name):
    case = CASES[name]
    made = peft_models.prepare(case, tmp_path)
    rows = np.random.default_rng(7).integers(3, 96, (2, 33))
    model, names = peft_models.unmerged(case, made)
    model.base_model.set_adapter(names)
    expected = losses(models.logits(model.eval(), rows), rows).mean(1)
    options = test_peft.options(case, made)
    report = evaluation(pleat, made.base, rows, tmp_path, *options)
    assert np.allclose(report["chunkLosses"], expected, rtol=SMALL)
    plain = evaluation(pleat, made.base, rows, tmp_path)
    assert not np.allclose(report["chunkLosses"], plain["chunkLosses"], rtol=10 * SMALL)


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_an_adapter_of_mlx_is_its_formula(pleat, tinylm, tmp_path, kind):
    parts = test_adapter_sources.mlx_adapter(tmp_path / "adapter", kind)
    model, rows = models.load(tinylm, tinylm), models.held_out("B")[:1, :48]
    weights = model.state_dict()
    for name, (a, b, m) in parts.items():
        weight = weights[name].double().numpy() + test_adapter_sources.SCALE * (a @ b).T
        if kind == "dora":
            weight *= (m / np.linalg.norm(weight, axis=1))[:, None]
        weights[name].copy_(torch.from_numpy(weight))
    expected = losses(models.logits(model, rows), rows).mean(1)
    report = evaluation(pleat, tinylm, rows, tmp_path, "--adapter", tmp_path / "adapter")
    assert np.allclose(report["chunkLosses"], expected, rtol=EXACT)


def test_a_gguf_model_and_a_gguf_adapter_are_the_same(
    pleat, tinylm, tinylm_f16_gguf, trained, tmp_path
):
    """Queries and keys have another order of rows there."""
    rows, adapter = models.held_out("B")[:1, :48], tmp_path / "lora.gguf"
    plain = ("--adapter", trained / "lora_fp16")
    pleat.run("attach", tinylm, *plain, "--to", "gguf", "-o", adapter)
    expected = evaluation(pleat, tinylm, rows, tmp_path, *plain)["chunkLosses"]
    for model, options in [
        (tinylm_f16_gguf, plain),
        (tinylm_f16_gguf, ("--adapter", adapter)),
        (tinylm, ("--adapter", adapter)),
    ]:
        report = evaluation(pleat, model, rows, tmp_path, *options)
        assert np.allclose(report["chunkLosses"], expected, rtol=EXACT)


def test_what_cannot_be_applied_is_refused_by_name(pleat, base, tinylm, trained, tmp_path):
    tokens = write_tokens(models.held_out("B")[:1, :32], tmp_path / "tokens.bin")

    def refusal(model, *options) -> str:
        text = ("--tokens", tokens, "--context", 16)
        result = pleat.attempt("eval", model, *text, *options)
        assert result.returncode in (64, 65, 69) and not result.stdout
        return result.stderr

    grown = tmp_path / "grown"
    grown.mkdir()
    config = (trained / "lora_fp16" / "adapter_config.json").read_text()
    (grown / "adapter_config.json").write_text(config)
    table = {f"base_model.model.{name}.weight": torch.ones(4100, 256) for name in
             ("model.embed_tokens", "lm_head")}  # fmt: skip
    safetensors.torch.save_file(table, grown / "adapter_model.safetensors")
    found = refusal(tinylm, "--adapter", grown)
    assert "lm_head" in found and "pleat fold" in found
    other = tmp_path / "other"
    other.mkdir()
    (other / "adapter_config.json").write_text(config)
    pair = {f"base_model.model.model.layers.9.mlp.up_proj.lora_{letter}.weight": matrix for
            letter, matrix in [("A", torch.ones(2, 256)), ("B", torch.ones(768, 2))]}  # fmt: skip
    safetensors.torch.save_file(pair, other / "adapter_model.safetensors")
    assert "model.layers.9.mlp.up_proj" in refusal(tinylm, "--adapter", other)
    assert "--adapter" in refusal(tinylm, "--scale", "2")
    assert "--pooling" in refusal(tinylm, "--adapter", trained / "lora_fp16", "--pooling", "sum")
