"""Mixes of llama.cpp: with the scheme ggml, whole files are those of llama-quantize, byte for byte."""

from dataclasses import dataclass
from pathlib import Path

import ggml
import gguf
import numpy as np
import pytest

pytestmark = pytest.mark.llama
MIXES = [mix for mix in ggml.MIXES if mix != "Q2_K_S"]  # Q2_K_S needs a matrix
SEED = 31


@dataclass(frozen=True)
class Shape:
    """A random model of llama.cpp's architecture llama."""

    layers: int
    hidden: int = 256
    feed_forward: int = 512
    heads: int = 4
    kv_heads: int = 2
    experts: int = 0
    tied: bool = False

    def __str__(self) -> str:
        return "-".join(
            [f"{self.layers} layers", f"{self.hidden} by {self.feed_forward}"]
            + ([f"{self.experts} experts"] if self.experts else [])
            + (["tied"] if self.tied else [])
            + ([f"{self.heads // self.kv_heads} queries a key"])
        )

    def tensors(self) -> dict[str, tuple[int, ...]]:
        head = self.hidden // self.heads
        kv = head * self.kv_heads
        result = {"token_embd.weight": (64, self.hidden), "output_norm.weight": (self.hidden,)}
        if not self.tied:
            result["output.weight"] = (64, self.hidden)
        stack = (self.experts,) if self.experts else ()
        ending = "_exps" if self.experts else ""
        for layer in range(self.layers):
            block = {
                "attn_norm": (self.hidden,),
                "attn_q": (self.hidden, self.hidden),
                "attn_k": (kv, self.hidden),
                "attn_v": (kv, self.hidden),
                "attn_output": (self.hidden, self.hidden),
                "ffn_norm": (self.hidden,),
                f"ffn_gate{ending}": (*stack, self.feed_forward, self.hidden),
                f"ffn_up{ending}": (*stack, self.feed_forward, self.hidden),
                f"ffn_down{ending}": (*stack, self.hidden, self.feed_forward),
            }
            if self.experts:
                block["ffn_gate_inp"] = (self.experts, self.hidden)
            result |= {f"blk.{layer}.{name}.weight": shape for name, shape in block.items()}
        return result

    def write(self, path: Path) -> Path:
        random = np.random.default_rng(SEED)
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_block_count(self.layers)
        writer.add_context_length(64)
        writer.add_embedding_length(self.hidden)
        writer.add_feed_forward_length(self.feed_forward)
        writer.add_head_count(self.heads)
        writer.add_head_count_kv(self.kv_heads)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_vocab_size(64)
        if self.experts:
            writer.add_expert_count(self.experts)
            writer.add_expert_used_count(2)
        for name, shape in self.tensors().items():
            values = random.standard_normal(shape) * 0.02
            single = len(shape) == 1 or "gate_inp" in name
            writer.add_tensor(name, values.astype(np.float32 if single else np.float16))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path


# 9 to 40 layers, widths that fill no block of 256 or of 32, and experts.
SHAPES = [
    Shape(9, feed_forward=256),
    Shape(17, feed_forward=256, kv_heads=1, tied=True),
    Shape(40, hidden=32, feed_forward=64, heads=1, kv_heads=1),
    Shape(10, hidden=288, feed_forward=64, heads=9, kv_heads=3, tied=True),
    Shape(9, experts=8, feed_forward=32),
    Shape(2, experts=128, feed_forward=32),
    Shape(10, hidden=80, feed_forward=64, heads=2, kv_heads=1),
]


def matrix(source: Path, path: Path, without: tuple[str, ...] = ()) -> ggml.Matrix:
    """Importance for all linear weights of a file, with columns that nothing reaches."""
    random = np.random.default_rng(SEED)
    weights = {}
    for tensor in gguf.GGUFReader(source).tensors:
        name, extents = tensor.name, [int(extent) for extent in tensor.shape]
        tables = ("token_embd.weight", "output.weight")
        if len(extents) < 2 or name in tables or name.endswith(("gate_inp.weight", *without)):
            continue
        found = random.chisquare(1, (extents[2] if len(extents) > 2 else 1, extents[0]))
        found[random.random(found.shape) < 0.05] = 0
        weights[name] = found
    return ggml.Matrix(path, weights)


def difference(ours: Path, theirs: Path) -> str:
    """What differs between two files, for a message."""
    if ours.read_bytes() == theirs.read_bytes():
        return ""
    files = [gguf.GGUFReader(path) for path in (ours, theirs)]
    fields = [
        {key: field.contents() for key, field in file.fields.items() if not key.startswith("GGUF.")}
        for file in files
    ]
    if list(fields[0].items()) != list(fields[1].items()):
        return f"metadata: {list(fields[0])[-6:]} and {list(fields[1])[-6:]}"
    tensors = [[(t.name, t.tensor_type.name) for t in file.tensors] for file in files]
    for pair in zip(*tensors, strict=True):
        if pair[0] != pair[1]:
            return f"tensors: {pair}"
    names = [
        one.name
        for one, other in zip(*(file.tensors for file in files), strict=True)
        if one.data.tobytes() != other.data.tobytes()
    ]
    return f"bytes of {names}"


def compare(pleat, source: Path, folder: Path, mix: str, options=(), **theirs) -> None:
    ours, other = folder / "ours.gguf", folder / "theirs.gguf"
    ggml.quantize_file(source, other, mix, **theirs)
    options = ["--to", "gguf", "--type", mix, "--scheme", "ggml", *options]
    pleat.run("quantize", source, *options, "-o", ours)
    assert difference(ours, other) == ""


@pytest.mark.parametrize("mix", MIXES)
def test_a_model_matches(pleat, tinylm_f16_gguf, tmp_path, mix):
    compare(pleat, tinylm_f16_gguf, tmp_path, mix)


@pytest.mark.parametrize("mix", ggml.MIXES)
def test_a_model_with_a_matrix_matches(pleat, tinylm_f16_gguf, tmp_path, mix):
    found = matrix(tinylm_f16_gguf, tmp_path / "matrix.gguf")
    options = ["--importance", found.path]
    compare(pleat, tinylm_f16_gguf, tmp_path, mix, options, matrix=found)


@pytest.mark.parametrize("mix", MIXES)
def test_a_pure_model_matches(pleat, tinylm_f16_gguf, tmp_path, mix):
    compare(pleat, tinylm_f16_gguf, tmp_path, mix, ["--pure"], pure=True)


@pytest.mark.parametrize("mix", ["Q2_K", "Q3_K_M", "Q4_K_M", "IQ4_XS", "MXFP4_MOE", "Q4_0"])
@pytest.mark.parametrize("weighs", [False, True], ids=["plain", "matrix"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_random_models_match(pleat, tmp_path, shape, mix, weighs):
    source = shape.write(tmp_path / "source.gguf")
    if not weighs:
        return compare(pleat, source, tmp_path, mix)
    found = matrix(source, tmp_path / "matrix.gguf", without=("attn_k.weight",))
    compare(pleat, source, tmp_path, mix, ["--importance", found.path], matrix=found)


def test_types_by_name_match(pleat, tmp_path):
    """Tensors that a rule settles are not counted, so other tensors get more bits."""
    source = Shape(12).write(tmp_path / "source.gguf")
    types = {"blk\\.[0-3]\\.attn_v": "Q5_0", "ffn_gate": "IQ4_NL"}
    options = ["--rule", "blk.[0-3].attn_v*=Q5_0", "--rule", "*ffn_gate*=IQ4_NL"]
    options += ["--output-type", "Q5_K", "--embedding-type", "Q8_0"]
    theirs = {"types": types, "output": "Q5_K", "embeddings": "Q8_0"}
    compare(pleat, source, tmp_path, "Q4_K_M", options, **theirs)


def test_a_checkpoint_becomes_the_same_file_in_one_pass(pleat, tinylm, tmp_path):
    """The file is that of a conversion followed by llama-quantize."""
    pleat.run("convert", tinylm, "--to", "gguf", "--dtype", "F16", "-o", tmp_path / "f16.gguf")
    ggml.quantize_file(tmp_path / "f16.gguf", tmp_path / "theirs.gguf", "Q4_K_M")
    options = ["--type", "Q4_K_M", "--scheme", "ggml"]
    pleat.run("quantize", tinylm, "--to", "gguf", *options, "-o", tmp_path / "ours.gguf")
    assert difference(tmp_path / "ours.gguf", tmp_path / "theirs.gguf") == ""
    expected = ggml.blocks(tmp_path / "theirs.gguf")
    pleat.run("quantize", tinylm, "--to", "pleat", *options, "-o", tmp_path / "m.pleat")
    pleat.run("convert", tmp_path / "m.pleat", "--to", "gguf", "-o", tmp_path / "again.gguf")
    assert list(ggml.blocks(tmp_path / "again.gguf").items()) == list(expected.items())
    fields = gguf.GGUFReader(tmp_path / "again.gguf").fields
    assert fields["general.file_type"].contents() == ggml.MIXES["Q4_K_M"]
