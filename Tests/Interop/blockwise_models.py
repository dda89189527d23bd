"""Checkpoints of bitsandbytes, as transformers saves them."""

from pathlib import Path

import torch
import transformers

WISHES = {
    "NF4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
    "NF4, nested": {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
    },
    "NF4, nested, in BF16": {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        "bnb_4bit_quant_storage": torch.bfloat16,
    },
    "FP4": {"load_in_4bit": True, "bnb_4bit_quant_type": "fp4"},
    "INT8": {"load_in_8bit": True},
}


def blockwise_model(folder: Path, tinylm: Path, name: str) -> torch.nn.Module:
    """Writes tinylm with weights of one of the kinds above, and returns the model."""
    wish = transformers.BitsAndBytesConfig(**WISHES[name])
    dtype = torch.float16 if name == "INT8" else torch.float32
    model = transformers.AutoModelForCausalLM.from_pretrained(
        tinylm, quantization_config=wish, dtype=dtype
    )
    model.save_pretrained(folder)
    for companion in ("tokenizer.json", "tokenizer_config.json"):
        (folder / companion).symlink_to(tinylm / companion)
    return model
