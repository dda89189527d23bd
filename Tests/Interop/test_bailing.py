"""Ling and Ring 1 and 2, whose class is published beside the weights: mlx-lm computes them instead."""

import json
import zlib
from pathlib import Path

import architectures
import converter
import engine_runs
import ggml
import gguf
import numpy as np
import pytest
import safetensors.torch
import torch
from architecture_tokenizers import PRE_TOKENIZERS, TOKENIZERS
from llama_runs import logits
from test_architectures import EXACT, LABELS, converted_metadata
from test_llama import rms

mlx_models = pytest.importorskip("mlx_models")
pytestmark = pytest.mark.llama
WIDTH, HEADS, KEY_HEADS, HEAD, EXPERTS, EXPERT_WIDTH = 128, 4, 2, 32, 8, 96
COMMON = {
    "model_type": "bailing_moe", "hidden_size": WIDTH, "intermediate_size": 192,
    "num_hidden_layers": 3, "num_attention_heads": HEADS, "num_key_value_heads": KEY_HEADS,
    "head_dim": HEAD, "max_position_embeddings": 512, "vocab_size": architectures.VOCABULARY,
    "num_experts": EXPERTS, "num_experts_per_tok": 3, "moe_intermediate_size": EXPERT_WIDTH,
    "num_shared_experts": 1, "norm_topk_prob": True, "rms_norm_eps": 1e-6, "rope_theta": 600000.0,
    "rope_scaling": None, "hidden_act": "silu", "use_bias": False, "use_qkv_bias": False,
    "tie_word_embeddings": False, "torch_dtype": "float32", "bos_token_id": 400,
    "eos_token_id": 401,
}  # fmt: skip
CONFIGS = {
    "ling": COMMON | {
        "architectures": ["BailingMoeForCausalLM"], "first_k_dense_replace": 0, "norm_head": False,
        "num_shared_experts": 2,
    },
    "ling2": COMMON | {
        "architectures": ["BailingMoeV2ForCausalLM"], "first_k_dense_replace": 1,
        "use_qk_norm": True, "partial_rotary_factor": 0.5, "score_function": "sigmoid",
        "n_group": 4, "topk_group": 2, "routed_scaling_factor": 2.5,
        "moe_router_enable_expert_bias": True, "num_nextn_predict_layers": 0,
    },
}  # fmt: skip


def shapes(config: dict) -> dict[str, tuple[int, ...]]:
    """The shapes of all tensors by name."""
    found = {"model.word_embeddings": (architectures.VOCABULARY, WIDTH), "model.norm": (WIDTH,)}
    found["lm_head"] = (architectures.VOCABULARY, WIDTH)
    for layer in range(config["num_hidden_layers"]):
        path = f"model.layers.{layer}"
        found[f"{path}.attention.query_key_value"] = ((HEADS + 2 * KEY_HEADS) * HEAD, WIDTH)
        found[f"{path}.attention.dense"] = (WIDTH, HEADS * HEAD)
        norms = ["input_layernorm", "post_attention_layernorm"]
        found |= {f"{path}.{norm}": (WIDTH,) for norm in norms}
        if config.get("use_qk_norm"):
            found |= {f"{path}.attention.{name}_layernorm": (HEAD,) for name in ("query", "key")}
        networks = {"mlp": config["intermediate_size"]}
        if layer >= config["first_k_dense_replace"]:
            found[f"{path}.mlp.gate"] = (EXPERTS, WIDTH)
            networks = {f"mlp.experts.{number}": EXPERT_WIDTH for number in range(EXPERTS)}
            networks["mlp.shared_experts"] = EXPERT_WIDTH * config["num_shared_experts"]
        for network, inner in networks.items():
            for name, shape in {
                "gate_proj": (inner, WIDTH), "up_proj": (inner, WIDTH), "down_proj": (WIDTH, inner),
            }.items():  # fmt: skip
                found[f"{path}.{network}.{name}"] = shape
    return found


def make(name: str, folder: Path) -> Path:
    """Writes a model with random weights that give logits which are far from uniform."""
    config, path = CONFIGS[name], folder / name
    path.mkdir()
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    tensors = {}
    for stem, shape in shapes(config).items():
        numbers = torch.randn(shape, generator=generator)
        if len(shape) == 1:
            numbers = 1 + 0.2 * numbers
        elif stem != "model.word_embeddings":
            numbers *= (2.5 if stem == "lm_head" else 1.5) / shape[-1] ** 0.5
        tensors[f"{stem}.weight"] = numbers
        if config.get("moe_router_enable_expert_bias") and stem.endswith("mlp.gate"):
            tensors[f"{stem}.expert_bias"] = 0.3 * torch.randn(EXPERTS, generator=generator).abs()
    safetensors.torch.save_file(tensors, path / "model.safetensors", {"format": "pt"})
    (path / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    TOKENIZERS["qwen2"](path, name, "qwen2")
    return path


@pytest.fixture(scope="module", params=CONFIGS, ids=str)
def model(request, tmp_path_factory) -> Path:
    return make(request.param, tmp_path_factory.mktemp(request.param))


def mlx_logits(folder: Path, rows: np.ndarray) -> np.ndarray:
    return mlx_models.load(folder)(torch.from_numpy(rows)).logits.numpy()


@pytest.mark.parametrize("type", ["f32", "bf16"])
def test_file_of_the_converter(pleat, model, type, tmp_path):
    ours, theirs = tmp_path / "ours.gguf", tmp_path / "theirs.gguf"
    pleat.run("convert", model, "--to", "gguf", "--dtype", type, "-o", ours)
    converter.convert(model, {type: theirs}, PRE_TOKENIZERS["qwen2"])
    found, expected = (
        {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors} for path in (ours, theirs)
    )
    assert sorted(found) == sorted(expected) and len(expected) > 30
    for name, tensor in expected.items():
        assert found[name].tensor_type == tensor.tensor_type, name
        assert found[name].shape.tolist() == tensor.shape.tolist(), name
        assert found[name].data.tobytes() == tensor.data.tobytes(), name
    left_out = {"pleat.history", *(f"general.{label}" for label in LABELS)}
    found, expected = (
        {key: value for key, value in converted_metadata(path).items() if key not in left_out}
        for path in (ours, theirs)
    )
    differing = {key for key in found | expected if found.get(key) != expected.get(key)}
    assert not {key: (found.get(key), expected.get(key)) for key in differing}


def test_llama_cpp_computes_what_mlx_lm_does(pleat, model, tmp_path):
    rows = architectures.tokens(48)
    expected = mlx_logits(model, rows)
    path = tmp_path / "model.gguf"
    pleat.run("convert", model, "--to", "gguf", "--dtype", "F32", "-o", path)
    assert rms(expected) > 1
    assert np.abs(logits(path, rows) - expected).max() < EXACT


def test_mlx_folder(pleat, model, tmp_path):
    rows = architectures.tokens(24)
    plain, packed, decoded = (tmp_path / name for name in ("plain", "packed", "decoded"))
    pleat.run("convert", model, "--to", "mlx", "--dtype", "F32", "-o", plain)
    np.testing.assert_array_equal(mlx_logits(plain, rows), mlx_logits(model, rows))
    pleat.run("quantize", model, "--to", "mlx", "-b", 8, "-g", 64, "-o", packed)
    pleat.run("convert", packed, "--to", "safetensors", "--dtype", "F32", "-o", decoded)
    difference = mlx_logits(packed, rows) - mlx_logits(decoded, rows)
    assert np.abs(difference).max() < EXACT


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("ling", "norm_head", True),
        ("ling", "first_k_dense_replace", 1),
        ("ling2", "num_shared_experts", 2),
        ("ling2", "use_bias", True),
    ],
)
def test_refused(pleat, name, key, value, tmp_path):
    folder = make(name, tmp_path)
    config = CONFIGS[name] | {key: value}
    (folder / "config.json").write_text(json.dumps(config))
    result = pleat.attempt("convert", folder, "--to", "gguf", "-o", tmp_path / "no.gguf")
    assert result.returncode == 69 and key in result.stderr


def test_back(pleat, model, tmp_path):
    """GGUF to a checkpoint with the same tensors, which gives the same file again."""
    rows = architectures.tokens(24)
    first, again, back = (tmp_path / name for name in ("first.gguf", "again.gguf", "back"))
    pleat.run("convert", model, "--to", "gguf", "--dtype", "F32", "-o", first)
    result = pleat.attempt("convert", first, "--to", "safetensors", "-o", back)
    assert result.returncode == 0 and "no class Bailing" in result.stderr
    found, expected = (
        safetensors.torch.load_file(folder / "model.safetensors") for folder in (back, model)
    )
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    np.testing.assert_array_equal(mlx_logits(back, rows), mlx_logits(model, rows))
    pleat.run("convert", back, "--to", "gguf", "--dtype", "F32", "-o", again)
    assert ggml.blocks(first) == ggml.blocks(again)
    differing = {
        key
        for key, value in converted_metadata(first).items()
        if converted_metadata(again).get(key) != value
    }
    assert differing <= {"pleat.history", *(f"general.{label}" for label in LABELS)}


def test_pleat_computes_what_mlx_lm_does(pleat, model, tmp_path):
    rows = architectures.tokens(64)
    file = tmp_path / "model.gguf"
    pleat.run("convert", model, "--to", "gguf", "--dtype", "F32", "-o", file)
    expected = engine_runs.losses(mlx_logits(model, rows), rows).mean(1)
    for path in (model, file):
        report = engine_runs.evaluation(pleat, path, rows, tmp_path)
        assert np.allclose(report["chunkLosses"], expected, rtol=engine_runs.MEANS)
