"""What `pleat eval` and `pleat run` compute, and the same from logits of other programs."""

import json
import re
from pathlib import Path

import architectures
import numpy as np
import peft
import torch

DOCUMENT = Path(__file__).resolve().parents[2] / "formats" / "running.md"


def run_types() -> set[str]:
    """The model types that the document says Pleat runs."""
    listed = DOCUMENT.read_text().split("<!-- model types -->")[1]
    return set(re.findall("`([^`]+)`", listed))


def write_tokens(rows: np.ndarray, path: Path) -> Path:
    path.write_bytes(rows.astype("<u2").tobytes())
    return path


def evaluation(pleat, model: Path, rows: np.ndarray, folder: Path, *options) -> dict:
    """The report on rows of tokens, each a chunk of which all predictions count."""
    tokens = write_tokens(rows, folder / "tokens.bin")
    context = ("--context", rows.shape[1], "--score", "all", "--bos", "no")
    return json.loads(pleat.run("eval", model, "--tokens", tokens, *context, "--json", *options))


def losses(logits: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """−ln of the probability of each token after the first, in float64."""
    scores = logits[:, :-1].astype(np.float64)
    scores -= scores.max(-1, keepdims=True)
    chosen = np.take_along_axis(scores, rows[:, 1:, None], -1)[..., 0]
    return np.log(np.exp(scores).sum(-1)) - chosen


# Mean losses of 64 tokens and more. Only the order of sums differs. Measured: 3e-7.
MEANS = 1e-5


# Their tensors are not translated back, but the metadata gives a config.
ARRANGED = {"gpt_oss", "deepseek_v2", "deepseek_v3", "kimi_k2", "glm4_moe_lite", "llama4_text"}
ARRANGED |= {"lfm2", "lfm2_moe", "qwen3_next", "qwen3_5_text", "qwen3_5_moe_text"}
ARRANGED |= {"falcon_h1", "granitemoehybrid", "mamba2", "nemotron_h"}


def kinds(folder: Path) -> set[str]:
    """The model type of a checkpoint, and that of its text model."""
    config = json.loads((folder / "config.json").read_text())
    return {config["model_type"], config.get("text_config", {}).get("model_type", "")}


def expect_same_losses(pleat, model, counts: list[int], folder: Path) -> None:
    """`pleat eval` has the losses of transformers, for the checkpoint and for a GGUF file.

    `model` is one of `test_architectures`; its type is refused by name if it does not run.
    """
    if not kinds(model.folder) & run_types():
        tokens = write_tokens(architectures.tokens(64), folder / "tokens.bin")
        result = pleat.attempt("eval", model.folder, "--tokens", tokens, "--context", 64)
        assert result.returncode == 69 and "model_type" in result.stderr
        return
    for count in counts:
        rows = architectures.tokens(count)
        expected = losses(architectures.logits(model.folder, rows), rows).mean(1)
        report = evaluation(pleat, model.folder, rows, folder)
        assert np.allclose(report["chunkLosses"], expected, rtol=MEANS)
        # A GGUF file runs if its metadata gives a config.
        file = model.ours(pleat, "f32")
        back = ("convert", file, "--to", "safetensors", "-o", folder / "back", "--dry-run")
        if kinds(model.folder) & ARRANGED or pleat.attempt(*back).returncode == 0:
            report = evaluation(pleat, file, rows, folder)
            assert np.allclose(report["chunkLosses"], expected, rtol=MEANS)


def assert_adapter_is_that_of_peft(
    pleat, folder: Path, config: peft.LoraConfig, rows: np.ndarray, scratch: Path
) -> None:
    """A random adapter beside the model has the losses of PEFT, which are not those without it."""
    torch.manual_seed(3)
    model = peft.get_peft_model(architectures.load(folder), config)
    for name, numbers in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(numbers, std=0.1)
    model.save_pretrained(scratch / "adapter")
    with torch.no_grad():
        logits = model(input_ids=torch.from_numpy(rows)).logits.numpy()
    expected = losses(logits, rows).mean(1)
    options = ("--adapter", scratch / "adapter")
    found = evaluation(pleat, folder, rows, scratch, *options)["chunkLosses"]
    assert np.allclose(found, expected, rtol=MEANS)
    plain = evaluation(pleat, folder, rows, scratch)["chunkLosses"]
    assert not np.allclose(found, plain, rtol=10 * MEANS)
