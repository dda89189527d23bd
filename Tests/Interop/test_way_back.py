"""GGUF files back to Hugging Face checkpoints, which transformers and mlx-lm load."""

import json
import shutil
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import adapters
import architectures
import converter
import gguf
import gguf_files
import models
import numpy as np
import pytest
import torch
import transformers
from architecture_tokenizers import PRE_TOKENIZERS
from architectures import CASES, Case
from arranged_architectures import ARRANGED_CASES
from expert_architectures import EXPERT_CASES
from llama_runs import logits as llama_logits
from other_architectures import OTHER_CASES
from recurrent_architectures import MORE_RECURRENT_CASES, RECURRENT_CASES
from test_llama import rms
from tokenizer_models import texts

pytestmark = pytest.mark.llama
ROWS = torch.arange(3, 43)[None]
BACK_CASES = [
    *CASES, *OTHER_CASES, *EXPERT_CASES, *ARRANGED_CASES, *RECURRENT_CASES, *MORE_RECURRENT_CASES,
]  # fmt: skip
# Their weights have the factors of the config, which states 1 then.
MULTIPLIED = ("falcon-h1", "falcon-h1-plain")
SUMS = 1e-4
# The table of GELU, sums of norms plus one: with F32 weights nothing else differs.
EXACT = 1e-5


@dataclass
class Made:
    """A model, as GGUF in F32, and what came back."""

    case: Case
    folder: Path
    gguf: Path
    back: Path


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        found = model(ROWS)
    return getattr(found, "logits", None) if hasattr(found, "logits") else found.last_hidden_state


def load(folder: Path):
    """The model, and the names of tensors that did not fit it."""
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    return model.eval(), {name for names in info.values() for name in names}


@pytest.fixture(
    scope="module",
    params=BACK_CASES,
    ids=str,
)
def made(request, pleat, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param.name)
    source = architectures.make(request.param, folder)
    result = Made(request.param, source, folder / "model.gguf", folder / "back")
    pleat.run("convert", source, "--to", "gguf", "--dtype", "F32", "-o", result.gguf)
    yield result
    shutil.rmtree(folder)


def test_the_checkpoint_computes_the_same(pleat, made):
    pleat.run("convert", made.gguf, "--to", "safetensors", "-o", made.back)
    source = getattr(transformers, made.case.auto).from_pretrained(made.folder, dtype=torch.float32)
    model, strangers = load(made.back)
    # Layers for several tokens at once are in both; transformers does not use them.
    layers = json.loads((made.back / "config.json").read_text())["num_hidden_layers"]
    assert all(name.startswith(f"model.layers.{layers}.") for name in strangers)
    expected = logits(source.eval())
    atol = SUMS if made.case.name in MULTIPLIED else EXACT
    assert torch.allclose(logits(model), expected, rtol=0, atol=atol)
    if made.case.tokenizer in ("llama3", "qwen2", "gemma4"):
        original, copy = (
            transformers.AutoTokenizer.from_pretrained(path) for path in (made.folder, made.back)
        )
        # llama.cpp does not normalize texts.
        samples = [text for text in texts(240) if unicodedata.is_normalized("NFC", text)]
        assert len(samples) >= 200
        assert copy(samples)["input_ids"] == original(samples)["input_ids"]
    # Tensor by tensor, with rows and names of Hugging Face.
    assert "worst 0 at" in pleat.run("verify", made.back, "--against", made.gguf)
    # To GGUF again: the same file.
    again = made.back.with_suffix(".gguf")
    tokenizer = ["--tokenizer-from", made.gguf]
    pleat.run("convert", made.back, "--to", "gguf", "--dtype", "F32", *tokenizer, "-o", again)
    found, wanted = (
        adapters.decoded(pleat, path, path.with_suffix(".d")) for path in (again, made.gguf)
    )
    assert sorted(found) == sorted(wanted)
    for name, values in wanted.items():
        np.testing.assert_array_equal(found[name], values, name)


def named(tensors: dict, name: str) -> torch.Tensor | None:
    """A tensor of the original, whose class may put other words before all names."""
    others = (name, name.removeprefix("model."), name.replace("model.", "model.language_model.", 1))
    found = next((tensors[other] for other in others if other in tensors), None)
    path, _, rest = name.partition(".mlp.")
    fused = tensors.get(f"{path}.shared_mlp.input_linear.weight")
    if found is not None or fused is None:
        return found
    # granitemoehybrid comes back as granite.
    gate, up = fused.chunk(2)
    down = tensors[f"{path}.shared_mlp.output_linear.weight"]
    return {"gate_proj": gate, "up_proj": up, "down_proj": down}[rest.removesuffix(".weight")]


def test_files_of_the_converter_come_back(pleat, made, tmp_path):
    # The converter takes configs of the last cases for those of models with experts.
    if made.case.name in MULTIPLIED or made.case in MORE_RECURRENT_CASES:
        return
    theirs = {type: tmp_path / f"{type}.gguf" for type in ("f16", "bf16")}
    pre = PRE_TOKENIZERS[made.case.tokenizer]
    converter.convert(made.folder, theirs, pre, *made.case.options)
    source = getattr(transformers, made.case.auto).from_pretrained(made.folder)
    expected = {name: tensor.float() for name, tensor in source.state_dict().items()}
    for type, stated in {"f16": "float16", "bf16": "bfloat16"}.items():
        out = tmp_path / type
        # The converter states another context for glm. granitemoehybrid comes back as granite.
        has_other = made.case.name in ("glm", "granite-hybrid")
        donor = ["--config-from", made.folder] if type == "f16" and not has_other else []
        pleat.run("convert", theirs[type], "--to", "safetensors", *donor, "-o", out)
        assert json.loads((out / "config.json").read_text())["dtype"] == stated
        for name, tensor in load(out)[0].state_dict().items():
            own = named(expected, name)
            if own is None:  # the head of a model that embeds texts
                assert name == "lm_head.weight"
                continue
            # Vectors stay in F32, and norms plus one lose digits of small numbers.
            values = (own, own.to(getattr(torch, stated)).float())
            close = [torch.isclose(tensor, value, rtol=0, atol=1e-7) for value in values]
            assert bool((close[0] | close[1]).all()), name


def test_verify_compares_numbers_of_the_metadata(pleat, tmp_path):
    case = next(case for case in OTHER_CASES if case.name == "apertus")
    source, path, back = architectures.make(case, tmp_path), tmp_path / "m.gguf", tmp_path / "back"
    pleat.run("convert", source, "--to", "gguf", "-o", path)
    pleat.run("convert", path, "--to", "safetensors", "-o", back)
    for model, reference in ((path, source), (back, path)):
        pleat.run("verify", model, "--against", reference)
    data = path.read_bytes()
    key = b"xielu.beta"
    # After the key come the types of the list and of its elements, and their number.
    start = data.index(key) + len(key) + 4 + 4 + 8
    changed = np.float32(0.25).tobytes()
    path.write_bytes(data[:start] + changed + data[start + len(changed) :])
    for model, reference in ((path, source), (back, path)):
        result = pleat.attempt("verify", model, "--against", reference)
        assert result.returncode != 0
        assert "xielu.beta" in result.stdout + result.stderr


# Quantized files of tinylm


SIMPLE = ["--rule", "*embed*=keep", "--rule", "lm_head*=keep"]


def reference(pleat, path: Path, tinylm: Path, out: Path) -> np.ndarray:
    """The logits of the decoded weights."""
    pleat.run("convert", path, "--to", "safetensors", "--dtype", "F32", "-o", out)
    return models.logits(models.load(out, tinylm), models.reference_rows()[:4])


@pytest.mark.parametrize("type", ["Q4_0", "Q4_1", "Q4_K_M"])
def test_decoded_blocks_compute_what_llama_computes(pleat, quantized_gguf, tinylm, tmp_path, type):
    path = quantized_gguf(type)
    expected = reference(pleat, path, tinylm, tmp_path / "plain")
    found = llama_logits(path, models.reference_rows()[:4])
    assert rms(found - expected) < 0.1 * rms(expected)
    assert np.mean(found.argmax(-1) == expected.argmax(-1)) > 0.95


@pytest.mark.parametrize("offset", ["bias", "none"])
def test_mlx_runs_the_same_codes(pleat, tinylm, tmp_path, offset):
    mlx_models = pytest.importorskip("mlx_models")
    path, out = tmp_path / "model.gguf", tmp_path / "mlx"
    pleat.run("quantize", tinylm, "--to", "gguf", "-b", 4, "--offset", offset, *SIMPLE, "-o", path)
    pleat.run("convert", path, "--to", "mlx", "-o", out)
    rows = torch.from_numpy(models.reference_rows()[:4].astype(np.int64))
    found = np.asarray(mlx_models.load(out)(rows).logits)
    expected = reference(pleat, path, tinylm, tmp_path / "plain")
    assert np.abs(found - expected).max() < 1e-3


@pytest.mark.parametrize("to", ["gptq", "awq", "compressed-tensors"])
def test_checkpoints_hold_the_same_codes(pleat, tinylm, tmp_path, to):
    """The tests of these formats load such files in their own libraries."""
    path, out = tmp_path / "model.gguf", tmp_path / "out"
    pleat.run("quantize", tinylm, "--to", "gguf", "-b", 4, "--offset", "none", *SIMPLE, "-o", path)
    pleat.run("convert", path, "--to", to, "-o", out)
    expected = reference(pleat, path, tinylm, tmp_path / "plain")
    found = reference(pleat, out, tinylm, tmp_path / "decoded")
    np.testing.assert_array_equal(found, expected)
    method = json.loads((out / "config.json").read_text())["quantization_config"]["quant_method"]
    assert method == to


# Metadata that no config states


FLOAT, COUNT = gguf.GGUFValueType.FLOAT32, gguf.GGUFValueType.UINT32
STRANGE = {
    "llama.attention.scale": (0.25, FLOAT),
    "llama.rope.dimension_count": (32, COUNT),
    "llama.attention.value_length": (32, COUNT),
    "llama.attention.sliding_window": (64, COUNT),
    "llama.expert_count": (4, COUNT),
    "llama.block_count": (7, COUNT),
    "llama.feed_forward_length": (512, COUNT),
}


@pytest.mark.parametrize("key", STRANGE)
def test_other_metadata_is_refused_with_its_key(pleat, tinylm_f16_gguf, tmp_path, key):
    path = tmp_path / "strange.gguf"
    gguf_files.edited(tinylm_f16_gguf, path, {key: STRANGE[key]})
    result = pleat.attempt("convert", path, "--to", "safetensors", "-o", tmp_path / "out")
    assert result.returncode in (65, 69)
    named = (key, "blk.0", "model.layers.", "expert", "intermediate_size", "num_hidden_layers")
    assert any(word in result.stderr for word in named), result.stderr
    assert not (tmp_path / "out").exists()


def test_a_copy_of_the_metadata_is_no_reason_to_refuse(pleat, tinylm_f16_gguf, tmp_path):
    path = gguf_files.edited(tinylm_f16_gguf, tmp_path / "same.gguf", {})
    pleat.run("convert", path, "--to", "safetensors", "-o", tmp_path / "out")


# The config of a folder


def stretched(folder: Path, tinylm: Path) -> Path:
    """tinylm with rotary angles of a kind that the metadata does not name."""
    folder.mkdir()
    for file in tinylm.iterdir():
        (folder / file.name).symlink_to(file)
    path = folder / "config.json"
    scaling = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 2.0,
        "high_freq_factor": 3.0,
        "original_max_position_embeddings": 48,
    }
    config = json.loads(path.read_text()) | {"rope_scaling": scaling, "comment": "own"}
    path.unlink()
    path.write_text(json.dumps(config))
    return folder


def test_a_config_states_what_the_metadata_does_not(pleat, tinylm, tmp_path):
    source, path, out = (
        stretched(tmp_path / "source", tinylm),
        tmp_path / "model.gguf",
        tmp_path / "out",
    )
    pleat.run("convert", source, "--to", "gguf", "--dtype", "F32", "-o", path)
    command = ["convert", path, "--to", "safetensors", "-o", out]
    result = pleat.attempt(*command)
    assert result.returncode == 69 and "--config-from FOLDER" in result.stderr
    pleat.run(*command, "--config-from", source)
    config = json.loads((out / "config.json").read_text())
    assert config["comment"] == "own" and config["rope_scaling"]["low_freq_factor"] == 2.0
    expected, found = (logits(load(folder)[0]) for folder in (source, out))
    assert torch.allclose(found, expected, rtol=0, atol=EXACT)
    assert "worst 0 at" in pleat.run("verify", out, "--against", path)


WRONG = {
    "num_hidden_layers": 5,
    "rms_norm_eps": 1e-3,
    "vocab_size": 1000,
    "model_type": "qwen2",
    "rope_scaling": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    },
}


@pytest.mark.parametrize("key", WRONG)
def test_the_config_of_another_model_is_refused(pleat, tinylm, tinylm_f16_gguf, tmp_path, key):
    config = json.loads((tinylm / "config.json").read_text())
    donor, out = tmp_path / "donor", tmp_path / "out"
    donor.mkdir()
    (donor / "config.json").write_text(json.dumps(config | {key: WRONG[key]}))
    command = ["convert", tinylm_f16_gguf, "--to", "safetensors", "--config-from", donor]
    result = pleat.attempt(*command, "-o", out)
    assert result.returncode == 65 and not out.exists()
    assert "config" in result.stderr and "expected" in result.stderr


@pytest.mark.parametrize("to", ["safetensors", "gguf"])
def test_a_config_is_for_folders_made_of_gguf(pleat, tinylm, tinylm_f16_gguf, tmp_path, to):
    source = tinylm if to == "safetensors" else tinylm_f16_gguf
    command = ["convert", source, "--to", to, "--config-from", tinylm, "-o", tmp_path / "out"]
    result = pleat.attempt(*command)
    assert result.returncode == 64 and "leave --config-from out" in result.stderr
