"""Hugging Face checkpoints converted to GGUF, against the converter and runtime of llama.cpp."""

import importlib.util
import json
import shutil
import zlib
from dataclasses import dataclass
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
from architecture_tokenizers import PRE_TOKENIZERS
from architectures import CASES, VOCABULARY, Case
from arranged_architectures import ARRANGED_CASES
from decoded_models import decoded
from expert_architectures import EXPERT_CASES
from llama_runs import logits
from more_architectures import MORE_CASES
from other_architectures import OTHER_CASES
from recurrent_architectures import MORE_RECURRENT_CASES, RECURRENT_CASES
from test_llama import rms

pytestmark = pytest.mark.llama
ALL_CASES = [*CASES, *OTHER_CASES, *EXPERT_CASES, *ARRANGED_CASES, *RECURRENT_CASES]
TYPES = ["f32", "f16", "bf16"]

# With F32 files only the order of sums differs. Measured on logits of 2.5 RMS: at most 5e-5, and
# 2e-4 with 300 tokens.
EXACT = 5e-4
# llama.cpp looks up GELU in a table of float16 values. Measured: 4e-3.
GELU_BY_TABLE = 1e-2
# Layers with norms of values and inputs of their own amplify it. Measured: 0.02, and 0.53 with 22
# layers, where the converter's file for tokens without inputs is off by 7.
AMPLIFIED = 0.1
# Linear attention in chunks, in another order. Measured on logits of up to 24: 0.034.
LINEAR = 0.1
# With F16 weights llama.cpp rounds activations to float16 too. Measured: 0.024.
HALVES = 0.05
# As in test_llama, activations are rounded to eight bits before they are multiplied with quantized
# weights. The measured median over tokens is 0.036 to 0.083 RMS, both for Q4_1 and Q8_0. Rounding
# the weights to four bits changes the logits by 0.3 to 1.3 RMS, to eight bits by 0.04 to 0.14.
ACTIVATION_NOISE = 0.1
# More layers, or ReLU squared, add more of it: measured up to 0.141.
NOISY = ("smollm3", "nemotron", "ernie4_5-moe", "cohere2-moe", "laguna")
# With another order of tokens, a missing layer, or other rotary pairs, logits would differ by 1 or
# more.


@dataclass
class Made:
    """A model and its converted files, each made once."""

    case: Case
    folder: Path

    def theirs(self, type: str) -> Path:
        paths = {type: self.folder.parent / f"theirs-{type}.gguf" for type in TYPES}
        if not paths[type].exists():
            pre = PRE_TOKENIZERS[self.case.tokenizer]
            converter.convert(self.folder, paths, pre, *self.case.options)
        return paths[type]

    def ours(self, pleat, type: str) -> Path:
        path = self.folder.parent / f"ours-{type}.gguf"
        if not path.exists():
            pleat.run("convert", self.folder, "--to", "gguf", "--dtype", type, "-o", path)
        return path


@pytest.fixture(scope="module", params=ALL_CASES, ids=str)
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param.name)
    yield Made(request.param, architectures.make(request.param, folder))
    shutil.rmtree(folder)


# In mlx-lm

# What Pleat does not write for mlx-lm, and the reason that it gives.
MLX_REFUSED = {
    "internlm3": "head_dim",
    "glm": "partial_rotary_factor",
    "ernie4_5-moe": "mlx-lm chooses experts without it",
    "solar-open": "rope_scaling",
    "deepseek2-lite": "rope_scaling",
    "falcon-h1": "mamba_n_groups",
    "granite-h-moe": "mamba_n_groups",
    "mamba2": "n_groups",
    "llama4": "num_experts_per_tok",
}
# It computes longer texts only as transformers does; it needs a layer with full attention.
MLX_OTHER = ("phi3-longrope", "phi4-mini", "gemma3-pictures")


def test_mlx_lm_computes_the_same(pleat, model):
    mlx_models = pytest.importorskip("mlx_models")
    out = model.folder.parent / "mlx"
    result = pleat.attempt("convert", model.folder, "--to", "mlx", "--dtype", "F32", "-o", out)
    if model.case.name in MLX_REFUSED:
        assert result.returncode == 69 and MLX_REFUSED[model.case.name] in result.stderr
        return
    assert result.returncode == 0
    # Some text models have the type of a larger one there.
    type = json.loads((out / "config.json").read_text())["model_type"]
    type = mlx_models.remapped(type)
    # That of olmo needs another package, and reads the tensors of older checkpoints.
    if type == "olmo" or importlib.util.find_spec(f"mlx_lm.models.{type}") is None:
        assert "mlx-lm has no model type" in result.stderr
        return
    if model.case.name in MLX_OTHER:
        return
    rows = architectures.tokens(24)
    found = mlx_models.load(out)(torch.from_numpy(rows)).logits.numpy()
    # Windows are longer. With F32 weights only the order of sums differs, and GELU.
    assert np.abs(found - architectures.logits(model.folder, rows)).max() < GELU_BY_TABLE


# In Pleat itself


def test_pleat_computes_the_same(pleat, model, tmp_path):
    engine_runs.expect_same_losses(pleat, model, counts(model.case), tmp_path)


# Against the converter


def without_copied_head(tensors: dict, content) -> dict:
    """Leaves out a head that equals the embeddings: llama.cpp then uses these."""
    head = tensors.get("output.weight")
    copied = head is not None and content(head) == content(tensors["token_embd.weight"])
    return {name: value for name, value in tensors.items() if not copied or value is not head}


@pytest.mark.parametrize("type", TYPES)
def test_tensors_match_the_converter(pleat, model, type):
    found, expected = (
        {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
        for path in (model.ours(pleat, type), model.theirs(type))
    )
    expected = without_copied_head(expected, lambda tensor: tensor.data.tobytes())
    assert sorted(found) == sorted(expected)
    assert len(expected) >= 7 * 2 + 1
    for name, tensor in expected.items():
        assert found[name].tensor_type == tensor.tensor_type, name
        assert found[name].shape.tolist() == tensor.shape.tolist(), name
        if name.endswith(".ssm_a"):  # e to the power of a number: off by up to one unit
            np.testing.assert_allclose(found[name].data, tensor.data, rtol=2e-7, atol=0)
        elif name == "rope_freqs.weight":  # computed in float32 there: off by up to three units
            np.testing.assert_allclose(found[name].data, tensor.data, rtol=5e-7, atol=0)
        else:
            assert found[name].data.tobytes() == tensor.data.tobytes(), name


def converted_metadata(path: Path) -> dict:
    fields = gguf.GGUFReader(path).fields
    return {
        key: ([type.name for type in field.types[:2]], field.contents())
        for key, field in fields.items()
        if not key.startswith("GGUF.")
    }


# Names that the converter derives from the folder name. llama.cpp only displays them.
LABELS = ["name", "basename", "finetune", "version", "size_label"]


def expect_derived(model: Made, found: dict, expected: dict) -> None:
    """Removes the keys that may differ, after checking that they differ only as expected."""
    for label in LABELS:
        expected.pop(f"general.{label}", None)
        found.pop(f"general.{label}", None)
    architecture = expected["general.architecture"][1]
    config = json.loads((model.folder / "config.json").read_text())
    # Keys that the config omits. transformers and llama.cpp use the same defaults for them.
    keys = {}
    if "head_dim" not in config and "text_config" not in config:
        size = config["hidden_size"] // config["num_attention_heads"]
        keys |= {f"attention.{name}_length": (["UINT32"], size) for name in ("key", "value")}
    if "rope_theta" not in config and "rope_parameters" not in config:
        keys["rope.freq_base"] = (["FLOAT32"], 10000.0)
    for key, value in keys.items():
        if f"{architecture}.{key}" not in found and f"{architecture}.{key}" in expected:
            assert expected.pop(f"{architecture}.{key}") == value
    # Without a tokenizer.json the converter does not find the unknown token.
    if "tokenizer.ggml.unknown_token_id" not in expected:
        value = found.pop("tokenizer.ggml.unknown_token_id", None)
        unknown = 3 if architecture.startswith("gemma") else 0
        assert value in (None, (["UINT32"], unknown))
    # The converter always writes this ID. llama.cpp finds the token by its text.
    if architecture == "gemma" and "tokenizer.ggml.eot_token_id" not in found:
        assert expected.pop("tokenizer.ggml.eot_token_id") == (["UINT32"], 107)
    if architecture == "chatglm":  # the converter does not read these from such a config
        assert expected.pop("chatglm.context_length") == (["UINT32"], 128)
        assert found.pop("chatglm.context_length") == (["UINT32"], 512)
        for name in ("key", "value"):
            assert found.pop(f"chatglm.attention.{name}_length") == (["UINT32"], 32)
        # The default of llama.cpp.
        assert expected.pop("tokenizer.ggml.add_bos_token") == (["BOOL"], False)
    if model.case.name == "granite-hybrid":  # the converter writes what other layers need
        for key in [key for key in expected if ".ssm." in key or ".expert_" in key]:
            expected.pop(key)
        assert expected.pop("granite.rope.scaling.finetuned") == (["BOOL"], True)
        assert expected.pop("granite.attention.head_count_kv")[1] == [2, 2]
        assert found.pop("granite.attention.head_count_kv") == (["UINT32"], 2)
    if architecture == "nemotron_h_moe":  # llama.cpp rotates nothing in it
        assert expected.pop("nemotron_h_moe.rope.dimension_count") == (["UINT32"], 32)
    if (
        "glm" in model.case.tokenizer or "glm" in architecture
    ):  # a token that byte-level tokenizers never need
        unknown = 402 if model.case.tokenizer == "solar" else 400
        assert expected.pop("tokenizer.ggml.unknown_token_id") == (["UINT32"], unknown)
    if architecture == "nemotron":  # fixed in the converter; llama.cpp does not read the epsilon
        assert expected.pop("tokenizer.ggml.unknown_token_id") == (["UINT32"], 1)
        assert found.pop("tokenizer.ggml.unknown_token_id") == (["UINT32"], 0)
        expected.pop("nemotron.attention.layer_norm_rms_epsilon")
    if architecture.startswith("hunyuan"):  # llama.cpp does not read these if nothing is scaled
        assert expected.pop(f"{architecture}.rope.scaling.type") == (["STRING"], "none")
        assert expected.pop(f"{architecture}.rope.scaling.factor") == (["FLOAT32"], 1.0)
        expected.pop(f"{architecture}.rope.scaling.original_context_length")
    if architecture in ("gemma", "gemma2", "phi2", "stablelm"):  # the converter has no such key
        value = found.pop(f"{architecture}.rope.freq_base", None)
        assert value in (None, (["FLOAT32"], 10000.0))


@pytest.mark.parametrize("type", TYPES)
def test_metadata_matches_the_converter(pleat, model, type):
    found = converted_metadata(model.ours(pleat, type))
    expected = converted_metadata(model.theirs(type))
    expect_derived(model, found, expected)
    found.pop("pleat.history", None)
    architecture = expected["general.architecture"][1]
    assert len(expected["tokenizer.ggml.tokens"][1]) == VOCABULARY
    assert sum(key.startswith(f"{architecture}.") for key in expected) >= 8
    differing = {key for key in found | expected if found.get(key) != expected.get(key)}
    assert not {key: (found.get(key), expected.get(key)) for key in differing}


# In llama.cpp


def tolerance(case: Case) -> float:
    if case.name.startswith("qwen3.5"):
        return LINEAR
    if case.name == "qwen3-next":
        return 2 * EXACT
    if case.name.startswith(("gemma3n", "gemma4")):
        return 10 * AMPLIFIED if case.name == "gemma3n-shared" else AMPLIFIED
    return GELU_BY_TABLE if case.name.startswith(("gemma", "starcoder2", "phi2")) else EXACT


def counts(case: Case) -> list[int]:
    """The lengths of rows. Beyond 256 tokens, the long factors of longrope apply."""
    return [64, 300] if case.name in ("phi3-longrope", "phi4-mini") else [64]


@pytest.mark.parametrize("type", ["f32", "f16"])
def test_logits_match_transformers(pleat, model, type):
    if type == "f16" and model.case.dtype == "BF16":
        pytest.skip("float16 cannot store these weights")
    for count in counts(model.case):
        rows = architectures.tokens(count)
        found = logits(model.ours(pleat, type), rows)
        expected = architectures.logits(model.folder, rows)
        assert rms(expected) > 2
        limit = tolerance(model.case) if type == "f32" else HALVES
        assert np.abs(found - expected).max() < limit


@pytest.mark.parametrize("case", [*MORE_CASES, *MORE_RECURRENT_CASES], ids=str)
def test_logits_match_where_the_converter_differs(pleat, case, tmp_path):
    made = Made(case, architectures.make(case, tmp_path))
    rows = architectures.tokens(64)
    expected = architectures.logits(made.folder, rows)
    assert rms(expected) > 2
    assert np.abs(logits(made.ours(pleat, "f32"), rows) - expected).max() < tolerance(case)


# Their GGUF files lack what says that the model attends to later tokens, or how angles are divided.
CHECKPOINTS = ("llama-yarn-limits", "qwen2-all-tokens")


@pytest.mark.parametrize("case", [c for c in MORE_CASES if c.name not in CHECKPOINTS], ids=str)
def test_pleat_computes_the_same_there(pleat, case, tmp_path):
    made = Made(case, architectures.make(case, tmp_path))
    engine_runs.expect_same_losses(pleat, made, [64], tmp_path)


STACKED = [case for case in EXPERT_CASES if case.name in ("qwen2-moe", "qwen3-moe", "olmoe")]


@pytest.mark.parametrize("case", STACKED, ids=str)
@pytest.mark.parametrize("options", [["convert"], ["quantize"], ["quantize", "-b", 4, "-g", 32]])
def test_stacks_of_experts_give_the_same_file(pleat, case, options, tmp_path):
    """Newer versions of transformers store the experts of a layer in two tensors."""
    separate = architectures.make(case, tmp_path)
    stacked = tmp_path / "stacked"
    shutil.copytree(separate, stacked)
    model = architectures.load(separate).to(architectures.DTYPES[case.dtype])
    model.save_pretrained(stacked, save_original_format=False)
    edited_config = (separate / "config.json").read_bytes()
    (stacked / "config.json").write_bytes(edited_config)
    names = safetensors.torch.load_file(stacked / "model.safetensors").keys()
    assert any(name.endswith("experts.gate_up_proj") for name in names)
    paths = [tmp_path / f"{folder.name}.gguf" for folder in (separate, stacked)]
    for folder, path in zip((separate, stacked), paths, strict=True):
        pleat.run(*options, folder, "--to", "gguf", "-o", path)
    assert ggml.blocks(paths[0]) == ggml.blocks(paths[1])


PREFIXES = ["model.language_model.", "language_model.model.", "thinker.model.", "model.text_model."]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_text_model_inside_a_larger_one(pleat, tmp_path, prefix):
    """The larger model has the text model's config in its own, and other names."""
    case = next(case for case in CASES if case.name == "llama-head-dim")
    folder = architectures.make(case, tmp_path)
    rows = architectures.tokens(64)
    expected = architectures.logits(folder, rows)
    larger = tmp_path / "larger"
    shutil.copytree(folder, larger)
    tensors = {
        name.replace("model.", prefix): value
        for name, value in safetensors.torch.load_file(folder / "model.safetensors").items()
    }
    tensors["vision_tower.layers.0.weight"] = torch.zeros(4, 4)
    safetensors.torch.save_file(tensors, larger / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    parts = {"text_config": config}
    if "thinker" in prefix:
        parts = {"thinker_config": parts}
    config = {"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"]} | parts
    (larger / "config.json").write_text(json.dumps(config))
    path = tmp_path / "larger.gguf"
    pleat.run("convert", larger, "--to", "gguf", "-o", path)
    assert np.abs(logits(path, rows) - expected).max() < EXACT


def turn(model: Made, types: list[str]) -> str:
    """One of the types, each for some of the models: what it does depends on no model."""
    return types[zlib.crc32(model.case.name.encode()) % len(types)]


@pytest.mark.parametrize("type", ["Q4_1", "another"])
def test_logits_of_blocks_match_transformers(pleat, model, tmp_path, type):
    type = turn(model, ["Q8_0", "Q4_K_M"]) if type == "another" else type
    if model.case in [*ARRANGED_CASES, *RECURRENT_CASES]:
        pytest.skip("its blocks are those of llama-quantize, for a file that is the converter's")
    path = tmp_path / "quantized.gguf"
    pure = ["--pure"] if type in ggml.TYPES else []
    pleat.run("quantize", model.folder, "--to", "gguf", "--type", type, *pure, "-o", path)
    rows = architectures.tokens(64)
    found = logits(path, rows)
    expected = architectures.logits(decoded(path, model.folder, tmp_path / "decoded"), rows)
    noise = np.sqrt(np.mean(np.square(found - expected), axis=-1))
    if type == "Q4_1":  # the rounding of the weights is larger than the noise
        assert rms(expected - architectures.logits(model.folder, rows)) > 3 * ACTIVATION_NOISE
    # For a few tokens a router may choose another expert, which also affects later tokens.
    limit = ACTIVATION_NOISE * (1.5 if model.case.name in NOISY else 1)
    assert np.median(noise) < limit


def halved(blocks: tuple[str, bytes]) -> tuple[str, bytes]:
    """Numbers in F32 as BF16 if that is exact."""
    type, data = blocks
    if type != "F32" or np.frombuffer(data, "<u2")[::2].any():
        return blocks
    return "BF16", np.frombuffer(data, "<u2")[1::2].tobytes()


@pytest.mark.parametrize("type", ["pure", "Q3_K_M", "Q4_K_M"])
def test_blocks_match_llama_quantize(pleat, model, tmp_path, type):
    type = turn(model, sorted(ggml.TYPES)) if type == "pure" else type
    is_pure = type in ggml.TYPES
    ggml.quantize_file(model.theirs("f32"), tmp_path / "theirs.gguf", type, pure=is_pure)
    options = ["--to", "gguf", "--scheme", "ggml", "--type", type] + ["--pure"] * is_pure
    pleat.run("quantize", model.folder, *options, "-o", tmp_path / "ours.gguf")
    found, expected = (ggml.blocks(tmp_path / f"{name}.gguf") for name in ("ours", "theirs"))
    if not is_pure and "output.weight" in set(expected) - set(found):
        pytest.skip("the converter keeps a copy of the embeddings, which a mix rounds otherwise")
    expected = without_copied_head(expected, lambda blocks: blocks)
    assert sorted(found) == sorted(expected)
    # At least four matrices per layer (if attention and feed-forward are fused), and embeddings.
    # Rows of less than 256 columns have the replacements of K types.
    types = [type] if is_pure else list(ggml.TYPES)
    assert sum(name in types for name, _ in expected.values()) >= 4 * 2 + 1
    differing = {name for name in expected if found[name] != expected[name]}
    # Matrices that are never quantized keep the type of the checkpoint.
    differing = {name for name in differing if found[name] != halved(expected[name])}
    # As above, these differ in the last bit.
    assert {name for name in differing if not name.endswith(".ssm_a")} <= {"rope_freqs.weight"}
