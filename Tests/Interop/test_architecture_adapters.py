"""Adapters with the names of Hugging Face, folded into files that were converted to GGUF."""

import architectures
import numpy as np
import peft
import pytest
import torch
from expert_architectures import EXPERT_CASES
from llama_runs import logits
from other_architectures import OTHER_CASES
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
}
CASES = [case for case in [*OTHER_CASES, *EXPERT_CASES] if case.name in TARGETS]


def test_all_cases_exist():
    assert len(CASES) == len(TARGETS)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_folded_file_computes_what_the_adapter_does(pleat, case, tmp_path):
    folder = architectures.make(case, tmp_path)
    rows = architectures.tokens(48)
    base = architectures.logits(folder, rows)
    torch.manual_seed(1)
    config = peft.LoraConfig(
        r=4, lora_alpha=8, target_modules=TARGETS[case.name], task_type="CAUSAL_LM"
    )
    model = peft.get_peft_model(architectures.load(folder), config)
    for name, numbers in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(numbers, std=0.1)
    model.save_pretrained(tmp_path / "adapter")
    with torch.no_grad():
        expected = model(input_ids=torch.from_numpy(rows)).logits.numpy()
    converted, folded = tmp_path / "base.gguf", tmp_path / "folded.gguf"
    pleat.run("convert", folder, "--to", "gguf", "--dtype", "F32", "-o", converted)
    pleat.run("fold", converted, "--adapter", tmp_path / "adapter", "-o", folded)
    assert np.abs(base - expected).max() > 1
    assert np.abs(logits(folded, rows) - expected).max() < tolerance(case)
