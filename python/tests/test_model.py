"""pleat.load makes the model that transformers makes of the decoded weights, or says why not."""

import json
import shutil

import pleat
import pytest
import torch
import transformers
from pleat import PleatLinear
from training import decoded, logits

TOKENS = torch.arange(3, 40)[None]


def random_llama(folder, **settings):
    torch.manual_seed(1)
    sizes = {"hidden_size": 64, "intermediate_size": 96, "vocab_size": 64}
    heads = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = transformers.LlamaConfig(**sizes, **heads, **settings)
    transformers.LlamaForCausalLM(config).to(torch.float16).save_pretrained(folder)
    return folder


def refusal(path) -> pleat.PleatError:
    with pytest.raises(pleat.PleatError) as error:
        pleat.load(path)
    return error.value


def test_logits_equal_those_of_the_decoded_model(command, quantized, tmp_path):
    path = quantized("-b", 3, "--rule", "lm_head=8:64", "--rule", "*.0.mlp.*=keep")
    model = pleat.load(path)
    kinds = {name: type(module) for name, module in model.named_modules()}
    assert kinds["lm_head"] is kinds["model.layers.1.mlp.up_proj"] is PleatLinear
    assert kinds["model.layers.0.mlp.up_proj"] is torch.nn.Linear
    expected = decoded(command, path, tmp_path / "decoded")
    assert torch.equal(logits(model, TOKENS), logits(expected, TOKENS))
    assert model.generation_config.eos_token_id == 2


def test_sixteen_bits_are_the_weights_rounded_once(command, quantized, tmp_path):
    path = quantized("-b", 4)
    model = pleat.load(path, dtype=torch.bfloat16)
    assert {value.dtype for value in model.parameters()} == {torch.bfloat16}
    expected = decoded(command, path, tmp_path / "decoded", torch.bfloat16)
    assert torch.equal(logits(model, TOKENS), logits(expected, TOKENS))


@pytest.mark.parametrize("embeddings", ["keep", 8])
def test_tied_embeddings_stay_tied(command, tmp_path, embeddings):
    folder = random_llama(tmp_path / "model", tie_word_embeddings=True, attention_bias=True)
    path = tmp_path / "base.pleat"
    rule = ["--rule", f"embed_tokens={embeddings}"]
    command.run("quantize", folder, "--to", "pleat", "-b", 4, *rule, "-o", path)
    model = pleat.load(path)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    expected = decoded(command, path, tmp_path / "decoded")
    assert torch.equal(logits(model, TOKENS), logits(expected, TOKENS))


def test_the_tokenizer_is_that_of_the_model(quantized, tinylm):
    expected = transformers.AutoTokenizer.from_pretrained(tinylm)
    found = pleat.tokenizer(quantized("-b", 4))
    text = "def f(x):\n    return x"
    assert found(text).input_ids == expected(text).input_ids


def test_experts_are_refused_by_name(command, tmp_path):
    config = transformers.MixtralConfig(
        hidden_size=64, intermediate_size=64, vocab_size=32, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, num_local_experts=2,
    )  # fmt: skip
    transformers.MixtralForCausalLM(config).save_pretrained(tmp_path / "model")
    path = tmp_path / "base.pleat"
    command.run("quantize", tmp_path / "model", "--to", "pleat", "-o", path)
    error = refusal(path)
    assert error.kind == "unsupported" and ".experts." in error.tensor
    assert "pleat convert FILE --to safetensors" in error.hint


def test_files_without_a_known_architecture_are_refused(fixtures, command, tinylm, tmp_path):
    assert "no config.json" in str(refusal(fixtures / "golden/pleat/example.pleat"))
    folder = tmp_path / "model"
    shutil.copytree(tinylm, folder)
    config = json.loads((tinylm / "config.json").read_text())
    for change, what in (
        ({"model_type": "knitting"}, "transformers does not know this config.json"),
        ({"num_hidden_layers": 5}, "no place for tensors of the file"),
        ({"num_hidden_layers": 7}, "lacks tensors of the model"),
        ({"intermediate_size": 512}, "does not have the shape that config.json gives it"),
    ):
        (folder / "config.json").write_text(json.dumps(config | change))
        path = tmp_path / "base.pleat"
        command.run("convert", folder, "--to", "pleat", "--force", "-o", path)
        assert what in str(refusal(path)), change
