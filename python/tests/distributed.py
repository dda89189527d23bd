"""A program for torchrun: trains an adapter in several ways, and writes the losses of each.

    distributed.py <base> <folder> <steps> ddp|fsdp|accelerate|trainer ...

Each step takes two rows in all, whatever the number of processes.
"""

import json
import sys
from pathlib import Path

import numpy as np
import peft
import pleat
import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.parallel import DistributedDataParallel
from transformers import Trainer, TrainingArguments

ROWS = Path(__file__).resolve().parents[2] / "fixtures/tinylm-reference/valid_B.bin"
BATCH, RATE = 2, 2e-3


def batches(steps: int) -> torch.Tensor:
    """steps × BATCH rows of Python source, the same ones again after four."""
    tokens = np.fromfile(ROWS, "<u2").reshape(-1, 256)[:4, :48].astype(np.int64)
    return torch.from_numpy(tokens).repeat(steps, 1)[: steps * BATCH].reshape(steps, BATCH, -1)


def loop(model, steps: int, accelerator: Accelerator | None = None) -> list[float]:
    """Each process takes its share of the rows of a step; gradients are averaged."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], RATE)
    if accelerator is not None:
        model, optimizer = accelerator.prepare(model, optimizer)
    losses = []
    for batch in batches(steps):
        part = batch.chunk(dist.get_world_size())[dist.get_rank()]
        loss = model(input_ids=part, labels=part).loss
        loss.backward() if accelerator is None else accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        dist.all_reduce(mean := loss.detach().clone())
        losses.append(mean.item() / dist.get_world_size())
    return losses


def in_shards(model) -> None:
    """The parameters of each layer, and those outside of layers, are shared out."""
    for layer in model.base_model.model.model.layers:
        fully_shard(layer)
    fully_shard(model)
    assert isinstance(model, FSDPModule)


def by_trainer(model, folder: Path, steps: int) -> list[float]:
    rows = batches(steps).flatten(0, 1)
    arguments = TrainingArguments(
        folder / "run", max_steps=steps, learning_rate=RATE, report_to=[], seed=7, use_cpu=True,
        per_device_train_batch_size=BATCH // dist.get_world_size(), logging_steps=1,
        disable_tqdm=True, ddp_backend="gloo",
    )  # fmt: skip
    data = [{"input_ids": row, "labels": row} for row in rows]
    trainer = Trainer(model=model, args=arguments, train_dataset=data)
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def run(how: str, base: str, folder: Path, steps: int) -> None:
    torch.manual_seed(3)
    model = pleat.adapt(pleat.load(base), r=8)
    if how == "trainer":
        losses = by_trainer(model, folder, steps)
    elif how == "fsdp":
        in_shards(model)
        losses = loop(model, steps)
    elif how == "accelerate":
        losses = loop(model, steps, Accelerator(cpu=True))
    else:
        losses = loop(DistributedDataParallel(model), steps)
    state = {
        name: value.full_tensor() if hasattr(value, "full_tensor") else value
        for name, value in peft.get_peft_model_state_dict(model).items()
    }
    if dist.get_rank() == 0:
        folder.mkdir(exist_ok=True)
        (folder / "losses.json").write_text(json.dumps(losses))
        model.save_pretrained(folder / "adapter", state_dict=state)
    dist.barrier()


def main() -> None:
    base, folder, steps, *ways = sys.argv[1:]
    dist.init_process_group("gloo")
    for how in ways:
        run(how, base, Path(folder, how), int(steps))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
