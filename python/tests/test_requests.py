"""Requests that PEFT or transformers would ignore, misread or answer in words of their own."""

import json
import shutil

import pleat
import pytest
import torch
import transformers
from peft.utils import save_and_load
from safetensors.torch import load_file, save_file
from training import fold, logits, train


def refusal(function, *arguments, **options) -> pleat.PleatError:
    with pytest.raises(pleat.PleatError) as error:
        function(*arguments, **options)
    return error.value


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"qalora_group_size": 64}, "qalora_group_size is set by group_size"),
        ({"use_qalora": False}, "use_qalora is set by pooled"),
        ({"target_modules": ["q_proj"]}, "target_modules is set by targets"),
        ({"lora_dropout": 0.1}, "lora_dropout is set by dropout"),
        ({"init_lora_weights": "pissa"}, "found pissa"),
        ({"use_dora": True}, "use_dora needs weights that are not in groups"),
        ({"r": 0}, "r is not a rank, expected a number from 1, found 0"),
        ({"dropout": 2}, "dropout is not a share, expected 0 to below 1, found 2"),
        ({"targets": []}, "targets names no layer"),
    ],
    ids=str,
)
def test_settings_of_peft_are_not_overwritten_or_ignored(quantized, options, words):
    error = refusal(pleat.adapt, pleat.load(quantized("-b", 4)), **options)
    assert words in str(error)


def test_groups_of_other_bases_are_whole_groups_too(command, quantized, tinylm, tmp_path):
    base = pleat.load(quantized("-b", 4))
    words = "not whole groups of the base, expected a multiple of 32, found 16"
    assert words in str(refusal(pleat.qalora, base, group_size=16))
    pytest.importorskip("gptqmodel"), pytest.importorskip("optimum.gptq")
    packed = tmp_path / "packed"
    command.run("quantize", tinylm, "--to", "gptq", "-b", 4, "-g", 32, "-o", packed)
    load = transformers.AutoModelForCausalLM.from_pretrained
    model = load(packed, device_map="cpu", dtype=torch.float32)
    assert words in str(refusal(pleat.qalora, model, group_size=16))
    with pytest.warns(UserWarning, match="--bias-type F16"):
        pleat.qalora(model, group_size=32, r=2)


def test_a_model_in_groups_is_not_saved_by_transformers(quantized, tmp_path):
    error = refusal(pleat.load(quantized("-b", 4)).save_pretrained, tmp_path / "saved")
    assert "pleat.adapt" in error.hint and not (tmp_path / "saved").exists()


def test_saving_an_adapter_looks_nothing_up_in_the_network(quantized, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        save_and_load, "check_file_exists_on_hf_hub", lambda *word: asked.append(word)
    )
    model = pleat.adapt(pleat.load(quantized("-b", 4)), r=2)
    model.save_pretrained(tmp_path / "adapter")
    assert asked == [] and (tmp_path / "adapter/adapter_model.safetensors").exists()


def test_one_adapter_is_made_at_a_time(quantized):
    model = pleat.adapt(pleat.load(quantized("-b", 4)), r=2)
    for function in (pleat.adapt, pleat.qalora):
        assert "the model has an adapter already" in str(refusal(function, model))
    assert "the model has an adapter already" in str(refusal(pleat.load_adapter, model, "."))
    assert "found str" in str(refusal(pleat.adapt, "base.pleat"))


def test_checksums_are_compared_on_request(quantized, tmp_path):
    path = tmp_path / "flipped.pleat"
    contents = bytearray(quantized("-b", 4).read_bytes())
    contents[len(contents) // 2] ^= 1
    path.write_bytes(contents)
    pleat.load(path)
    error = refusal(pleat.load, path, check=True)
    assert error.kind == "malformed" and error.file == str(path)


def test_ranks_differ_by_layer(command, quantized, rows, tmp_path):
    base, adapter, tuned = quantized("-b", 4), tmp_path / "adapter", tmp_path / "tuned.pleat"
    patterns = {"rank_pattern": {"v_proj": 8}, "alpha_pattern": {"v_proj": 4}, "use_rslora": True}
    model = pleat.adapt(pleat.load(base), r=4, dropout=0.1, **patterns)
    assert model.base_model.model.model.layers[0].self_attn.v_proj.r["default"] == 8
    train(model, rows, 4)
    model.save_pretrained(adapter)
    reported = fold(command, base, adapter, tuned)
    assert pleat.verify_fold(base, adapter, tuned) == pytest.approx(reported, rel=1e-3)
    assert torch.equal(
        logits(pleat.load_adapter(pleat.load(base), adapter), rows), logits(model, rows)
    )
    assert (logits(pleat.load(tuned), rows) - logits(model, rows)).abs().max() < 0.05


# Folders of adapters


@pytest.fixture
def adapter(fixtures, tmp_path):
    folder = tmp_path / "adapter"
    shutil.copytree(fixtures / "adapters/qalora_int4", folder)
    return folder


@pytest.mark.parametrize("check", ["load_adapter", "verify_fold"])
def test_damaged_folders_are_refused_with_the_file(quantized, adapter, check):
    base = quantized("-b", 4)

    def read(folder) -> pleat.PleatError:
        if check == "verify_fold":
            return refusal(pleat.verify_fold, base, folder, base)
        return refusal(pleat.load_adapter, pleat.load(base), folder)

    error = read(adapter / "absent")
    assert error.kind == "io" and error.file == str(adapter / "absent")
    tensors = adapter / "adapter_model.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:100])
    error = read(adapter)
    assert error.kind == "malformed" and error.file == str(tensors)
    tensors.unlink()
    assert "the folder has no adapter_model.safetensors" in str(read(adapter))
    (adapter / "adapter_config.json").write_text("{")
    error = read(adapter)
    assert error.kind == "malformed" and error.file == str(adapter / "adapter_config.json")
    (adapter / "adapter_config.json").unlink()
    assert "the folder has no adapter_config.json" in str(read(adapter))


def test_adapters_of_other_models_are_refused(quantized, adapter):
    base = quantized("-b", 4)
    config, path = adapter / "adapter_config.json", adapter / "adapter_model.safetensors"
    stated = json.loads(config.read_text())
    config.write_text(json.dumps(stated | {"qalora_group_size": 64}))
    error = refusal(pleat.load_adapter, pleat.load(base), adapter)
    assert "does not fit its layer, expected r×" in str(error)
    config.write_text(json.dumps(stated | {"peft_type": "IA3"}))
    error = refusal(pleat.load_adapter, pleat.load(base), adapter)
    assert error.kind == "unsupported" and error.found == "IA3"
    config.write_text(json.dumps(stated))
    tensors = load_file(path)
    key = next(name for name in tensors if "layers.0." in name)
    tensors[key.replace("layers.0.", "layers.40.")] = tensors[key].clone()
    save_file(tensors, path)
    error = refusal(pleat.load_adapter, pleat.load(base), adapter)
    assert error.kind == "mismatch" and "layers.40." in error.tensor


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pleat.adapters", None)
    monkeypatch.delattr(pleat, "adapters", raising=False)
    error = refusal(getattr, pleat, "adapt")
    assert "pip install './python[train]'" in error.hint
