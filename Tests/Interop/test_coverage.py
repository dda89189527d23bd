"""formats/gguf.md promises directions for model types: each has a model that judges it."""

import re
from pathlib import Path

import pytest
from encoder_models import ENCODERS
from gemma_architectures import GEMMA_CASES
from more_architectures import MORE_CASES
from test_way_back import BACK_CASES

pytestmark = pytest.mark.llama
FOLDER = Path(__file__).parent
ALL_CASES = [*BACK_CASES, *MORE_CASES, *GEMMA_CASES]
# Types whose models are not made from a class of that type alone.
ELSEWHERE = {
    "bailing_moe": ("test_bailing.py", "bailing_moe"),
    "bert": ("encoder_models.py", "BertConfig"),
    "distilbert": ("encoder_models.py", "DistilBert"),
    "modernbert": ("encoder_models.py", "ModernBert"),
    "nomic_bert": ("encoder_models.py", "nomic"),
    "roberta": ("encoder_models.py", "Roberta"),
    "xlm-roberta": ("encoder_models.py", "XLMRoberta"),
    "gemma3n": ("gemma_architectures.py", "Gemma3n"),
    "gemma4_unified": ("gemma_architectures.py", "Gemma4Unified"),
    "gemma4_unified_text": ("gemma_architectures.py", "Gemma4Unified"),
    "kimi_k2": ("arranged_architectures.py", "kimi_k2"),
    "qwen3_5": ("arranged_architectures.py", "Qwen3_5"),
    "qwen3_5_moe": ("arranged_architectures.py", "Qwen3_5Moe"),
}


def promised() -> list[tuple[list[str], list[str]]]:
    """For each row of the table: the model types, and those that come back."""
    text = (FOLDER.parents[1] / "formats/gguf.md").read_text()
    table = text.split("| `model_type` | `general.architecture` | and back |")[1].split("\n\n")[0]
    rows = [line.strip("|").split("|") for line in table.splitlines()[2:]]
    names = [re.findall("`([^`]+)`", row[0]) for row in rows]
    # `as llama` names a row that judges it; a list names some of the types.
    back = [
        found if row[2].strip() == "yes" else re.findall("`([^`]+)`", row[2])
        for found, row in zip(names, rows, strict=True)
    ]
    return list(zip(names, back, strict=True))


def types(case) -> set[str]:
    config = case.config()
    text = getattr(config, "text_config", None)
    return {config.model_type} | ({text.model_type} if text is not None else set())


def test_every_model_type_has_a_model():
    judged = set().union(*(types(case) for case in ALL_CASES))
    listed = {name for names, _ in promised() for name in names}
    assert len(listed) >= 88
    assert listed - judged == set(ELSEWHERE)
    for name, (file, word) in ELSEWHERE.items():
        assert word in (FOLDER / file).read_text(), name


def test_every_model_type_that_comes_back_has_one_that_does():
    judged = set().union({"bailing_moe"}, *(types(case) for case in [*BACK_CASES, *ENCODERS]))
    for names, back in promised():
        assert not back or judged & set(names), names
