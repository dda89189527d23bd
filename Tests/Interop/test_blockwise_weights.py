"""Checkpoints of bitsandbytes, whose blocks do not depend on rows: decoded to the same bits."""

from pathlib import Path

import adapters
import pytest
import torch
import transformers
from blockwise_models import WISHES, blockwise_model
from safetensors.torch import load_file, save_file

bnb = pytest.importorskip("bitsandbytes")

LAYER = "model.layers.2.mlp.down_proj.weight"


@pytest.fixture(scope="module", params=WISHES)
def made(request, tinylm, tmp_path_factory):
    """A checkpoint that transformers saved, and the weights that bitsandbytes decodes."""
    folder = tmp_path_factory.mktemp("bitsandbytes") / "model"
    model = blockwise_model(folder, tinylm, request.param)
    stored, expected = load_file(folder / "model.safetensors"), {}
    for path, module in model.named_modules():
        if isinstance(module, bnb.nn.Linear4bit):
            weight = module.weight
            expected[f"{path}.weight"] = bnb.functional.dequantize_4bit(
                weight.data, weight.quant_state
            )
        elif isinstance(module, bnb.nn.Linear8bitLt):
            codes, scales = stored[f"{path}.weight"], stored[f"{path}.SCB"]
            expected[f"{path}.weight"] = bnb.functional.int8_vectorwise_dequant(codes, scales)
    assert len(expected) == 42
    return folder, expected


def test_weights_are_decoded_to_the_same_bits(pleat, made, tmp_path):
    folder, expected = made
    found = adapters.decoded(pleat, folder, tmp_path / "found")
    assert len(found) == 57 and not [name for name in found if "absmax" in name or "SCB" in name]
    for name, weight in expected.items():
        assert torch.equal(torch.from_numpy(found[name]), weight.float()), name


def test_other_formats_get_the_same_numbers(pleat, made, tmp_path):
    """Codes of 4 bits only on request; the decoded model needs none."""
    folder, expected = made
    plain, direct = tmp_path / "plain", tmp_path / "direct.gguf"
    pleat.run("convert", folder, "--to", "safetensors", "--dtype", "F32", "-o", plain)
    command = ["quantize", folder, "--to", "gguf", "--type", "Q8_0", "--pure", "-o", direct]
    result = pleat.attempt(*command)
    if next(iter(expected.values())).dtype == torch.float32 and result.returncode == 69:
        assert "--requantize" in result.stderr
        pleat.run(*command, "--requantize")
    else:
        assert result.returncode == 0
    again = tmp_path / "again.gguf"
    pleat.run("quantize", plain, "--to", "gguf", "--type", "Q8_0", "--pure", "-o", again)
    found, wanted = (
        adapters.decoded(pleat, path, path.with_suffix("")) for path in (direct, again)
    )
    for name, values in wanted.items():
        assert (found[name] == values).all(), name


def broken(tinylm: Path, folder: Path, change) -> Path:
    """A checkpoint in NF4 after a change of its tensors."""
    wish = transformers.BitsAndBytesConfig(**WISHES["NF4, nested"])
    model = transformers.AutoModelForCausalLM.from_pretrained(tinylm, quantization_config=wish)
    model.save_pretrained(folder)
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


def without(ending: str):
    def change(tensors: dict) -> None:
        del tensors[LAYER + ending]

    return change


def shortened(ending: str):
    def change(tensors: dict) -> None:
        tensors[LAYER + ending] = tensors[LAYER + ending][:-1].clone()

    return change


STATE = ".quant_state.bitsandbytes__nf4"
CHANGES = {f"no {ending}": without(ending) for ending in (".absmax", ".quant_map", STATE)}
CHANGES |= {f"short {ending}": shortened(ending) for ending in ("", ".absmax", ".quant_map", STATE)}
CHANGES |= {"no nested": without(".nested_absmax"), "short nested": shortened(".nested_absmax")}


@pytest.mark.parametrize("name", CHANGES)
def test_damaged_weights_are_refused(pleat, tinylm, tmp_path, name):
    folder = broken(tinylm, tmp_path / "model", CHANGES[name])
    # Words that nothing describes may be copied, as those of unknown tools.
    copies = [] if name == f"short {STATE}" else [[]]
    for options in (*copies, ["--dtype", "F32"]):
        out = tmp_path / "out"
        result = pleat.attempt("convert", folder, "--to", "safetensors", *options, "-o", out)
        assert result.returncode in (65, 69)
        assert LAYER in result.stderr
        assert not out.exists()
