"""Vocabularies of tiktoken and tekken.json give the ids that transformers' converters give them."""

import json
from unicodedata import category

import converter
import pytest

from ranked_vocabularies import COUNT, MISTRAL_TOKENS, TIKTOKEN, write_tekken, write_tiktoken
from test_tokenizer import convert, expect_same, fields, llama_ids, value
from tokenizer_models import Tokenizer, edit, texts, write_model

__all__ = ["convert"]

SPECIAL = [
    "<|im_start|>user\nHello<|im_end|>\n<|endoftext|>",
    "[BOS]a [EOS]<think>  b<|reserved_token_905|> <|reserved_token_1155|>[PAD]",
    "<|bos|><|extra_0|> x<|extra_204|><|extra_205|>",
    "<s>[INST] a[/INST]b</s> <SPECIAL_29><pad>[TOOL_CALLS]",
]


def samples(name: str) -> list[str]:
    """Texts in all scripts, without what llama.cpp splits differently, as the notes say."""
    found = texts()
    if name in ("kimi", "tekken"):
        found = [text for text in found if not any(category(sign)[0] == "M" for sign in text)]
        found = [text.lower() for text in found]
    assert len(found) > 120
    return found + SPECIAL


# The sizes that the converter asks for, which are not those of the model.
SETTINGS = {
    "qwen": {},
    "hunyuan": {
        "vocab_size": COUNT + 210,
        "moe_intermediate_size": [64],
        "moe_topk": [1],
        "num_shared_expert": [1],
        "num_experts": 2,
    },
    "kimi": {
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 8,
        "kv_lora_rank": 16,
        "v_head_dim": 16,
        "first_k_dense_replace": 1,
        "moe_intermediate_size": 32,
        "n_routed_experts": 2,
        "n_shared_experts": 1,
        "routed_scaling_factor": 1.0,
    },
}


@pytest.mark.llama
@pytest.mark.parametrize("name", TIKTOKEN)
def test_tiktoken_has_the_ids_of_transformers_and_the_keys_of_the_converter(
    tmp_path, convert, name
):
    rows = {"rows": COUNT + 210} if name == "hunyuan" else {}
    ids = {"bos_token_id": 5, "eos_token_id": 7}
    folder = write_model(tmp_path / "model", **rows, **({} if name == "qwen" else ids))
    tokenizer = write_tiktoken(folder, name)
    path = convert(folder)
    checked = samples(name)
    expect_same(checked, llama_ids(path, checked), [tokenizer.encode(t).ids for t in checked])
    model, pre = TIKTOKEN[name][5:]
    edit(
        folder / "config.json",
        lambda config: config.update(architectures=[model], **SETTINGS[name]),
    )
    converter.convert(folder, {"f16": tmp_path / "x"}, pre, "--vocab-only")
    found, expected = fields(path), fields(tmp_path / "x")
    if name == "hunyuan":  # The converter writes the id that <|bos|> has in the published model.
        assert found["tokenizer.ggml.bos_token_id"][1] == COUNT + 2
        expected["tokenizer.ggml.bos_token_id"] = found["tokenizer.ggml.bos_token_id"]
    if name == "kimi":  # The converter looks only in config.json.
        assert found["tokenizer.ggml.eos_token_id"][1] == 7
    assert list(found.items()) == list(expected.items())


@pytest.mark.llama
def test_tekken_has_the_ids_and_the_merges_of_transformers(tmp_path, convert, pleat):
    folder = write_model(tmp_path / "model", rows=COUNT)
    tokenizer = write_tekken(folder)
    path = convert(folder)
    checked = samples("tekken")
    expected = [[1, *tokenizer.encode(text).ids] for text in checked]
    expect_same(checked, llama_ids(path, checked), expected)
    model = json.loads(tokenizer.to_str())["model"]
    assert value(path, "tokens") == sorted(model["vocab"], key=model["vocab"].get)
    assert value(path, "merges") == [" ".join(pair) for pair in model["merges"]]
    kinds = [3] * 30 + [1] * (COUNT - 30)
    assert value(path, "token_type") == kinds and value(path, "scores") == [0.0] * COUNT
    for kind, text in {"bos": "<s>", "eos": "</s>", "unknown": "<unk>", "padding": "<pad>"}.items():
        assert value(path, f"{kind}_token_id") == MISTRAL_TOKENS.index(text)
    assert value(path, "add_bos_token") is True and value(path, "add_eos_token") is False
    assert fields(path)["tokenizer.chat_template"][1] == "mistral-v3-tekken"
    back = tmp_path / "back"
    pleat.run("convert", path, "--to", "safetensors", "-o", back)
    returned = Tokenizer.from_file(str(back / "tokenizer.json"))
    expect_same(checked, [returned.encode(text).ids for text in checked], expected)
    # This is a name of llama.cpp, not a template.
    assert not (back / "chat_template.jinja").exists()
