"""Random adapters of PEFT for random models, and what a model computes with them unmerged."""

import random
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import peft
import random_experts
import random_models
import safetensors.torch
import torch
from architectures import VOCABULARY
from random_models import WORDS, Model

PREFIX = "base_model.model."
# The names in versions of transformers, for the text model in a larger one.
VERSIONS = {
    "version-4": {
        "model.language_model": "language_model.model",
        "lm_head": "language_model.lm_head",
    },
    "text-model": {"model.language_model": "model"},
}
VISION_PARTS = ("vision_tower", "visual", "multi_modal_projector")


@dataclass(frozen=True)
class Adapter:
    """Settings of LoraConfig, and how the files were made."""

    seed: int
    settings: dict
    traits: tuple[str, ...]  # what is special about it, for names of tests and for expectations
    added: int = 0  # rows added to the vocabulary before training
    noise: str = ""  # what other tools leave in the names of tensors
    tokens: tuple[int, ...] = field(default=())  # the trained tokens

    def __str__(self) -> str:
        return "+".join(self.traits)

    def has(self, *traits: str) -> bool:
        return any(trait in self.traits for trait in traits)


def draw(model: Model) -> Adapter:
    rng = random.Random(f"adapter {model.seed}")
    family, traits = model.family, []

    def chance(probability: float, trait: str) -> bool:
        if rng.random() < probability:
            traits.append(trait)
            return True
        return False

    settings = dict(r=rng.choice([1, 2, 4, 8]), task_type="CAUSAL_LM")
    settings["lora_alpha"] = rng.choice([1, 2, 4, 8, 16])
    if family.separate and (
        chance(0.15, "expert-by-expert") or chance(0.1, "some-experts") or chance(0.1, "old-stacks")
    ):
        settings["peft_version"] = rng.choice(["0.17.1", "0.18.0"])
        noise = _noise(rng, traits)
        return Adapter(model.seed, settings, tuple(traits), noise=noise)
    variants = ["plain", "plain", "plain", "plain", "dora", "lora-bias", "bias-lora-only"]
    variant = rng.choice(variants)
    if variant == "dora":
        settings["use_dora"] = True
    elif variant == "lora-bias":
        settings["lora_bias"] = True
    elif variant == "bias-lora-only":
        settings["bias"] = "lora_only"
    if variant != "plain":
        traits.append(variant)
    targets = rng.sample(family.linears, rng.randint(1, len(family.linears)))
    if variant == "lora-bias" and family.biased and rng.random() < 0.7:
        targets = list(family.biased)  # all others lack the bias that would change
    saved, tokens, added = [], [], 0
    if model.kind == "gpt2":
        settings["fan_in_fan_out"] = True
    # For stacked experts, PEFT adapts their parameters too, for which it has no variants.
    everything = (variant == "plain" or not family.stacks) and chance(0.08, "all-linear")
    # PEFT has no biases for LoRA of embeddings.
    if not everything and variant != "lora-bias":
        if chance(0.2, "lora-embed"):
            targets.append(family.embeddings)
        if chance(0.2, "lora-head"):
            targets.append("lm_head")
    if family.embeddings not in targets and chance(0.12, "saved-embed"):
        saved.append(family.embeddings)
    if "lm_head" not in targets and not everything and chance(0.12, "saved-head"):
        saved.append("lm_head")
    if chance(0.12, "saved-norm"):
        saved.append(rng.choice(family.norms))
    free = family.embeddings not in [*targets, *saved]
    # PEFT does not run trained tokens beside a saved head if the config says tied, nor beside a
    # LoRA of a head that it takes for tied and is not.
    free = free and ("lm_head" not in saved or model.tying == "no")
    free = free and ("lm_head" not in targets or model.tying != "other")
    if free and chance(0.15, "tokens"):
        tokens = rng.sample(range(4, WORDS), 3)
        table, head = {family.embeddings: tokens}, {"lm_head": tokens}
        choices = [tokens, table]
        if "lm_head" not in [*targets, *saved]:
            choices += [head, table | head, table | {"lm_head": tokens[1:] + [1]}]
        settings["trainable_token_indices"] = rng.choice(choices)
    ends = {family.embeddings, "lm_head"} & {*targets, *saved}
    # PEFT saves both tables if the vocabulary has grown, except if it has a LoRA for only one of
    # them: then the added rows of the other are lost.
    half = model.tying == "no" and len(ends & {*targets}) == 1
    if not family.has_vision and model.tying != "other" and not half and chance(0.12, "resized"):
        added = rng.choice([1, 4, 16])
        if tokens:
            tokens[-1] = VOCABULARY
    if model.tied and ends and not tokens and chance(0.5, "ensure-tying"):
        settings["ensure_weight_tying"] = True
    if saved:
        settings["modules_to_save"] = saved
    chance(0.2, "rslora")
    settings["use_rslora"] = traits[-1:] == ["rslora"]
    if chance(0.2, "patterns"):
        settings["rank_pattern"] = {rng.choice(targets): 3}
        settings["alpha_pattern"] = {rf"layers\.0\..*{targets[0]}": 5, rng.choice(targets): 7}
    if family.stacks and variant == "plain" and chance(0.5, "expert-stacks"):
        settings["target_parameters"] = rng.sample(family.stacks, rng.randint(1, 2))
    settings["target_modules"] = _targets(rng, model, targets, traits, everything)
    if settings["use_rslora"] is False:
        settings.pop("use_rslora")
    noise = _noise(rng, traits, model.family.has_vision and "vision" not in traits)
    traits = tuple(dict.fromkeys(traits)) or ("plain",)
    return Adapter(model.seed, settings, traits, added, noise, tuple(tokens))


def _targets(rng: random.Random, model: Model, targets: list, traits: list, everything: bool):
    if everything:
        if model.family.has_vision:
            traits.append("vision")
        return "all-linear"
    if model.family.has_vision:
        if rng.random() < 0.5:  # names match in both parts of the model
            traits.append("vision")
        else:
            return rf"(.*language_model.*\.|)({'|'.join(targets)})"
    return targets


def _noise(rng: random.Random, traits: list, text_only: bool = False) -> str:
    noise = rng.choice(["", "", "", "", "", "", "_orig_mod.", "module.", "default", "tuned"])
    if text_only and rng.random() < 0.5:
        noise = rng.choice([*VERSIONS])
    if noise:
        traits.append(f"names-{noise.strip('._')}")
    return noise


# Training


def make(model: Model, adapter: Adapter, base: Path, folder: Path) -> Path:
    """Writes the adapter that PEFT saves, with random weights."""
    generator = torch.Generator().manual_seed(adapter.seed + 2_000_000)
    if adapter.has(*random_experts.TRAITS):
        random_experts.write(model, adapter, base, folder, generator)
        return folder
    loaded = _resized(random_models.load(base), adapter)
    tuned = peft.get_peft_model(loaded, peft.LoraConfig(**_copied(adapter.settings)))
    with torch.no_grad():
        for name, weight in tuned.named_parameters():
            if weight.requires_grad:
                _train(tuned, name, weight, generator)
        if adapter.added:
            for name, weight in tuned.named_parameters():
                if weight.shape[:1] == (VOCABULARY + adapter.added,):
                    rows = weight[VOCABULARY:]
                    rows.copy_(weight.std() * torch.randn(rows.shape, generator=generator))
    tuned.save_pretrained(folder)
    return folder


def _copied(settings: dict) -> dict:
    """PEFT changes the lists of its settings."""
    return {
        key: value.copy() if isinstance(value, (list, dict)) else value
        for key, value in settings.items()
    }


def _resized(loaded, adapter: Adapter):
    if adapter.added:
        loaded.resize_token_embeddings(VOCABULARY + adapter.added, mean_resizing=False)
    return loaded


def _train(tuned, name: str, weight: torch.Tensor, generator: torch.Generator) -> None:
    """Gives a weight such values that the adapter is about half as large as the model."""

    def noise(deviation):
        return deviation * torch.randn(weight.shape, generator=generator)

    parts = name.split(".")
    if "lora_magnitude_vector" in parts:
        weight *= 1 + noise(0.3)
    elif "lora_A" in parts or "lora_embedding_B" in parts:
        weight.copy_(noise(weight.shape[-1 if "lora_A" in parts else 0] ** -0.5))
    elif "lora_B" in parts or "lora_embedding_A" in parts:
        index = next(i for i, part in enumerate(parts) if part.startswith("lora_"))
        layer = tuned.get_submodule(".".join(parts[:index]))
        rank, scale = layer.r["default"], layer.scaling["default"]
        weight.copy_(noise(0.7 / scale / rank**0.5 if parts[-1] != "bias" else 0.3 / scale))
    elif "trainable_tokens_delta" in name:
        weight.copy_(noise(0.5))
    else:  # a bias, a norm, or a whole table
        weight += noise(0.5 * (weight.std() if weight.ndim > 1 else 0.4))


# Names


def with_noise(adapter: Adapter, clean: Path, folder: Path) -> Path:
    """The same adapter with names as other tools leave them."""
    noise = adapter.noise
    if not noise:
        return clean

    def noisy(name: str) -> str:
        for old, new in VERSIONS.get(noise, {}).items():
            if name.startswith(f"{PREFIX}{old}."):
                return PREFIX + new + name.removeprefix(PREFIX + old)
        if noise in VERSIONS:
            return name
        if noise.endswith("."):
            return PREFIX + noise + name.removeprefix(PREFIX)
        return re.sub(r"\.(lora_[AB])\.", rf".\1.{noise}.", name)

    folder.mkdir()
    (folder / "adapter_config.json").write_bytes((clean / "adapter_config.json").read_bytes())
    tensors = safetensors.torch.load_file(clean / "adapter_model.safetensors")
    tensors = {noisy(name): tensor for name, tensor in tensors.items()}
    safetensors.torch.save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
    return folder


# Running


@dataclass
class Expected:
    """Logits of the base model, and of the base model with the unmerged adapter."""

    base: np.ndarray
    tuned: np.ndarray
    vision: dict[str, torch.Tensor]  # the merged weights that logits of text do not depend on

    @property
    def effect(self) -> float:
        """How much the adapter changes logits."""
        return rms(self.tuned[..., :VOCABULARY] - self.base)


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def rows(adapter: Adapter) -> np.ndarray:
    """Two rows of tokens, among them the trained and the added ones."""
    found = np.random.default_rng(adapter.seed).integers(4, WORDS, (2, 24))
    added = [VOCABULARY + index for index in range(min(adapter.added, 4))]
    for index, token in enumerate([*adapter.tokens, *added]):
        found[:, 1 + 3 * index] = token
    return found


def expected(model: Model, adapter: Adapter, base: Path, folder: Path) -> Expected:
    tokens, vision = rows(adapter), {}
    without = random_models.logits(random_models.load(base), np.minimum(tokens, VOCABULARY - 1))
    if adapter.has(*random_experts.TRAITS):
        tuned = random_experts.tuned(model, adapter, base, folder)
        return Expected(without, random_models.logits(tuned, tokens), vision)
    loaded = _resized(random_models.load(base), adapter)
    tuned = peft.PeftModel.from_pretrained(loaded, folder).eval()
    found = random_models.logits(tuned, tokens)
    if adapter.has("vision") and not adapter.has("lora-bias"):
        merged = tuned.merge_and_unload().state_dict()
        vision = {name: v for name, v in merged.items() if is_vision(name)}
    return Expected(without, found, vision)


def is_vision(name: str) -> bool:
    return any(part in name for part in VISION_PARTS)
