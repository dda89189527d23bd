"""Runs tinylm with transformers: loading, logits, perplexity."""

import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM

REFERENCE = Path(__file__).resolve().parents[2] / "fixtures" / "tinylm-reference"
ROW = 256  # tokens in a row of the held-out sets


def load(folder: Path, tinylm: Path):
    """A model in float32 with the weights of a directory and the configuration of tinylm."""
    with tempfile.TemporaryDirectory() as together:
        for path in [
            *folder.glob("*.safetensors"),
            *folder.glob("*.index.json"),
            *tinylm.glob("*config.json"),
        ]:
            (Path(together) / path.name).symlink_to(path.resolve())
        model, report = AutoModelForCausalLM.from_pretrained(
            together, dtype=torch.float32, local_files_only=True, output_loading_info=True
        )
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not report[problem], f"transformers: {problem} {report[problem]}"
    return model.eval()


def with_updates(folder: Path, tinylm: Path, updates: dict[str, np.ndarray]):
    """The same model with updates ΔW added to weights in float32."""
    model = load(folder, tinylm)
    weights = model.state_dict()
    for name, update in updates.items():
        weights[name] += torch.from_numpy(update.astype(np.float32))
    return model


def held_out(name: str) -> np.ndarray:
    """The rows of token ids of a held-out set, for perplexities."""
    about = json.loads((REFERENCE / "perplexity.json").read_text())["sets"][name]
    rows = np.fromfile(REFERENCE / about["file"], "<u2").reshape(-1, ROW)[:: about["rowStep"]]
    assert len(rows) == about["rows"]
    return rows.astype(np.int64)


def logits(model, rows: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model(torch.from_numpy(rows)).logits.numpy()


def perplexity(model, name: str, every: int = 1) -> float:
    """exp of the mean negative log-likelihood of tokens 2 to 256; each row on its own, no BOS.

    `every` leaves out rows for slow models: 4 uses the first row, the fifth and so on.
    """
    total, count = 0.0, 0
    with torch.no_grad():
        for rows in torch.from_numpy(held_out(name)[::every]).split(16):
            scores = model(rows).logits[:, :-1].log_softmax(-1)
            total -= scores.gather(2, rows[:, 1:, None]).double().sum().item()
            count += rows[:, 1:].numel()
    return float(np.exp(total / count))


def reference_logits(path: Path) -> np.ndarray:
    """The logits of PyTorch for the rows of `reference_rows`, as [position, token]."""
    return np.load(path)["logits"]


def reference_rows() -> np.ndarray:
    """The first half of the first row of Python source."""
    return held_out("B")[:1, : ROW // 2]
