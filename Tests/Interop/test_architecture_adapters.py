"""Adapters with the names of Hugging Face, folded into files that were converted to GGUF."""

from functools import cache
from pathlib import Path

import architectures
import numpy as np
import peft
import pytest
import torch
from arranged_architectures import ARRANGED_CASES
from expert_architectures import EXPERT_CASES
from llama_runs import logits
from other_architectures import OTHER_CASES
from recurrent_architectures import RECURRENT_CASES
from test_architectures import tolerance

pytestmark = pytest.mark.llama
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
GATED = [*ATTENTION, "gate_proj", "up_proj", "down_proj"]
TARGETS = {
    "qwen3-moe": ATTENTION,
    "glm4-moe": ATTENTION,
    "minimax-m2": ATTENTION,
    "granite-moe": ATTENTION,
    "solar-open": ATTENTION,
    "afmoe": ATTENTION,
    "olmo2": GATED,
    "olmo": GATED,
    "ministral3": GATED,
    "glm": [*ATTENTION, "gate_up_proj", "down_proj"],
    "granite-hybrid": ATTENTION,
    "apertus": [*ATTENTION, "up_proj", "down_proj"],
    "granite": GATED,
    "cohere2": GATED,
    "phi2": ["q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2"],
    # What these have besides, llama.cpp arranges.
    "gpt-oss": ATTENTION,
    "deepseek2": ["q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "o_proj", "down_proj"],
    "qwen3-vl-moe": ATTENTION,
    "llama4": GATED,
    "qwen3.5": GATED,
    "qwen3-next": [*ATTENTION, "in_proj_ba", "out_proj"],
    "gemma4": GATED,
    "gemma3n": ATTENTION,
    "lfm2": ["in_proj", "out_proj", "q_proj", "k_proj", "v_proj", "w1", "w2", "w3"],
    "granite-h": [*ATTENTION, "in_proj", "out_proj"],
}
ALL_CASES = [*OTHER_CASES, *EXPERT_CASES, *ARRANGED_CASES, *RECURRENT_CASES]
CASES = [case for case in ALL_CASES if case.name in TARGETS]


def test_all_cases_exist():
    assert len(CASES) == len(TARGETS)


def adapter(folder: Path, targets: list[str], to: Path) -> peft.PeftModel:
    """Writes an adapter with random factors, and returns it on the model."""
    torch.manual_seed(1)
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=targets, task_type="CAUSAL_LM")
    model = peft.get_peft_model(architectures.load(folder), config)
    for name, numbers in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(numbers, std=0.1)
    model.save_pretrained(to)
    return model


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_folded_file_computes_what_the_adapter_does(pleat, case, tmp_path):
    folder = architectures.make(case, tmp_path)
    rows = architectures.tokens(48)
    base = architectures.logits(folder, rows)
    model = adapter(folder, TARGETS[case.name], tmp_path / "adapter")
    with torch.no_grad():
        expected = model(input_ids=torch.from_numpy(rows)).logits.numpy()
    converted, folded = tmp_path / "base.gguf", tmp_path / "folded.gguf"
    pleat.run("convert", folder, "--to", "gguf", "--dtype", "F32", "-o", converted)
    pleat.run("fold", converted, "--adapter", tmp_path / "adapter", "-o", folded)
    assert np.abs(base - expected).max() > 10 * tolerance(case)
    assert np.abs(logits(folded, rows) - expected).max() < tolerance(case)


# The tensor, and its name in the file if it has one there.
REFUSED = {
    ("qwen3.5", "in_proj_qkv"): "blk.0.attn_qkv.weight",
    ("qwen3.5", "in_proj_z"): "blk.0.attn_gate.weight",
    ("qwen3.5", "in_proj_a"): "blk.0.ssm_alpha.weight",
    ("qwen3.5", "in_proj_b"): "blk.0.ssm_beta.weight",
    ("qwen3.5", "out_proj"): "blk.0.ssm_out.weight",
    ("qwen3-next", "in_proj_qkvz"): "model.layers.0.linear_attn.in_proj_qkvz.weight",
    ("deepseek2", "kv_b_proj"): "model.layers.0.self_attn.kv_b_proj.weight",
}


@pytest.fixture(scope="module")
def made(pleat, tmp_path_factory):
    """The folder of a case and its GGUF file, made once for each case."""

    @cache
    def make(name: str) -> tuple[Path, Path]:
        case = next(case for case in ARRANGED_CASES if case.name == name)
        folder = architectures.make(case, tmp_path_factory.mktemp(name))
        pleat.run("convert", folder, "--to", "gguf", "-o", folder.with_suffix(".gguf"))
        return folder, folder.with_suffix(".gguf")

    return make


@pytest.mark.parametrize(("name", "layer"), REFUSED)
def test_what_llama_arranges_is_folded_before_it_is_converted(
    pleat, made, name, layer, tmp_path
):
    folder, path = made(name)
    adapter(folder, [layer], tmp_path / "adapter")
    for base, options in ((path, []), (folder, ["--to", "gguf"])):
        out = tmp_path / "folded.gguf"
        result = pleat.attempt("fold", base, "--adapter", tmp_path / "adapter", *options, "-o", out)
        assert result.returncode == 69
        tensor = REFUSED[name, layer] if base == path else f".{layer}.weight"
        assert tensor in result.stderr
        assert "hint: fold into the Hugging Face model, then convert" in result.stderr
        assert not out.exists()
    # The way that the hint names.
    pleat.run("fold", folder, "--adapter", tmp_path / "adapter", "-o", tmp_path / "folded")
    pleat.run("convert", tmp_path / "folded", "--to", "gguf", "-o", tmp_path / "folded.gguf")
