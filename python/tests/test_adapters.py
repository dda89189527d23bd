"""Which adapters pleat.adapt and pleat.qalora make, and which requests they refuse."""

import json

import pleat
import pytest
import torch
import transformers
from training import fold, logits, train


def refusal(model, **options) -> str:
    with pytest.raises(pleat.PleatError) as error:
        pleat.adapt(model, **options)
    assert error.value.kind == "usage"
    return str(error.value)


def test_plain_lora_trains_on_a_pleat_file(command, quantized, rows, tmp_path):
    """The fold needs plain numbers: --dequantize."""
    base, adapter, tuned = quantized("-b", 3), tmp_path / "adapter", tmp_path / "tuned.pleat"
    model = pleat.adapt(pleat.load(base), r=4, pooled=False, targets="v_proj")
    train(model, rows, 4)
    model.save_pretrained(adapter)
    assert json.loads((adapter / "adapter_config.json").read_text())["use_qalora"] is False
    refused = command.attempt("fold", base, "--adapter", adapter, "-o", tuned)
    assert refused.returncode != 0 and "--dequantize" in refused.stderr
    command.run("fold", base, "--adapter", adapter, "--dequantize", "-o", tuned)
    assert pleat.verify_fold(base, adapter, tuned) < 0.02
    assert (logits(pleat.load(tuned), rows) - logits(model, rows)).abs().max() < 0.05


def test_qalora_trains_on_sixteen_bit_models(command, tinylm, rows, tmp_path):
    """PEFT itself ignores use_qalora for nn.Linear."""
    base = transformers.AutoModelForCausalLM.from_pretrained(tinylm, dtype=torch.float32)
    model = pleat.qalora(base, group_size=64, r=4)
    layer = model.base_model.model.model.layers[0].mlp.down_proj
    assert layer.lora_A["default"].weight.shape == (4, 768 // 64)
    train(model, rows, 4)
    adapter, merged = tmp_path / "adapter", tmp_path / "merged"
    model.save_pretrained(adapter)
    command.run("fold", tinylm, "--adapter", adapter, "-o", merged)
    folded = transformers.AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32)
    assert (logits(folded, rows) - logits(model, rows)).abs().max() < 0.05
    fresh = transformers.AutoModelForCausalLM.from_pretrained(tinylm, dtype=torch.float32)
    again = pleat.load_adapter(fresh, adapter)
    assert torch.equal(logits(again, rows), logits(model, rows))


def test_qalora_trains_on_gptq_models(command, tinylm, rows, tmp_path):
    """The layers are gptqmodel's. Whole zero points become biases in the fold."""
    pytest.importorskip("gptqmodel"), pytest.importorskip("optimum.gptq")
    packed, adapter, tuned = (tmp_path / name for name in ("packed", "adapter", "tuned.pleat"))
    command.run("quantize", tinylm, "--to", "gptq", "-b", 4, "-g", 32, "-o", packed)
    base = transformers.AutoModelForCausalLM.from_pretrained(
        packed, device_map="cpu", dtype=torch.float32
    )
    model = pleat.qalora(base, group_size=32, r=4)
    layer = model.base_model.model.model.layers[0].mlp.down_proj
    assert layer.lora_A["default"].weight.shape == (4, 768 // 32)
    before = logits(model, rows)
    losses = train(model, rows, 8)
    assert losses[-1] < losses[0]
    model.save_pretrained(adapter)
    fold(command, packed, adapter, tuned, "--to", "pleat", "--bias-type", "F16")
    after = logits(model, rows)
    assert (logits(pleat.load(tuned), rows) - after).abs().max() < 0.05
    assert (after - before).abs().max() > 0.3


def test_whole_zero_points_are_warned_of(command, quantized, rows, tmp_path):
    base = quantized("-b", 4, "--scheme", "zeropoint")
    adapter, tuned = tmp_path / "adapter", tmp_path / "tuned.pleat"
    with pytest.warns(UserWarning, match="--bias-type F16"):
        model = pleat.adapt(pleat.load(base), r=4)
    train(model, rows, 4)
    model.save_pretrained(adapter)
    reported = fold(command, base, adapter, tuned, "--bias-type", "F16")
    assert pleat.verify_fold(base, adapter, tuned) == pytest.approx(reported, rel=1e-3)
    assert (logits(pleat.load(tuned), rows) - logits(model, rows)).abs().max() < 0.03


def test_groups_of_the_adapter_are_whole_groups_of_every_layer(quantized):
    base = pleat.load(quantized("-b", 4, "--rule", "*.v_proj=4:64"))
    config = pleat.adapt(base).peft_config["default"]
    assert config.qalora_group_size == 64
    base = pleat.load(quantized("-b", 4, "-g", "row"))
    assert "do not divide the inputs" in refusal(base)
    model = pleat.adapt(base, targets=["down_proj"])
    assert model.peft_config["default"].qalora_group_size == 768
    base = pleat.load(quantized("-b", 4))
    assert "not whole groups of the base" in refusal(base, group_size=16)
    assert "do not divide the inputs" in refusal(base, group_size=96)


def test_only_layers_in_groups_are_adapted(quantized):
    """A suffix would also select the layers that the recipe keeps in 16 bits."""
    base = pleat.load(quantized("-b", 3, "--rule", "lm_head=8:64", "--rule", "*.0.mlp.*=keep"))
    assert "no layer that can be adapted has the name 'knit'" in refusal(base, targets=["knit"])
    model = pleat.adapt(base, r=2)
    adapted = {name for name, _ in model.named_modules() if name.endswith("lora_A")}
    assert len(adapted) == 39
    assert not any("layers.0.mlp" in name or "lm_head" in name for name in adapted)


def test_models_without_groups_are_refused(tinylm):
    model = transformers.AutoModelForCausalLM.from_pretrained(tinylm)
    assert "pleat.qalora" in refusal(model)


def test_merging_is_left_to_the_command(quantized):
    model = pleat.adapt(pleat.load(quantized("-b", 4)), r=2)
    with pytest.raises(pleat.PleatError, match="pleat fold"):
        model.merge_and_unload()


def test_folds_of_other_files_are_found_out(quantized, fixtures):
    """Nothing of the adapter arrived: 1. Another tensor differs: refused."""
    base, adapter = quantized("-b", 4), fixtures / "adapters/qalora_int4"
    assert pleat.verify_fold(base, adapter, base) == 1
    other = quantized("-b", 4, "--rule", "lm_head=8:64")
    with pytest.raises(pleat.PleatError, match="lm_head.weight: a tensor that the adapter"):
        pleat.verify_fold(base, adapter, other)
