"""`pleat eval` and `pleat run` against transformers and llama.cpp, on models that were trained.

Random models of every architecture are in test_architectures.py.
"""

import json
import shutil

import architectures
import gguf
import models
import numpy as np
import pytest
import torch
import transformers
from engine_runs import evaluation, losses, write_tokens
from expert_architectures import EXPERT_CASES
from llama_runs import logits as llama_logits

# Only the order of sums differs. Measured on losses of single tokens: 2e-6; on means 1e-8.
EXACT = 1e-5


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return models.held_out("B")[:4]


@pytest.fixture(scope="module")
def expected(tinylm, rows) -> np.ndarray:
    return models.logits(models.load(tinylm, tinylm), rows)


def test_perplexity_is_that_of_transformers(pleat, tinylm, rows, expected, tmp_path):
    report = evaluation(pleat, tinylm, rows, tmp_path)
    found = losses(expected, rows)
    assert report["chunkCount"] == 4 and report["tokenCount"] == found.size
    assert np.allclose(report["chunkLosses"], found.mean(1), rtol=EXACT)
    assert report["perplexity"] == pytest.approx(np.exp(found.mean()), rel=EXACT)
    error = found.std() / np.sqrt(found.size - 1) * report["perplexity"]
    assert report["perplexityError"] == pytest.approx(error, rel=1e-4)


def test_the_second_half_is_what_llama_perplexity_counts(pleat, tinylm, rows, expected, tmp_path):
    tokens = tmp_path / "tokens.npy"
    np.save(tokens, rows.reshape(-1).astype(np.int64))
    options = ("--tokens", tokens, "--context", 256, "--bos", "no", "--json")
    report = json.loads(pleat.run("eval", tinylm, *options))
    found = losses(expected, rows)[:, 128:]
    assert report["scoring"] == "half" and report["tokenCount"] == 4 * 127
    assert report["perplexity"] == pytest.approx(np.exp(found.mean()), rel=EXACT)


def test_a_text_is_tokenized_and_each_chunk_begins(pleat, tinylm, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("def first(items):\n    return items[0]\n" * 20 + "<s>\n")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tinylm)
    ids = tokenizer(
        text.read_text()[:-1], add_special_tokens=False, split_special_tokens=True
    ).input_ids
    ids = [1, *ids]
    rows = np.array(ids[: len(ids) // 64 * 64]).reshape(-1, 64)
    rows[:, 0] = 1
    found = losses(models.logits(models.load(tinylm, tinylm), rows), rows)
    options = ("--text", text, "--context", 64, "--score", "all", "--bos", "yes", "--json")
    report = json.loads(pleat.run("eval", tinylm, *options))
    assert report["beginToken"] == 1
    assert np.allclose(report["chunkLosses"], found.mean(1), rtol=EXACT)


@pytest.fixture(scope="module")
def rounded(pleat, tinylm, tmp_path_factory):
    path = tmp_path_factory.mktemp("rounded") / "model.pleat"
    pleat.run("quantize", tinylm, "--to", "pleat", "-b", 3, "-o", path)
    return path


def test_divergence_is_that_of_the_definition(pleat, tinylm, rounded, rows, expected, tmp_path):
    plain = tmp_path / "plain"
    pleat.run("convert", rounded, "--to", "safetensors", "--dtype", "F32", "-o", plain)
    other = models.logits(models.load(plain, tinylm), rows)
    p, q = (
        torch.from_numpy(numbers[:, :-1]).double().log_softmax(-1).flatten(0, 1)
        for numbers in (expected, other)
    )
    divergence = (p.exp() * (p - q)).sum(-1).numpy()
    targets = torch.from_numpy(rows[:, 1:]).flatten()[:, None]
    change = (q.gather(1, targets).exp() - p.gather(1, targets).exp()).numpy()
    same = (p.argmax(-1) == q.argmax(-1)).double().mean().item()
    report = evaluation(pleat, rounded, rows, tmp_path, "--against", tinylm, "--layers")["against"]
    found = report["divergence"]
    assert found["mean"] == pytest.approx(divergence.mean(), rel=1e-4)
    assert found["median"] == pytest.approx(np.median(divergence), rel=1e-3)
    assert found["quantile99"] == pytest.approx(np.quantile(divergence, 0.99), rel=1e-3)
    assert found["largest"] == pytest.approx(divergence.max(), rel=1e-3)
    deviation = divergence.std() / np.sqrt(divergence.size - 1)
    assert found["error"] == pytest.approx(deviation, rel=1e-3)
    assert report["sameTop"]["mean"] == pytest.approx(same)
    rms = np.sqrt((change**2).mean())
    assert report["probabilityChange"]["rootMeanSquare"] == pytest.approx(rms, rel=1e-3)
    ratio = (losses(other, rows) - losses(expected, rows)).mean()
    assert report["logPerplexityRatio"]["mean"] == pytest.approx(ratio, rel=1e-3)
    assert len(report["layerErrors"]) == 6


def test_layer_errors_are_those_of_hidden_states(pleat, tinylm, rounded, rows, tmp_path):
    plain = tmp_path / "plain"
    pleat.run("convert", rounded, "--to", "safetensors", "--dtype", "F32", "-o", plain)
    states = []
    for folder in (tinylm, plain):
        with torch.no_grad():
            found = models.load(folder, tinylm).model(
                torch.from_numpy(rows), output_hidden_states=True
            )
        states.append(found.hidden_states[1:-1])
    expected = [((b - a).norm() / a.norm()).item() for a, b in zip(*states)]
    report = evaluation(pleat, rounded, rows, tmp_path, "--against", tinylm, "--layers")
    # transformers has the last layer's output only after the last norm.
    assert np.allclose(report["against"]["layerErrors"][:-1], expected, rtol=1e-4)


def test_a_model_does_not_diverge_from_itself(pleat, rounded, rows, tmp_path):
    report = evaluation(pleat, rounded, rows[:1], tmp_path, "--against", rounded)["against"]
    assert report["divergence"]["largest"] == 0
    assert report["logPerplexityRatio"] == {"mean": 0, "error": 0}
    assert report["sameTop"]["mean"] == 1


@pytest.mark.llama
def test_perplexity_is_that_of_llama(pleat, tinylm, rows, tmp_path):
    path = tmp_path / "model.gguf"
    pleat.run("convert", tinylm, "--to", "gguf", "--dtype", "F32", "-o", path)
    found = losses(llama_logits(path, rows), rows)
    report = evaluation(pleat, path, rows, tmp_path)
    # llama.cpp's sums have another order.
    assert report["perplexity"] == pytest.approx(np.exp(found.mean()), rel=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        ("--to", "gguf", "--type", "Q4_K_M"),
        ("--to", "gptq", "-b", "4"),
        ("--to", "mlx", "-b", "3"),
        ("--to", "awq", "-b", "4"),
        ("--to", "compressed-tensors", "-b", "8"),
        ("--to", "mlx", "--mode", "mxfp4"),
    ],
    ids=lambda options: "-".join(options[1::2]),
)
def test_every_encoding_gives_the_numbers_that_it_decodes_to(pleat, tinylm, tmp_path, options):
    packed, plain = tmp_path / "packed", tmp_path / "plain"
    if "gguf" in options:
        packed = packed.with_suffix(".gguf")
    pleat.run("quantize", tinylm, *options, "-o", packed)
    pleat.run("convert", packed, "--to", "safetensors", "--dtype", "F32", "-o", plain)
    rows = models.held_out("B")[:1, :64]
    first, second = (evaluation(pleat, path, rows, tmp_path) for path in (packed, plain))
    assert first["chunkLosses"] == second["chunkLosses"]
    # Tokens that are drawn, one by one: from packed weights, from those that are read, in F32.
    options = ("--temperature", 1, "--max-tokens", 12, "--json")
    kept, read, decoded = (
        json.loads(pleat.run("run", path, "import", *options, *memory))["tokens"]
        for path, *memory in ((packed,), (packed, "--memory", "1B"), (plain,))
    )
    assert kept == read == decoded


def test_a_text_is_continued_as_in_transformers(pleat, tinylm):
    model = models.load(tinylm, tinylm)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tinylm)
    for prompt in ("def main():\n", "The quick"):
        ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt").input_ids
        expected = model.generate(ids, max_new_tokens=24, do_sample=False, pad_token_id=0)
        expected = expected[0, ids.shape[1] :].tolist()
        if 2 in expected:
            expected = expected[: expected.index(2)]
        options = ("--max-tokens", 24, "--bos", "no")
        report = json.loads(pleat.run("run", tinylm, prompt, *options, "--json"))
        assert report["tokens"] == expected
        text = pleat.run("run", tinylm, prompt, *options)
        assert text == tokenizer.decode(expected) + "\n"


def test_drawn_tokens_follow_the_seed_and_the_temperature(pleat, tinylm):
    def run(*options):
        base = ("run", tinylm, "import", "--max-tokens", 12, "--json", *options)
        return json.loads(pleat.run(*base))["tokens"]

    first = run("--temperature", 1, "--seed", 5)
    assert first == run("--temperature", 1, "--seed", 5, "-t", 1)
    assert first != run("--temperature", 1, "--seed", 6)
    # So cold that only the most probable token is left.
    assert run("--temperature", 0.001) == run()


def test_what_cannot_run_is_refused(pleat, tinylm, tmp_path):
    tokens = tmp_path / "tokens.bin"
    tokens.write_bytes(np.arange(100, dtype="<u2").tobytes())
    result = pleat.attempt("eval", tinylm, "--tokens", tokens)
    assert result.returncode == 64 and "expected at least 512 tokens, found 100" in result.stderr
    tokens.write_bytes(np.full(600, 4096, "<u2").tobytes())
    assert pleat.attempt("eval", tinylm, "--tokens", tokens).returncode == 65
    bare = tmp_path / "bare.safetensors"
    bare.write_bytes((tinylm / "model.safetensors").read_bytes())
    result = pleat.attempt("eval", bare, "--tokens", tokens, "--context", 8)
    assert result.returncode == 69 and "config.json" in result.stderr


@pytest.mark.parametrize("name", ["qwen2-moe", "qwen3-moe"])
def test_experts_are_weighed_as_the_config_says(pleat, tmp_path, name):
    """llama.cpp computes one value of the flag for each architecture, transformers all."""
    case = next(case for case in EXPERT_CASES if case.name == name)
    folder, rows = architectures.make(case, tmp_path), architectures.tokens(64)
    config = json.loads((folder / "config.json").read_text())
    refused = []
    for value in (True, False, None):
        edited = {key: config[key] for key in config if key != "norm_topk_prob"}
        edited |= {} if value is None else {"norm_topk_prob": value}
        (folder / "config.json").write_text(json.dumps(edited))
        expected = losses(architectures.logits(folder, rows), rows).mean(1)
        found = evaluation(pleat, folder, rows, tmp_path)["chunkLosses"]
        assert np.allclose(found, expected, rtol=1e-5), value
        result = pleat.attempt("convert", folder, "-n", "-o", tmp_path / "out.gguf")
        if result.returncode:
            assert "llama.cpp does not compute this" in result.stderr
            assert "norm_topk_prob" in result.stderr and "--to safetensors" in result.stderr
            refused.append(value)
    assert refused == ([True] if name == "qwen2-moe" else [False, None])


def test_rows_beyond_the_stated_vocabulary_are_computed_with_a_note(pleat, tinylm, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tinylm, folder)
    config = json.loads((folder / "config.json").read_text())
    stated = config["vocab_size"]
    (folder / "config.json").chmod(0o644)
    tokens = write_tokens(np.arange(3, 35)[None], tmp_path / "tokens.bin")
    options = ("--tokens", tokens, "--context", 32, "--bos", "no")
    plain = pleat.attempt("eval", folder, *options)
    assert "vocab_size" not in plain.stderr
    for size in (stated - 8, stated + 8):
        (folder / "config.json").write_text(json.dumps(config | {"vocab_size": size}))
        result = pleat.attempt("eval", folder, *options)
        assert result.stdout.split(";")[0] == plain.stdout.split(";")[0]
        assert f"a vocab_size of {size}, but the embeddings have {stated} rows" in result.stderr
        with pytest.raises(RuntimeError, match="size"):
            transformers.AutoModelForCausalLM.from_pretrained(folder)


def test_one_prediction_has_no_error(pleat, tinylm, tmp_path):
    tokens = write_tokens(np.array([[5, 6, 7]]), tmp_path / "tokens.bin")
    options = ("eval", tinylm, "--tokens", tokens, "--context", 3, "--against", tinylm)
    assert "±" not in pleat.run(*options)
    report = json.loads(pleat.run(*options, "--json"))
    assert report["tokenCount"] == 1 and report["perplexityError"] is None
    assert report["against"]["divergence"]["error"] is None
    assert report["against"]["divergence"]["largest"] == 0


def importance(path) -> dict[str, np.ndarray]:
    reader = gguf.GGUFReader(path)
    return {tensor.name: tensor.data.astype(np.float64) for tensor in reader.tensors}


def test_an_importance_matrix_has_the_sums_of_the_inputs(pleat, tinylm, fixtures, tmp_path):
    """The fixture was measured in float64, on the same chunks."""
    text = np.fromfile(fixtures / "tinylm-reference" / "valid_A.bin", "<u2", 16 * 256 - 1)
    tokens = tmp_path / "tokens.bin"
    np.concatenate([np.array([1], "<u2"), text]).tofile(tokens)
    out, expected = tmp_path / "importance.gguf", tmp_path / "expected.gguf"
    pleat.run("calibrate", tinylm, "--tokens", tokens, "--context", 256, "--bos", "yes", "-o", out)
    # A .dat file does not state its chunks, so its counts are twice as large here.
    pleat.run("convert", fixtures / "importance" / "tinylm.dat", "-o", expected)
    found, known = importance(out), importance(expected)
    assert found.keys() == known.keys() and len(found) == 2 * 6 * 7
    for name, numbers in found.items():
        assert np.allclose(2 * numbers, known[name], rtol=2e-5), name
    about = json.loads(pleat.run("inspect", out, "--json"))
    assert about["chunkCount"] == 16 and about["chunkSize"] == 256


def test_the_importance_of_experts_counts_their_own_tokens(pleat, tmp_path):
    case = next(case for case in EXPERT_CASES if case.name == "qwen2-moe")
    folder = architectures.make(case, tmp_path)
    rows = architectures.tokens(64)
    model = architectures.load(folder)
    seen = {}

    def observe(module, inputs, output):
        index = output[2] if isinstance(output, tuple) else output
        seen.setdefault("chosen", []).append(index.flatten())

    gates = [layer.mlp.gate for layer in model.model.layers]
    for gate in gates:
        gate.register_forward_hook(observe)
    with torch.no_grad():
        model(torch.from_numpy(rows))
    out = tmp_path / "importance.gguf"
    tokens = write_tokens(rows, tmp_path / "tokens.bin")
    pleat.run("calibrate", folder, "--tokens", tokens, "--context", 64, "--bos", "no", "-o", out)
    found = importance(out)
    for layer, chosen in enumerate(seen["chosen"]):
        counts = torch.bincount(chosen, minlength=4).numpy()
        assert (found[f"blk.{layer}.ffn_gate_exps.weight.counts"].flatten() == counts).all()
        assert found[f"blk.{layer}.ffn_down_exps.weight.in_sum2"].shape == (4, 96)
    pleat.run(
        *("quantize", folder, "--type", "Q4_0", "--importance", out, "-o", tmp_path / "out.gguf")
    )


def test_an_importance_matrix_never_replaces_an_input(pleat, tinylm, tmp_path):
    tokens, model = tmp_path / "tokens.dat", tmp_path / "model.gguf"
    tokens.write_bytes(np.arange(64, dtype="<u2").tobytes())
    pleat.run("convert", tinylm, "--to", "gguf", "-o", model)
    before = model.read_bytes(), tokens.read_bytes()
    for out in (model, tokens):
        options = ("--tokens", tokens, "--context", 32, "--force", "-o", out)
        result = pleat.attempt("calibrate", model, *options)
        assert result.returncode == 64 and "the output is the input" in result.stderr
    assert (model.read_bytes(), tokens.read_bytes()) == before
