"""Adapters that are trained on a pleat file fold into it exactly, load again, and train on."""

import json

import numpy as np
import peft
import pleat
import pytest
import safetensors.torch
import torch
from training import decoded, fold, logits, train
from transformers import Trainer, TrainingArguments

# The largest difference of logits, which reach 14: biases in F16 are rounded once; biases in F32
# leave the rounding of sums in float32.
TOLERANCE = {"F16": 0.03, "F32": 1e-4}


@pytest.mark.parametrize("parameters", ["F16", "F32"])
def test_a_trained_adapter_folds_exactly(command, quantized, rows, tmp_path, parameters):
    base = quantized("-b", 3, "--parameters", parameters)
    model = pleat.adapt(pleat.load(base), r=8, alpha=16, dropout=0.05)
    steps = 20 if parameters == "F16" else 4
    losses = train(model, rows, steps)
    if steps == 20:
        assert sum(losses[-4:]) < sum(losses[:4]) - 1
    adapter, tuned = tmp_path / "adapter", tmp_path / "tuned.pleat"
    model.save_pretrained(adapter)
    config = json.loads((adapter / "adapter_config.json").read_text())
    assert (config["use_qalora"], config["qalora_group_size"]) == (True, 32)
    assert sorted(config["target_modules"]) == [
        "down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj",
    ]  # fmt: skip
    reported = fold(command, base, adapter, tuned)
    # The command computes ΔW in float32, verify_fold in float64.
    found = pleat.verify_fold(base, adapter, tuned)
    assert found == pytest.approx(reported, rel=1e-3, abs=1e-6)
    assert reported < {"F16": 0.02, "F32": 1e-5}[parameters]
    unmerged = logits(model, rows)
    for folded in (pleat.load(tuned), decoded(command, tuned, tmp_path / "decoded")):
        difference = (logits(folded, rows) - unmerged).abs().max()
        assert difference < TOLERANCE[parameters]
    assert (unmerged - logits(pleat.load(base), rows)).abs().max() > 0.3


def test_an_adapter_loads_again_and_trains_on(quantized, rows, tmp_path):
    base = quantized("-b", 3)
    model = pleat.adapt(pleat.load(base), r=4)
    train(model, rows, 4)
    model.save_pretrained(tmp_path / "adapter")
    again = pleat.load_adapter(pleat.load(base), tmp_path / "adapter", trainable=True)
    assert torch.equal(logits(again, rows), logits(model, rows))
    assert train(again, rows, 4) == train(model, rows, 4)
    assert torch.equal(logits(again, rows), logits(model, rows))
    # PEFT's own functions: a second adapter, and none.
    again.load_adapter(tmp_path / "adapter", "second")
    again.set_adapter("second")
    with again.disable_adapter():
        assert torch.equal(logits(again, rows), logits(pleat.load(base), rows))


def test_the_fixture_adapters_load_and_give_their_logits(quantized, fixtures):
    """These adapters were trained in PyTorch on this rounding of tinylm, without pleat."""
    tokens = np.fromfile(fixtures / "tinylm-reference/valid_B.bin", "<u2")[:128]
    for bits in (4, 2):
        folder = fixtures / f"adapters/qalora_int{bits}"
        base = pleat.load(quantized("-b", bits, "--scheme", "minmax"))
        found = logits(pleat.load_adapter(base, folder), torch.from_numpy(tokens.astype(int))[None])
        expected = torch.from_numpy(np.load(folder / "reference.npz")["logits"])
        assert (found[0] - expected).abs().max() < 1e-3


def trainer(model, rows, folder, **settings) -> Trainer:
    arguments = TrainingArguments(
        folder, learning_rate=2e-3, per_device_train_batch_size=1, report_to=[], seed=7,
        disable_tqdm=True, logging_steps=1, use_cpu=True, **settings,
    )  # fmt: skip
    data = [{"input_ids": row, "labels": row} for row in rows]
    return Trainer(model=model, args=arguments, train_dataset=data)


def test_trainer_lowers_the_loss_and_resumes(quantized, rows, tmp_path):
    """With checkpoints of activations; a resumed run ends where an uninterrupted one does."""
    base = quantized("-b", 4, "--compress")

    def fresh():
        torch.manual_seed(3)
        return pleat.adapt(pleat.load(base), r=4, targets=["q_proj", "up_proj"])

    settings = {"max_steps": 20, "save_steps": 16, "gradient_checkpointing": True}
    whole = trainer(fresh(), rows, tmp_path / "run", **settings)
    whole.train()
    losses = [entry["loss"] for entry in whole.state.log_history if "loss" in entry]
    assert len(losses) == 20 and sum(losses[-4:]) < sum(losses[:4]) - 1
    resumed = trainer(fresh(), rows, tmp_path / "run", **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "run/checkpoint-16"))
    states = [peft.get_peft_model_state_dict(run.model) for run in (whole, resumed)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_sft_trainer_trains_an_adapter(command, quantized, tmp_path):
    """On prompts and completions, with the loss on the completions."""
    trl, datasets = pytest.importorskip("trl"), pytest.importorskip("datasets")
    base = quantized("-b", 4)
    tokenizer = pleat.tokenizer(base)
    tokenizer.pad_token = tokenizer.eos_token
    data = [
        {"prompt": f"def power{n}(x):", "completion": f"\n    return x ** {n}"} for n in range(4)
    ]
    settings = trl.SFTConfig(
        str(tmp_path / "run"), max_steps=20, learning_rate=2e-3, per_device_train_batch_size=2,
        report_to=[], disable_tqdm=True, logging_steps=1, use_cpu=True, bf16=False,
        completion_only_loss=True,
    )  # fmt: skip
    run = trl.SFTTrainer(
        model=pleat.adapt(pleat.load(base), r=4), args=settings, processing_class=tokenizer,
        train_dataset=datasets.Dataset.from_list(data),
    )  # fmt: skip
    run.train()
    losses = [entry["loss"] for entry in run.state.log_history if "loss" in entry]
    assert len(losses) == 20 and sum(losses[-4:]) < sum(losses[:4]) - 1
    run.model.save_pretrained(tmp_path / "adapter")
    fold(command, base, tmp_path / "adapter", tmp_path / "tuned.pleat")


def test_training_in_sixteen_bits_folds_too(command, quantized, rows, tmp_path):
    """The adapter stays in float32; the base computes in bfloat16."""
    base = quantized("-b", 4)
    model = pleat.adapt(pleat.load(base, dtype=torch.bfloat16), r=4)
    train(model, rows, 4)
    model.save_pretrained(tmp_path / "adapter")
    tensors = safetensors.torch.load_file(tmp_path / "adapter/adapter_model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    fold(command, base, tmp_path / "adapter", tmp_path / "tuned.pleat")
    unmerged = pleat.load_adapter(pleat.load(base), tmp_path / "adapter")
    folded = logits(pleat.load(tmp_path / "tuned.pleat"), rows)
    assert (folded - logits(unmerged, rows)).abs().max() < TOLERANCE["F16"]
