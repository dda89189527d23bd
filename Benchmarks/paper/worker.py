"""A job in a process of its own, so that its memory can be measured: training, or a perplexity.

    worker.py <job as JSON>       prints the outcome as JSON in its last line

A base is a pleat file, or a folder with a checkpoint in 16 bits. A job runs on the CPU in float32,
or on its "device", an accelerator, in bfloat16.
"""

import json
import math
import os
import resource
import shutil
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python/src"))
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np  # noqa: E402
import peft  # noqa: E402
import pleat  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import AutoModelForCausalLM, BitsAndBytesConfig  # noqa: E402

RANK, ALPHA, SEED = 16, 32, 0
WARM_UP = 0.05  # share of the steps; then the rate falls to zero in a straight line
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def on(job: dict) -> tuple[torch.device, torch.dtype]:
    """Where a job runs, and in which type."""
    device = torch.device(job.get("device", "cpu"))
    return device, torch.float32 if device.type == "cpu" else torch.bfloat16


def peak(device: torch.device) -> int:
    """The most memory that this process has had, on an accelerator if it uses one, in bytes."""
    if device.type != "cpu":
        return torch.accelerator.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def loaded(base: str, device: torch.device, dtype: torch.dtype):
    if base.endswith(".pleat"):
        return pleat.load(base, device, dtype)
    return AutoModelForCausalLM.from_pretrained(base, dtype=dtype).to(device)


def adapted(method: str, base: str, device: torch.device, dtype: torch.dtype):
    """A base with a new adapter: LoRA on 16 bits, QLoRA on NF4, or QA-LoRA on a pleat file."""
    torch.manual_seed(SEED)
    if method == "qalora":
        return pleat.adapt(pleat.load(base, device, dtype), r=RANK, alpha=ALPHA)
    if method == "qlora":
        nf4 = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
        )
        model = AutoModelForCausalLM.from_pretrained(
            base, dtype=dtype, quantization_config=nf4, device_map=str(device)
        )
    else:
        model = loaded(base, device, dtype)
    config = peft.LoraConfig(
        r=RANK, lora_alpha=ALPHA, target_modules=LINEARS, task_type="CAUSAL_LM"
    )
    return peft.get_peft_model(model, config)


def train(model, rows: torch.Tensor, batch: int, rate: float) -> list[float]:
    """One pass over the rows, in an order of the seed. Returns the loss of each step."""
    weights = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(weights, rate, weight_decay=0)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(SEED)).split(batch)

    def share(step: int) -> float:
        warm = max(1, round(WARM_UP * len(order)))
        return min((step + 1) / warm, (len(order) - step) / max(1, len(order) - warm))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
    losses = []
    model.train()
    for chosen in order:
        loss = model(input_ids=rows[chosen], labels=rows[chosen]).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    model.eval()
    return losses


def perplexity(model, rows: torch.Tensor) -> float:
    """exp of the mean negative log-likelihood of all tokens but the first of each row."""
    total = 0.0
    with torch.no_grad():
        for part in rows.split(8):
            scores = model(input_ids=part).logits[:, :-1].log_softmax(-1)
            total -= scores.gather(2, part[:, 1:, None]).double().sum().item()
    return math.exp(total / rows[:, 1:].numel())


def merge(model, base: str, folder: Path) -> None:
    """Writes a checkpoint in F16: the NF4 weights of QLoRA, decoded, and what it learned.

    The weights are rounded again, because bitsandbytes rearranges those of a layer that has run on
    a processor with AVX-512.
    """
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(base, folder)
    tensors = {}
    for path in Path(base).glob("*.safetensors"):
        tensors |= load_file(path)
    for name, layer in model.named_modules():
        if isinstance(layer, peft.tuners.lora.LoraLayer):
            name = name.removeprefix("base_model.model.") + ".weight"
            merged = dequantize_4bit(*quantize_4bit(tensors[name].float(), quant_type="nf4"))
            merged += layer.get_delta_weight("default").to(merged)
            tensors[name] = merged.half().contiguous()
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def learn(job: dict) -> dict:
    device, dtype = on(job)
    rows = torch.from_numpy(np.load(job["learned"]))[: job["steps"] * job["batch"]].to(device)
    before = peak(device)
    model = adapted(job["method"], job["base"], device, dtype)
    if device.type != "cpu":
        train(model, rows[: job["batch"]], job["batch"], 0)  # loads the programs of the accelerator
    begin = time.perf_counter()
    losses = train(model, rows, job["batch"], job["rate"])
    found = {"seconds": round(time.perf_counter() - begin, 2), "memory": peak(device) - before}
    found["tokens"] = rows.numel()
    found["losses"] = [round(sum(part) / len(part), 4) for part in (losses[:5], losses[-5:])]
    found["parameters"] = sum(one.numel() for one in model.parameters() if one.requires_grad)
    if "judged" in job:
        found["apart"] = perplexity(model, torch.from_numpy(np.load(job["judged"])).to(device))
    if "adapter" in job:
        model.save_pretrained(job["adapter"])
    if "merged" in job:
        merge(model, job["base"], Path(job["merged"]))
    return found


def judge(job: dict) -> dict:
    device, dtype = on(job)
    rows = torch.from_numpy(np.load(job["judged"])).to(device)
    return {"perplexity": perplexity(loaded(job["base"], device, dtype), rows)}


def main() -> None:
    job = json.loads(sys.argv[1])
    torch.set_num_threads(job["threads"])
    print(json.dumps(judge(job) if job["do"] == "judge" else learn(job)))


if __name__ == "__main__":
    main()
