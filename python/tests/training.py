"""Trains, folds and runs models."""

import json

import torch
import transformers


def train(model, rows, steps=20, rate=2e-3) -> list[float]:
    """A plain loop over single rows. Returns the losses."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate)
    losses = []
    model.train()
    for step in range(steps):
        batch = rows[step % len(rows)][None]
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    model.eval()
    return losses


def logits(model, rows) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(rows).logits


def fold(command, base, adapter, tuned, *options) -> float:
    """Folds, proves the fold, and returns the adapter error that the command reports."""
    how = ["--adapter", adapter]
    report = command.run("fold", base, *how, "-o", tuned, "--json", *options)
    assert json.loads(report)["fold"]["changedCodeCount"] == 0
    command.run("verify", tuned, "--against", base, *how)
    return json.loads(report)["fold"]["adapterError"]


def decoded(command, path, folder, dtype=torch.float32):
    """What transformers makes of the file after `pleat convert`."""
    command.run("convert", path, "--to", "safetensors", "--dtype", "F32", "-o", folder)
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
