"""No packed word is a number: checkpoints of other quantizers are decoded exactly, or refused.

Whether a checkpoint is quantized is a matter of its tensors. Its config may be missing, damaged,
in another file, or that of another tool.
"""

import functools
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import adapters
import foreign
import foreign_kinds
import numpy as np
import pytest
import safetensors.torch
import torch
from foreign_decoders import DECODERS

KINDS = [*foreign_kinds.KINDS, *foreign.STACKS]
PLAIN = foreign.other_tensors() | foreign.plain_layers()
MODULE = f"{foreign.LAYER}self_attn.q_proj"
REFUSED = (65, 69)
HALF = 2.0**-8  # half a step of BF16, relative

# Commands that read weights. Their output is a folder, or a file with the suffix.
COMMANDS = {
    "convert": (["convert", "--to", "safetensors", "--dtype", "BF16"], ""),
    "convert to pleat": (["convert", "--to", "pleat"], ".pleat"),
    "convert to gguf": (["convert", "--to", "gguf"], ".gguf"),
    "quantize to mlx": (["quantize", "--to", "mlx", "-g", "32"], ""),
    "quantize to pleat": (["quantize", "--to", "pleat"], ".pleat"),
    "quantize to gguf": (["quantize", "--to", "gguf"], ".gguf"),
    "quantize to gptq": (["quantize", "--to", "gptq", "-g", "32"], ""),
    "fold": (["fold", "--adapter", "ADAPTER"], ""),
    "attach": (["attach", "--to", "pleat", "--adapter", "ADAPTER"], ".pleat"),
    "verify": (["verify", "--against", "BASE"], None),
}
# Kinds that differ in how they are recognized.
SOME = ["gptq v1", "ct nvfp4-pack-quantized", "fp8 deepseek", "int8, bare", "bitnet", "quip#"]
SOME += ["bitsandbytes nf4 in bf16", "hqq in bf16", "aqlm 2x8", "mxfp4 gpt-oss", "mlx", "mlx mxfp4"]
# Configs that are tried with these kinds only.
RARE = ["null", "in llm_config", "in language_config", "in hf_quant_config.json", "truncated"]
RARE += ["Infinity", "as compressed-tensors"]
# For these kinds the config of another tool cannot be told from the right one by the tensors.
ALIKE = {("gptq v2", "as gptq")}


class Bench:
    """Checkpoints and outputs in one folder."""

    def __init__(self, pleat, folder: Path, tokenizer: Path):
        self.pleat, self.folder, self.tokenizer, self.count = pleat, folder, tokenizer, 0
        weights = foreign.save(PLAIN, self.fresh(".safetensors"))
        self.base = self.model(weights, {"config.json": foreign.config()})
        random = np.random.default_rng(0)
        pair = random.normal(0, 0.1, (4, 128)), random.normal(0, 0.1, (128, 4))
        self.adapter = adapters.write_adapter(self.fresh(), {MODULE: pair}, 8)

    def fresh(self, suffix: str = "") -> Path:
        self.count += 1
        return self.folder / f"{self.count}{suffix}"

    @functools.cache
    def weights(self, kind: str) -> tuple[Path, dict]:
        tensors = foreign.checkpoint(kind)
        return foreign.save(tensors, self.fresh(".safetensors")), tensors

    def model(self, weights: Path, documents: dict) -> Path:
        return foreign.write(self.fresh(), weights, documents, self.tokenizer)

    def source(self, kind: str, config: str) -> Path:
        weights, _ = self.weights(kind)
        if config == "file":
            return weights
        return self.model(weights, foreign.CONFIGS[config](foreign.settings(kind)))

    def run(self, command: str, source: Path):
        """The result of a command, and the path of its output."""
        arguments, suffix = COMMANDS[command]
        paths = {"ADAPTER": self.adapter, "BASE": self.base}
        arguments = [arguments[0], source, *(paths.get(word, word) for word in arguments[1:])]
        if suffix is None:
            return self.pleat.attempt(*arguments), None
        out = self.fresh(suffix)
        return self.pleat.attempt(*arguments, "-o", out), out

    def problem(self, command: str, source: Path, expected: dict | None) -> str:
        """What is wrong with the outcome of a command. Nothing may be, so this is mostly empty."""
        result, out = self.run(command, source)
        if command == "verify":
            fine = result.returncode in (1, *REFUSED) or (expected and result.returncode == 0)
            return "" if fine else f"exit status {result.returncode}"
        if result.returncode in REFUSED:
            left = list(out.parent.glob(f"*{out.name}*"))
            return f"left {left}" if left else ""
        if result.returncode != 0:
            return f"exit status {result.returncode}"
        if expected is None:
            return "took the words for weights"
        return differences(adapters.decoded(self.pleat, out, self.fresh()), expected, command)


def differences(found: dict, expected: dict, command: str) -> str:
    """Compares names and shapes, and after a conversion also values."""
    if sorted(found) != sorted(expected):
        return f"wrote {sorted(set(found) ^ set(expected))[:3]}"
    for name, values in expected.items():
        if found[name].shape != values.shape:
            return f"{name} has the shape {found[name].shape}"
        exact = command in ("convert", "convert to pleat")
        if exact and not np.allclose(found[name], values, rtol=HALF, atol=1e-30):
            return f"{name} has other weights"
    return ""


@pytest.fixture(scope="module")
def bench(pleat, tinylm, tmp_path_factory) -> Bench:
    return Bench(pleat, tmp_path_factory.mktemp("foreign"), tinylm)


def each(jobs: list, job) -> list:
    """The results of jobs, most of which wait for a process."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda arguments: job(*arguments), jobs))


# Kinds that no config describes in a way that Pleat knows.
UNREAD = ("fp8 mistral", "fp8 e4m3, bare", "fp8 e5m2, bare")
READ = [kind for kind in DECODERS if kind not in UNREAD]
EXPERTS = ("mlp.experts.gate_up_proj", "mlp.experts.down_proj")


def expected(kind: str, tensors: dict) -> dict | None:
    """The weights of a checkpoint according to its tool. None if only a refusal is right."""
    if kind not in DECODERS:
        return None
    weights = {name: tensor.float().numpy() for name, tensor in tensors.items() if name in PLAIN}
    for path in EXPERTS if kind in foreign.STACKS else foreign.LINEARS:
        start = foreign.LAYER + path
        parts = {key.removeprefix(start): part for key, part in tensors.items() if start in key}
        name = start + next((end for end in ("", "_blocks") if end in parts), ".weight")
        weights[name] = DECODERS[kind](parts).float().numpy()
    return weights


# The laws


def test_a_plain_model_passes_every_command(bench):
    """So that a refusal below has no other cause than the packed words."""
    weights = {name: tensor.float().numpy() for name, tensor in PLAIN.items()}
    for command in COMMANDS:
        result, out = bench.run(command, bench.base)
        assert result.returncode == 0, (command, result.stderr)
        if command in ("convert", "convert to pleat"):
            found = adapters.decoded(bench.pleat, out, bench.fresh())
            assert not differences(found, weights, command)


@pytest.mark.parametrize("kind", KINDS)
def test_words_are_decoded_or_refused_whatever_the_config_says(bench, kind):
    wanted = expected(kind, bench.weights(kind)[1])
    names = (*foreign.CONFIGS, "file")
    configs = [name for name in names if kind in SOME or name not in RARE]
    configs = [name for name in configs if (kind, name) not in ALIKE]
    # This command needs no config, so that a damaged one is no reason to refuse.
    jobs = [("convert to pleat", bench.source(kind, config), wanted) for config in configs]
    problems = zip(configs, each(jobs, bench.problem), strict=True)
    assert not [pair for pair in problems if pair[1]]


@pytest.mark.parametrize("kind", KINDS)
def test_no_command_takes_words_for_weights(bench, kind):
    wanted = expected(kind, bench.weights(kind)[1])
    source = bench.source(kind, "removed")
    commands = [command for command in COMMANDS if command != "convert to pleat"]
    jobs = [(command, source, wanted) for command in commands]
    problems = zip(commands, each(jobs, bench.problem), strict=True)
    assert not [pair for pair in problems if pair[1]]


@pytest.mark.parametrize("kind", KINDS)
def test_a_refusal_names_a_tensor_and_a_way_out(bench, kind):
    names = [name for name in bench.weights(kind)[1] if name not in PLAIN or "layers" in name]
    for config in ("intact", "removed"):
        result, _ = bench.run("convert", bench.source(kind, config))
        if result.returncode == 0:
            assert kind in DECODERS, config
            continue
        assert result.returncode in REFUSED
        assert any(name in result.stderr for name in names), (config, result.stderr)
        assert "hint" in result.stderr, (config, result.stderr)


@pytest.mark.parametrize("kind", READ)
def test_pleat_still_decodes_what_it_reads(bench, kind):
    source, wanted = bench.source(kind, "intact"), expected(kind, bench.weights(kind)[1])
    found = adapters.decoded(bench.pleat, source, bench.fresh())
    assert not differences(found, wanted, "convert")


@pytest.mark.parametrize("kind", KINDS)
def test_inspect_describes_every_file(bench, kind):
    jobs = [("inspect", bench.source(kind, name)) for name in ("intact", "NaN")]
    results = each(jobs, bench.pleat.attempt)
    assert not [result.stderr for result in results if result.returncode != 0]


# One packed layer among plain ones


def mixed(kind: str) -> dict:
    """A plain model, in which one linear layer is packed."""
    path = f"{foreign.LAYER}mlp.down_proj"
    packed = foreign_kinds.KINDS[kind](*foreign.LINEARS["mlp.down_proj"])
    plain = {name: tensor for name, tensor in PLAIN.items() if path not in name}
    return plain | {f"{path}{suffix}": part for suffix, part in packed.items()}


@pytest.mark.parametrize("kind", [kind for kind in SOME if kind in foreign_kinds.KINDS])
def test_one_packed_layer_is_enough(bench, kind):
    """Also in another shard, and if an adapter changes only plain layers."""
    tensors = mixed(kind)
    whole = bench.model(
        foreign.save(tensors, bench.fresh(".safetensors")), {"config.json": foreign.config()}
    )
    shards = bench.fresh()
    shards.mkdir()
    for index, packed in enumerate([False, True], 1):
        part = {name: part for name, part in tensors.items() if ("down_proj" in name) == packed}
        foreign.save(part, shards / f"model-0000{index}-of-00002.safetensors")
    jobs = [(command, whole, None) for command in COMMANDS] + [("convert", shards, None)]
    problems = zip(jobs, each(jobs, bench.problem), strict=True)
    assert not [(job[0], problem) for job, problem in problems if problem]


# Integers that are not weights


@pytest.mark.parametrize("control", foreign.CONTROLS)
def test_honest_integers_are_copied(bench, control):
    honest = foreign.CONTROLS[control]()
    tensors = PLAIN | honest
    weights = foreign.save(tensors, bench.fresh(".safetensors"))
    # mlx-lm refuses tensors that its llama does not have; a type that it lacks is not checked.
    config = foreign.config() | {"model_type": "honest"}
    source = bench.model(weights, {"config.json": config})
    for command in COMMANDS:
        if command == "verify" or "gguf" in command:
            continue  # other tensors than those of the base, and of the architecture
        result, out = bench.run(command, source)
        assert result.returncode == 0, (command, result.stderr)
        if command == "attach":
            continue
        if "mlx" in command and control == "scales of a cache":  # mlx-lm has no such cache
            assert "k_scale" in result.stderr
            continue
        back = bench.fresh()
        bench.pleat.run("convert", out, "--to", "safetensors", "-o", back)
        found = safetensors.torch.load_file(back / "model.safetensors")
        for name, tensor in honest.items():
            assert found[name].shape == tensor.shape, (command, name)
            if not tensor.is_floating_point():
                assert torch.equal(found[name], tensor), (command, name)
