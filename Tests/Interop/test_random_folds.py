"""Random models and adapters: a fold computes what base and adapter compute, or is refused.

PLEAT_SEEDS is how many are tried, or which: `300`, or `120-139`. The seed is in the name of each
test, and chooses everything, so that `-k seed123-` with enough seeds runs one again.
"""

import gc
import os
import re
import warnings
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import random_adapters
import random_models
from architectures import VOCABULARY
from random_adapters import Adapter, Expected, rms
from random_llama import Llama
from random_models import Model
from safetensors import safe_open

llama = pytest.mark.llama
DEFAULT = 12


def _seeds() -> range:
    wanted = os.environ.get("PLEAT_SEEDS", str(DEFAULT))
    first, _, last = wanted.rpartition("-")
    return range(int(first), int(last) + 1) if first else range(int(wanted))


# The distance of logits from the expected ones, as a share of the effect of the adapter. Rounding
# the folded weights once causes all of it. Measured in 180 seeds: at most 3e-6, 0.0015 and 0.015,
# and for one token 7e-6, 0.0042 and 0.045. A table that moves although it should not, or does not
# although it should, changes them by 0.2 or more.
LIMITS = {"F32": 3e-5, "F16": 0.006, "BF16": 0.04}
# llama.cpp looks up the GELU of Gemma in a table of float16 values, which adds this to logits.
GELU_BY_TABLE = 0.008
# Rounding all weights to eight bits, as a share of the logits. Measured: at most 0.04.
QUANTIZED = 0.1
# llama.cpp then rounds activations to eight bits too; at most 0.05. In models with two of four
# experts, a router may choose another expert after rounding: 0.12.
ACTIVATIONS, OTHER_EXPERTS = 0.15, 0.6

TRIED, REFUSED, UNLIKE = Counter(), Counter(), Counter()


@dataclass
class Drawn:
    model: Model
    adapter: Adapter
    base: Path
    files: Path  # the adapter with the names that pleat gets
    expected: Expected

    @property
    def rows(self) -> np.ndarray:
        return random_adapters.rows(self.adapter)


def _name(seed: int) -> str:
    model = random_models.draw(seed)
    return f"seed{seed}-{model}-{random_adapters.draw(model)}"


@pytest.fixture(scope="module", params=_seeds(), ids=_name)
def drawn(request, tmp_path_factory):
    model = random_models.draw(request.param)
    adapter = random_adapters.draw(model)
    folder = tmp_path_factory.mktemp(f"seed{request.param}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT warns about tied embeddings
        base = random_models.make(model, folder / "base")
        clean = random_adapters.make(model, adapter, base, folder / "adapter")
        files = random_adapters.with_noise(adapter, clean, folder / "noisy")
        found = Drawn(model, adapter, base, files, None)
        found.expected = random_adapters.expected(model, adapter, base, clean)
    assert found.expected.effect > 0.05, "the adapter changes too little to see it"
    yield found
    gc.collect()


@pytest.fixture(scope="session")
def runtime():
    llama = Llama()
    yield llama
    llama.close()


# Refusals


def done(pleat, drawn: Drawn | None, what: str, *arguments) -> str | None:
    """What pleat prints; None if it refuses, and then it must have written nothing."""
    out = Path(arguments[arguments.index("-o") + 1])
    before = set(out.parent.iterdir())
    result = pleat.attempt(*arguments)
    TRIED[what] += 1
    if result.returncode == 0:
        return f"{result.stdout}{result.stderr} "
    assert 64 <= result.returncode <= 78, f"exit status {result.returncode}\n{result.stderr}"
    assert set(out.parent.iterdir()) == before, "a refused job has written something"
    assert names_something(result.stderr), result.stderr
    REFUSED[what, reason(result.stderr)] += 1
    if drawn and (why := always(drawn, what)):
        pytest.fail(f"refused, but must be done: {why}\n{result.stderr}", pytrace=False)
    return None


def names_something(text: str) -> bool:
    """Whether an error names a tensor, an option or a key of a config."""
    return bool(re.search(r"--[a-z]|[a-z_\d]+\.[a-z_.\d]+|[a-z]+_[a-z_]+", text))


def reason(text: str) -> str:
    """The first line of an error, without names and numbers."""
    line = next((line for line in text.splitlines() if line.startswith("error")), text)
    line = re.sub(r"/\S+ ", "", line)
    line = re.sub(r"\b[\w-]+(\.[\w*]+)+\b", "NAME", line)
    return re.sub(r"\d+", "N", line)


# What adapters with these traits change is clear in every form of every model.
CLEAR = {"plain", "rslora", "patterns", "all-linear", "bias-lora-only"}
CLEAR |= {f"names-{name}" for name in ("orig_mod", "module", "default", "tuned", "version-4")}
# The same for tables that are stored separately.
TABLES = {"lora-embed", "lora-head", "saved-embed", "saved-head"}
# Both tables are trained and longer.
GROWN = {"resized", "saved-embed", "saved-head"}


def has_gguf_form(model: Model) -> bool:
    """Whether the head is one that llama.cpp has, and the experts are those of published files."""
    return model.tying != "other" and not (model.kind == "mixtral" and model.stacked)


def always(drawn: Drawn, what: str) -> str | None:
    """Why this must be done, if it must."""
    model, traits = drawn.model, set(drawn.adapter.traits)
    if what in ("convert-gguf", "quantize-gguf"):
        return "llama.cpp runs such models" if has_gguf_form(model) else None
    if what == "gguf" and not has_gguf_form(model):
        return None
    if what not in ("safetensors", "gguf"):
        return None
    if traits <= CLEAR:
        return "only linear layers change"
    if model.kind != "gpt2" and traits <= CLEAR | {"dora"}:
        return "only linear layers change"
    if what == "safetensors" and traits <= CLEAR | {"saved-norm"}:
        return "a norm is replaced"
    if what == "safetensors" and traits <= CLEAR | {"vision"}:
        return "linear layers of both parts change"
    if GROWN <= traits <= CLEAR | GROWN and (what == "safetensors" or model.tying == "no"):
        return "the adapter brings both longer tables"
    if model.tying == "no" and traits <= CLEAR | TABLES:
        return "embeddings and head are stored separately"
    return None


# Comparing


def compare(drawn: Drawn, found: np.ndarray, more: float = 0) -> None:
    """Fails if logits are not the expected ones; `more` is what the runtime adds."""
    expected, base = drawn.expected.tuned, drawn.expected.base
    assert found.shape[-1] >= expected.shape[-1], "rows of the vocabulary are lost"
    found = found[..., : expected.shape[-1]]
    effect = rms(expected[..., :VOCABULARY] - base)
    off = rms(found - expected) / effect
    worst = np.sqrt(np.mean(np.square(found - expected), axis=-1)).max() / effect
    limit = LIMITS[drawn.model.dtype] + more
    if path := os.environ.get("PLEAT_MEASURE"):
        with open(path, "a") as file:
            print(drawn.model, drawn.adapter, off, worst, limit, file=file)
    same = rms(found[..., :VOCABULARY] - base) / effect
    assert off < limit and worst < 4 * limit, (
        f"logits differ by {off:.2%} of the effect of the adapter, by {worst:.2%} for one token; "
        f"from the base model by {same:.2%}"
    )


# Folding


def test_fold_in_transformers(pleat, drawn, tmp_path):
    out = tmp_path / "out"
    options = ["--adapter", drawn.files, "-o", out]
    if not done(pleat, drawn, "safetensors", "fold", drawn.base, *options):
        return
    model = random_models.load(out)
    compare(drawn, random_models.logits(model, drawn.rows))
    weights = model.state_dict()
    for name, expected in drawn.expected.vision.items():
        off = rms((weights[name] - expected).numpy()) / (rms(expected.numpy()) or 1)
        assert off < LIMITS[drawn.model.dtype], f"{name} differs by {off:.2%}"
    arguments = ["--against", drawn.base, "--adapter", drawn.files]
    result = pleat.attempt("verify", out, *arguments)
    assert result.returncode == 0, f"verify: {result.stdout}{result.stderr}"


@llama
def test_fold_in_llama(pleat, runtime, drawn, tmp_path):
    if not drawn.model.family.gguf:
        pytest.skip("not an architecture that pleat converts to GGUF")
    out = tmp_path / "out.gguf"
    options = ["--to", "gguf", "--adapter", drawn.files, "-o", out]
    if not done(pleat, drawn, "gguf", "fold", drawn.base, *options):
        return
    assert not changes_vision(drawn), "a part of the adapter is left out"
    compare(drawn, runtime.logits(exact(pleat, drawn, out), drawn.rows), gelu(drawn))


def gelu(drawn: Drawn) -> float:
    return GELU_BY_TABLE / drawn.expected.effect if drawn.model.kind.startswith("gemma") else 0


def changes_vision(drawn: Drawn) -> bool:
    """Whether the adapter has parts for the vision tower, which GGUF leaves out."""
    with safe_open(drawn.files / "adapter_model.safetensors", "numpy") as file:
        return any(part in name for name in file.keys() for part in random_adapters.VISION_PARTS)


def exact(pleat, drawn: Drawn, path: Path) -> Path:
    """The same weights in F32, for which llama.cpp does not round activations."""
    if drawn.model.dtype == "F32":
        return path
    out = path.with_suffix(".f32.gguf")
    pleat.run("convert", path, "--to", "gguf", "--dtype", "F32", "-o", out)
    return out


@llama
def test_attached_in_llama(pleat, runtime, drawn, tmp_path):
    if not drawn.model.family.gguf:
        pytest.skip("not an architecture that pleat converts to GGUF")
    base, lora = tmp_path / "base.gguf", tmp_path / "lora.gguf"
    options = ["--to", "gguf", "--dtype", "F32", "-o", base]
    if not done(pleat, None, "convert-gguf", "convert", drawn.base, *options):
        return
    options = ["--adapter", drawn.files, "--to", "gguf", "-o", lora]
    if not done(pleat, drawn, "attach", "attach", base, *options):
        return
    assert not changes_vision(drawn), "a part of the adapter is left out"
    compare(drawn, runtime.logits(base, drawn.rows, lora), gelu(drawn))


@pytest.fixture(scope="module")
def noise(drawn, tmp_path_factory) -> float:
    """How far mlx-lm is from transformers for the model in its usual form, relative to the logits.

    0 if mlx-lm does not load that form: pleat must then refuse it, or write another.
    """
    tying = {"copy": "tied", "other": "no"}.get(drawn.model.tying, drawn.model.tying)
    usual = dict(tying=tying, names="published", dtype="F32", flag="everywhere")
    model = replace(drawn.model, **usual)
    base = random_models.make(model, tmp_path_factory.mktemp("usual") / "base")
    expected = random_models.logits(random_models.load(base), plain_rows(drawn))
    try:
        found = mlx_logits(base, plain_rows(drawn))
    except Exception as error:
        first = str(error).partition("\n")[0]
        UNLIKE[f"{drawn.model.kind}-{tying}: not loaded: {first}"] += 1
        return 0
    return rms(found - expected) / rms(expected)


def run_by_mlx(drawn: Drawn, noise: float) -> None:
    if noise > 0.01:  # 0.002 for Gemma 3, for which mlx-lm rounds a factor to BF16
        UNLIKE[f"{drawn.model.kind}: other logits"] += 1
        pytest.skip("mlx-lm computes something else for the base model")


def test_fold_in_mlx(pleat, drawn, noise, tmp_path):
    run_by_mlx(drawn, noise)
    out = tmp_path / "out"
    options = ["--to", "mlx", "--adapter", drawn.files, "-o", out]
    if not done(pleat, drawn, "mlx", "fold", drawn.base, *options):
        return
    more = 10 * noise * rms(drawn.expected.tuned) / drawn.expected.effect
    compare(drawn, mlx_logits(out, drawn.rows), more)


def mlx_logits(folder: Path, rows: np.ndarray) -> np.ndarray:
    import mlx_models
    from mlx_lm.utils import load_model

    model, _ = load_model(folder)
    model.set_dtype(mlx_models.mx.float32)
    scores = model(mlx_models.mx.array(rows.astype(np.int32)))
    return np.array(scores.astype(mlx_models.mx.float32))


# Quantizing


def close(drawn: Drawn, found: np.ndarray, limit: float) -> None:
    """Eight bits change little, unless something is at the wrong place."""
    base = drawn.expected.base
    if drawn.model.routes:
        limit = OTHER_EXPERTS
    off = rms(found[..., :VOCABULARY] - base) / rms(base)
    if path := os.environ.get("PLEAT_MEASURE"):
        with open(path, "a") as file:
            print("quantized", limit, drawn.model, off, file=file)
    assert off < limit, f"logits differ by {off:.2%}"


def plain_rows(drawn: Drawn) -> np.ndarray:
    return np.minimum(drawn.rows, VOCABULARY - 1)


def test_quantized_in_mlx(pleat, drawn, noise, tmp_path):
    run_by_mlx(drawn, noise)
    out = tmp_path / "out"
    options = ["--to", "mlx", "-b", 8, "-g", 32, "-o", out]
    if not done(pleat, drawn, "quantize-mlx", "quantize", drawn.base, *options):
        return
    found = mlx_logits(out, plain_rows(drawn))
    close(drawn, found, QUANTIZED)
    decoded = tmp_path / "decoded"
    pleat.run("convert", out, "--to", "safetensors", "--dtype", "F32", "-o", decoded)
    if not drawn.model.family.stacks and drawn.model.kind != "gpt2":  # names of mlx-lm
        expected = random_models.logits(random_models.load(decoded), plain_rows(drawn))
        assert rms(found - expected) < (1e-4 + 10 * noise) * rms(expected)


@llama
def test_quantized_in_llama(pleat, runtime, drawn, tmp_path):
    if not drawn.model.family.gguf:
        pytest.skip("not an architecture that pleat converts to GGUF")
    out, decoded = tmp_path / "out.gguf", tmp_path / "decoded.gguf"
    options = ["--to", "gguf", "--type", "Q8_0", "-o", out]
    if not done(pleat, drawn, "quantize-gguf", "quantize", drawn.base, *options):
        return
    pleat.run("convert", out, "--to", "gguf", "--dtype", "F32", "-o", decoded)
    rows = plain_rows(drawn)
    close(drawn, runtime.logits(decoded, rows), QUANTIZED)
    # llama.cpp rounds activations to eight bits too.
    close(drawn, runtime.logits(out, rows), ACTIVATIONS)


# The largest share of refusals over many seeds. The rest has no right answer, such as biases for
# layers without one, or tables that the format can only tie.
ENOUGH = 40
SHARES = {"safetensors": 0.4, "gguf": 0.5, "mlx": 0.5, "attach": 0.9}
SHARES |= {"quantize-mlx": 0.2, "quantize-gguf": 0.1, "convert-gguf": 0.1}


def test_most_are_not_refused():
    """Runs last; its summary is a warning, which pytest shows."""
    counts = Counter(what for what, _ in REFUSED.elements())
    lines = [f"{what}: {counts[what]} of {tried} refused" for what, tried in TRIED.items()]
    lines += [f"{count} {what}: {why}" for (what, why), count in REFUSED.most_common()]
    lines += [f"{count} in mlx-lm: {why}" for why, count in UNLIKE.most_common()]
    warnings.warn("random folds\n" + "\n".join(lines), stacklevel=1)
    for what, tried in TRIED.items():
        assert tried < ENOUGH or counts[what] <= SHARES[what] * tried, what
