"""Gemma 3n and Gemma 4 beyond the common tests: MLX, tokens, refusals, and one without towers."""

import json
import shutil
from pathlib import Path

import architectures
import converter
import llama_cpp
import numpy as np
import pytest
import safetensors.torch
from architecture_tokenizers import PRE_TOKENIZERS
from encoder_tokenizers import SCRIPTS
from gemma_architectures import GEMMA_CASES, UNIFIED_CASE
from llama_runs import logits
from test_architectures import AMPLIFIED
from test_encoders import metadata, tensors
from test_llama import rms
from test_tokenizer import STATUS
from tokenizers import Tokenizer

pytestmark = pytest.mark.llama
ROWS = architectures.tokens(64)
CASES = {case.name: case for case in [*GEMMA_CASES, UNIFIED_CASE]}


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("gemma")
    return {name: architectures.make(case, folder) for name, case in CASES.items()}


def test_the_model_without_towers_is_that_of_the_converter(pleat, folders, tmp_path):
    folder = folders["gemma4-unified"]
    ours, theirs = tmp_path / "ours.gguf", tmp_path / "theirs.gguf"
    pleat.run("convert", folder, "--to", "gguf", "--dtype", "F32", "-o", ours)
    converter.convert(folder, {"f32": theirs}, PRE_TOKENIZERS["gemma4"])
    found, expected = tensors(ours), tensors(theirs)
    assert sorted(found) == sorted(expected)
    for name, tensor in expected.items():
        assert found[name].data.tobytes() == tensor.data.tobytes(), name
    found, expected = metadata(ours), metadata(theirs)
    found.pop("pleat.history", None)
    assert expected["tokenizer.ggml.suppress_tokens"][1] == [6, 7]
    assert found == expected
    expected = architectures.logits(folder, ROWS)
    assert rms(expected) > 2
    assert np.abs(logits(ours, ROWS) - expected).max() < AMPLIFIED


def _with_towers(folder: Path, to: Path) -> Path:
    """The text model of gemma3n under the names of the whole model, the only one in mlx_lm."""
    shutil.copytree(folder, to)
    tensors = {
        name.replace("model.", "model.language_model."): value
        for name, value in safetensors.torch.load_file(folder / "model.safetensors").items()
    }
    safetensors.torch.save_file(tensors, to / "model.safetensors", metadata={"format": "pt"})
    config = {"model_type": "gemma3n", "text_config": json.loads((to / "config.json").read_text())}
    (to / "config.json").write_text(json.dumps(config))
    return to


@pytest.mark.parametrize("name", CASES)
def test_mlx_computes_what_transformers_does(pleat, folders, tmp_path, name):
    load_model = pytest.importorskip("mlx_lm.utils").load_model
    import mlx.core as mx

    expected = architectures.logits(folders[name], ROWS)
    folder = folders[name]
    if name == "gemma3n":
        folder = _with_towers(folder, tmp_path / "whole")
    path = tmp_path / "mlx"
    pleat.run("convert", folder, "--to", "mlx", "--dtype", "F32", "-o", path)
    model, _ = load_model(path)
    found = np.array(model(mx.array(ROWS.astype(np.int32))).astype(mx.float32))
    assert rms(expected) > 2
    assert np.abs(found - expected).max() < 1e-3


def test_merged_pieces_give_the_same_tokens(pleat, folders, tmp_path):
    path = tmp_path / "model.gguf"
    pleat.run("convert", folders["gemma4"], "--to", "gguf", "-o", path)
    tokenizer = Tokenizer.from_file(str(folders["gemma4"] / "tokenizer.json"))
    model = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
    texts = [*SCRIPTS, " a  b\n\n c", "<|turn>user\nhi<turn|>", "x<|channel>thought<channel|>", ""]
    for text in texts:
        found = model.tokenize(text.encode(), special=True)
        assert found == tokenizer.encode(text).ids, text
    model.close()


REFUSED = [
    ("gemma4", "num_kv_shared_layers", 3, "unsupported"),
    ("gemma4", "num_kv_shared_layers", 5, "malformed"),
    ("gemma4", "layer_types", ["full_attention"] * 4 + ["sliding_attention"], "malformed"),
    ("gemma4", "use_bidirectional_attention", "all", "unsupported"),
    ("gemma4", "attention_bias", True, "unsupported"),
    ("gemma4", "per_layer_config", {"1": {"head_dim": 64}}, "unsupported"),
    ("gemma3n", "altup_num_inputs", 5, "unsupported"),
    ("gemma3n", "laurel_rank", 32, "unsupported"),
    ("gemma3n", "num_kv_shared_layers", 1, "unsupported"),
    ("gemma3n", "activation_sparsity_pattern", [0.95, 0.95, 0.0], "unsupported"),
    ("gemma3n", "intermediate_size", [2048, 2048, 1024], "unsupported"),
    ("gemma3n", "final_logit_softcapping", 20.0, "unsupported"),
    ("gemma3n", "vocab_size", 9000, "malformed"),
]


@pytest.mark.parametrize(("name", "key", "value", "kind"), REFUSED)
def test_a_config_that_llama_does_not_compute_is_refused(
    pleat, folders, tmp_path, name, key, value, kind
):
    folder = tmp_path / "changed"
    shutil.copytree(folders[name], folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    result = pleat.attempt("convert", folder, "--to", "gguf", "-o", tmp_path / "out.gguf")
    assert result.returncode == STATUS[kind], result.stderr
    assert key in result.stderr or key == "vocab_size" and "embed_tokens_per_layer" in result.stderr
    assert not (tmp_path / "out.gguf").exists()
