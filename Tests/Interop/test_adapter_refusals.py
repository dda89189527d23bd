"""Adapters that cannot be folded correctly are refused, and nothing is written.

PEFT merges the NaN, drops layers that the base does not have, and leaves a module without B
unmerged. The converter of llama.cpp accepts the wrong size.
"""

import json

import numpy as np
import pytest
import safetensors.numpy

MODULE = "base_model.model.model.layers.2.mlp.up_proj"
A, B = f"{MODULE}.lora_A.weight", f"{MODULE}.lora_B.weight"
MALFORMED, MISMATCH, UNSUPPORTED = 65, 65, 69


def nan(tensors, config):
    tensors[A][3, 5] = np.nan


def infinite(tensors, config):
    tensors[B][7, 1] = np.inf


def no_b(tensors, config):
    del tensors[B]


def another_layer(tensors, config):
    for name in (A, B):
        tensors[name.replace("layers.2.", "layers.9.")] = tensors.pop(name)


def wrong_inputs(tensors, config):
    tensors[A] = np.ascontiguousarray(tensors[A][:, :-1])


def wrong_outputs(tensors, config):
    tensors[B] = np.ascontiguousarray(tensors[B][:-1])


def wrong_rank(tensors, config):
    tensors[A] = np.ascontiguousarray(tensors[A][:-1])


def stray_tensor(tensors, config):
    tensors[f"{MODULE}.lora_C.weight"] = tensors[A]


def huge(tensors, config):
    """The merged weight overflows the F16 of the base."""
    tensors[B][0, 0] = 1e9


def setting(**changes):
    def change(tensors, config):
        config.update(changes)

    return change


CASES = {
    "nan": (nan, MALFORMED, "layers.2.mlp.up_proj"),
    "infinite": (infinite, MALFORMED, "layers.2.mlp.up_proj"),
    "no-b": (no_b, MALFORMED, "layers.2.mlp.up_proj"),
    "another-layer": (another_layer, MISMATCH, "layers.9.mlp.up_proj"),
    "wrong-inputs": (wrong_inputs, MISMATCH, "layers.2.mlp.up_proj"),
    "wrong-outputs": (wrong_outputs, MISMATCH, "layers.2.mlp.up_proj"),
    "wrong-rank": (wrong_rank, MISMATCH, "layers.2.mlp.up_proj"),
    "stray-tensor": (stray_tensor, UNSUPPORTED, "lora_C"),
    "huge": (huge, UNSUPPORTED, "layers.2.mlp.up_proj"),
    "another-method": (setting(peft_type="IA3"), UNSUPPORTED, "IA3"),
    "replicated": (setting(layer_replication=[[0, 4], [2, 6]]), UNSUPPORTED, "layer_replication"),
    "activated": (setting(alora_invocation_tokens=[5, 6]), UNSUPPORTED, "alora_invocation_tokens"),
    "rows": (setting(trainable_token_indices=[5]), MALFORMED, "trainable_token_indices"),
    "block-diagonal": (setting(use_bdlora={"nblocks": 2}), UNSUPPORTED, "use_bdlora"),
    "not-yet-known": (setting(use_nonesuch=True), UNSUPPORTED, "use_nonesuch"),
    "pissa": (setting(init_lora_weights="pissa_niter_4"), UNSUPPORTED, "pissa"),
    "olora": (setting(init_lora_weights="olora"), UNSUPPORTED, "olora"),
    "loftq": (setting(init_lora_weights="loftq"), UNSUPPORTED, "loftq"),
    "dora-without-magnitudes": (setting(use_dora=True), MALFORMED, "magnitudes"),
    "rank-of-config": (setting(r=8), MISMATCH, "16"),
}


@pytest.mark.parametrize("case", CASES)
def test_an_unsupported_or_broken_adapter_is_refused(pleat, tinylm, trained, tmp_path, case):
    change, status, fragment = CASES[case]
    source, folder, out = trained / "lora_fp16", tmp_path / "adapter", tmp_path / "out"
    tensors = safetensors.numpy.load_file(source / "adapter_model.safetensors")
    config = json.loads((source / "adapter_config.json").read_text())
    change(tensors, config)
    folder.mkdir()
    safetensors.numpy.save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
    (folder / "adapter_config.json").write_text(json.dumps(config))
    result = pleat.attempt("fold", tinylm, "--adapter", folder, "-o", out)
    assert (result.returncode, fragment in result.stderr) == (status, True), result.stderr
    assert not list(tmp_path.glob("*out*"))


def test_an_adapter_without_a_config_is_refused(pleat, tinylm, trained, tmp_path):
    """Only the config has alpha."""
    path = tmp_path / "adapter_model.safetensors"
    path.write_bytes((trained / "lora_fp16" / "adapter_model.safetensors").read_bytes())
    result = pleat.attempt("fold", tinylm, "--adapter", tmp_path, "-o", tmp_path / "out")
    assert result.returncode == MALFORMED and "adapter_config.json" in result.stderr
    assert not (tmp_path / "out").exists()
