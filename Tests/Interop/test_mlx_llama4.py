"""Text models of Llama 4 in MLX: mlx_lm computes what transformers does."""

import json
from pathlib import Path

import architectures
import numpy as np
import pytest
from architectures import Case, config_of, edited
from arranged_architectures import LLAMA4
from mlx_models import arrays, mlx_lm, mx

ROWS = architectures.tokens(64)
# Logits have a root mean square of 2.5. In F32 only the order of sums differs. Measured: 4e-5.
SUMS = 5e-4
GROUPS = ["-b", 4, "-g", 32, "--parameters", "F32"]
# mlx-lm chooses one expert, and normalizes queries and keys with this number.
VALUES = LLAMA4 | dict(num_experts_per_tok=1, rms_norm_eps=1e-6)
ALL_LAYERS = dict(interleave_moe_layer_step=1)
DENSE = dict(
    num_local_experts=0,
    moe_layers=[],
    tie_word_embeddings=True,
    no_rope_layers=[1] * 5,
    rope_parameters=dict(rope_type="default", rope_theta=500000.0),
)


def make(folder: Path, name: str = "llama4", edit=None, **values) -> Path:
    config = config_of("Llama4TextConfig", **(VALUES | values))
    return architectures.make(Case(name, config, "llama3", edit=edit), folder)


def logits(folder: Path, prompt: int | None = None) -> np.ndarray:
    """What mlx_lm computes in F32; after a prompt of some tokens one by one, with its caches."""
    model, _ = mlx_lm.utils.load_model(folder)
    model.set_dtype(mx.float32)
    if prompt is None:
        return np.array(model(mx.array(ROWS)))
    cache = mlx_lm.models.cache.make_prompt_cache(model)
    parts = [ROWS[:, :prompt], *np.split(ROWS[:, prompt:], ROWS.shape[1] - prompt, axis=1)]
    return np.concatenate([np.array(model(mx.array(part), cache=cache)) for part in parts], axis=1)


def expect_same(found: np.ndarray, expected: np.ndarray) -> None:
    assert np.abs(found - expected).max() < SUMS


@pytest.mark.parametrize(
    "values",
    [{}, dict(attention_chunk_size=24), ALL_LAYERS | dict(tie_word_embeddings=True), DENSE],
    ids=["two-kinds", "chunks", "tied", "dense"],
)
def test_mlx_computes_what_transformers_does(pleat, tmp_path, values):
    folder, out = make(tmp_path, **values), tmp_path / "mlx"
    pleat.run("convert", folder, "--to", "mlx", "--dtype", "F32", "-o", out)
    expected = architectures.logits(folder, ROWS)
    expect_same(logits(out), expected)
    expect_same(logits(out, prompt=40), expected)
    config = json.loads((out / "config.json").read_text())
    assert config["model_type"] == ("llama4_text" if values is DENSE else "llama4")
    assert config["eos_token_id"] == 401
    pleat.run("verify", out, "--against", folder, "--tolerance", 0)


def test_keys_that_a_config_leaves_out_are_stated(pleat, tmp_path):
    """mlx-lm requires them; transformers has defaults."""
    removed = ("attention_bias", "attention_chunk_size", "use_qk_norm", "no_rope_layers")
    folder, out = make(tmp_path, edit=edited(remove=removed)), tmp_path / "mlx"
    pleat.run("convert", folder, "--to", "mlx", "--dtype", "F32", "-o", out)
    expect_same(logits(out), architectures.logits(folder, ROWS))


@pytest.fixture(scope="module")
def made(pleat, tmp_path_factory) -> dict[str, Path]:
    """A model and its files: as GGUF, and quantized for mlx_lm from both."""
    folder = make(tmp_path_factory.mktemp("llama4"))
    paths = {name: folder.parent / name for name in ("mlx", "mlx-of-gguf")}
    paths |= {"folder": folder, "gguf": folder.parent / "model.gguf"}
    pleat.run("convert", folder, "--to", "gguf", "--dtype", "F32", "-o", paths["gguf"])
    pleat.run("quantize", folder, "--to", "mlx", *GROUPS, "-o", paths["mlx"])
    pleat.run("quantize", paths["gguf"], "--to", "mlx", *GROUPS, "-o", paths["mlx-of-gguf"])
    return paths


def test_quantized_experts_compute_what_their_decoded_weights_do(pleat, made, tmp_path):
    decoded, back = tmp_path / "decoded.gguf", tmp_path / "back"
    pleat.run("convert", made["mlx"], "--to", "gguf", "--dtype", "F32", "-o", decoded)
    pleat.run("convert", decoded, "--to", "safetensors", "-o", back)
    expected = architectures.logits(back, ROWS)
    assert np.abs(expected - architectures.logits(made["folder"], ROWS)).max() > 100 * SUMS
    expect_same(logits(made["mlx"]), expected)


def test_a_gguf_file_becomes_the_same_folder(pleat, made, tmp_path):
    ours, theirs = arrays(made["mlx"]), arrays(made["mlx-of-gguf"])
    assert sorted(ours) == sorted(theirs)
    differing = [name for name in ours if not np.array_equal(ours[name], theirs[name])]
    assert not differing
    expect_same(logits(made["mlx-of-gguf"]), logits(made["mlx"]))
    plain = tmp_path / "plain"
    pleat.run("convert", made["gguf"], "--to", "mlx", "-o", plain)
    expect_same(logits(plain), architectures.logits(made["folder"], ROWS))


def test_the_folder_is_read_again(pleat, made, tmp_path):
    plain, back = tmp_path / "plain", tmp_path / "back.gguf"
    pleat.run("convert", made["folder"], "--to", "mlx", "--dtype", "F32", "-o", plain)
    pleat.run("convert", plain, "--to", "gguf", "-o", back)
    pleat.run("verify", back, "--against", made["folder"], "--tolerance", 0)
    tokens = tmp_path / "tokens.bin"
    tokens.write_bytes(ROWS.astype("<u2").tobytes())
    options = ("--tokens", tokens, "--context", 64, "--score", "all", "--bos", "no", "--json")
    losses = [
        json.loads(pleat.run("eval", path, *options))["chunkLosses"]
        for path in (made["folder"], plain)
    ]
    assert losses[0] == losses[1]
    result = pleat.attempt("convert", plain, "--to", "safetensors", "-o", tmp_path / "names")
    assert result.returncode == 0
    assert "experts keep the names of mlx-lm" in result.stderr


@pytest.mark.parametrize(
    "values,key",
    [
        (dict(num_experts_per_tok=2), "num_experts_per_tok"),
        (dict(no_rope_layers=[1] * 5), "no_rope_layers"),
        (DENSE | dict(no_rope_layers=[1, 1, 1, 0, 1]), "use_qk_norm"),
        (DENSE | dict(rope_parameters=LLAMA4["rope_parameters"]), "rope_scaling"),
        (DENSE | dict(tie_word_embeddings=False), "lm_head.weight"),
    ],
)
def test_what_mlx_does_not_compute_is_refused(pleat, tmp_path, values, key):
    folder = make(tmp_path, **values)
    result = pleat.attempt("convert", folder, "--to", "mlx", "-o", tmp_path / "out")
    assert result.returncode == 69
    assert key in result.stderr
