"""Random weights that give attention and logits which are far from uniform."""

import torch


def _deviation(name: str, shape: torch.Size, tied: bool, gemma: bool) -> tuple[float, float]:
    """The mean and standard deviation of a weight; attention and logits are far from uniform."""
    if name.endswith("bias"):
        return 0.0, 0.3
    if len(shape) == 1:  # a norm; Gemma adds one to it
        return (0.0 if gemma else 1.0), 0.2
    if "embed_tokens" in name:
        return 0.0, 2.5 / shape[-1] ** 0.5 if tied else 1.0
    if "lm_head" in name:
        return 0.0, 2.5 / shape[-1] ** 0.5
    return 0.0, 1.5 / shape[-1] ** 0.5


def fill(model, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    kind = model.config.model_type
    gemma = kind.startswith("gemma") and not kind.startswith(("gemma3n", "gemma4"))
    tied = model.config.tie_word_embeddings
    with torch.no_grad():
        for name, weight in model.named_parameters():
            mean, deviation = _deviation(name, weight.shape, tied, gemma)
            weight.copy_(mean + deviation * torch.randn(weight.shape, generator=generator))
        for name, number in model.named_buffers():
            if name.endswith("layer_scalar"):
                number.uniform_(0.7, 1.3, generator=generator)
