"""Tiny models, adapters that PEFT creates for them, and the merged models of PEFT."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GptOssConfig,
    LlamaConfig,
    MixtralConfig,
    Qwen2Config,
    Qwen3MoeConfig,
)

SEED = 20260411

COMMON = {"vocab_size": 96, "num_hidden_layers": 2, "max_position_embeddings": 64}
COMMON |= {"bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": False}
HEADS = {"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
EXPERTS = {"num_experts_per_tok": 2}

CONFIGS = {
    "llama": LlamaConfig(**COMMON, **HEADS, intermediate_size=128),
    "tied": LlamaConfig(
        **COMMON | {"tie_word_embeddings": True}, **HEADS, intermediate_size=128
    ),
    # With biases on queries, keys and values.
    "qwen2": Qwen2Config(**COMMON, **HEADS, intermediate_size=96),
    "gpt2": GPT2Config(
        vocab_size=96, n_embd=64, n_layer=2, n_head=4, n_positions=64, bos_token_id=1,
        eos_token_id=2,
    ),
    # Experts as [expert, out, in].
    "qwen3_moe": Qwen3MoeConfig(
        **COMMON, **HEADS, **EXPERTS, head_dim=16, num_experts=4, moe_intermediate_size=48
    ),
    "normed_moe": Qwen3MoeConfig(
        **COMMON, **HEADS, **EXPERTS, head_dim=16, num_experts=4, moe_intermediate_size=48,
        norm_topk_prob=True,
    ),
    "mixtral": MixtralConfig(
        **COMMON, **HEADS, **EXPERTS, num_local_experts=4, intermediate_size=96
    ),
    # Experts as [expert, in, out]; down_proj is square, as in the published models.
    "gpt_oss": GptOssConfig(
        **COMMON, **HEADS, **EXPERTS, head_dim=16, num_local_experts=4, intermediate_size=64
    ),
}  # fmt: skip


@dataclass
class Case:
    """A base model, the settings of each adapter for it, and how PEFT applies them."""

    model: str
    type: torch.dtype
    adapters: list[dict]
    scales: list[float] = field(default_factory=list)
    # PEFT rounds to the stored type after every adapter. If it merges in float32, it rounds once.
    merge_type: torch.dtype | None = None
    # The stored type of the adapter.
    adapter_type: torch.dtype = torch.float32
    # transformers 5 has one parameter for all experts; older checkpoints have one per expert.
    fused_experts: bool = True


@dataclass
class Made:
    base: Path
    adapters: list[Path]
    merged: Path


def make(case: Case, folder: Path) -> Made:
    made = prepare(case, folder)
    merge(case, made)
    return made


def prepare(case: Case, folder: Path) -> Made:
    """The files of a case without the merged model."""
    torch.manual_seed(SEED)
    made = Made(folder / "base", [], folder / "merged")
    model = AutoModelForCausalLM.from_config(CONFIGS[case.model]).to(case.type)
    randomize(model.named_parameters(), lambda name: 0.02)
    model.save_pretrained(made.base, save_original_format=not case.fused_experts)
    for index, settings in enumerate(case.adapters):
        path = folder / f"adapter-{index}"
        make_adapter(case, settings, made.base, path)
        made.adapters.append(path)
    return made


def load(folder: Path, type: torch.dtype):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=type, local_files_only=True)


def make_adapter(case: Case, settings: dict, base: Path, folder: Path) -> None:
    config = LoraConfig(**{"r": 8, "lora_alpha": 16, "task_type": "CAUSAL_LM"} | settings)
    model = get_peft_model(
        load(base, case.type), config, autocast_adapter_dtype=case.adapter_type == torch.float32
    )
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    randomize(trained, spread)
    model.save_pretrained(folder)


def spread(name: str) -> float:
    """The deviation that makes ΔW about a fifth of the weights, the most in trained adapters."""
    return 0.02 if ".lora_" not in name or "magnitude" in name else 0.03


def randomize(parameters, std) -> None:
    for name, parameter in parameters:
        values = torch.randn(parameter.shape) * std(name)
        if "norm" in name or "ln_" in name:
            values += 1
        if "magnitude" in name:
            # Near the norms at the start of training.
            values = parameter.detach().float() * (1 + 5 * values)
        parameter.data.copy_(values.to(parameter.dtype))


def merge(case: Case, made: Made) -> None:
    model, names = unmerged(case, made)
    merged = model.merge_and_unload(adapter_names=names).to(case.type)
    merged.save_pretrained(made.merged, save_original_format=not case.fused_experts)


def unmerged(case: Case, made: Made) -> tuple[PeftModel, list[str]]:
    """The base with all adapters of a case, and their names."""
    base = load(made.base, case.merge_type or case.type)
    names = [path.name for path in made.adapters]
    model = PeftModel.from_pretrained(base, made.adapters[0], adapter_name=names[0])
    for path in made.adapters[1:]:
        model.load_adapter(path, adapter_name=path.name)
    for name, scale in zip(names, case.scales or [1] * len(names), strict=True):
        for module in model.modules():
            if hasattr(module, "set_scale") and name in getattr(module, "scaling", {}):
                module.set_scale(name, scale)
    return model, names
