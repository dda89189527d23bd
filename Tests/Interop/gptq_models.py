"""GPTQ checkpoints in plain Python: the stored tensors of a layer, and the weights they decode to.

Bit streams are made with Python's long integers, in which code i starts at bit i · bits.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

VERSIONS = ("gptq", "gptq_v2")


def packed(codes: np.ndarray, bits: int) -> np.ndarray:
    """Packs each row as a bit stream, lowest bit of a code first, into 32-bit words."""
    rows = []
    for row in codes.tolist():
        stream = sum(code << (bits * index) for index, code in enumerate(row))
        rows.append(np.frombuffer(stream.to_bytes(len(row) * bits // 8, "little"), "<i4"))
    return np.stack(rows)


def unpacked(words: np.ndarray, bits: int) -> np.ndarray:
    """The codes of each row of words."""
    rows = []
    for row in np.ascontiguousarray(words.astype("<i4")):
        stream = int.from_bytes(row.tobytes(), "little")
        count = row.size * 32 // bits
        rows.append([stream >> (bits * index) & (1 << bits) - 1 for index in range(count)])
    return np.array(rows, np.int64)


@dataclass
class Layer:
    """A weight of outputs × inputs: codes, and a scale and a zero point per group and output."""

    bits: int
    codes: np.ndarray
    scales: np.ndarray
    zeros: np.ndarray
    groups: np.ndarray

    @classmethod
    def random(cls, generator, outputs, inputs, bits, group_size, scattered=False, central=False):
        count = inputs // group_size
        groups = np.arange(inputs, dtype=np.int32) // group_size
        if scattered:
            generator.shuffle(groups)
        shape = (count, outputs)
        zeros = generator.integers(1, 1 << bits, shape)
        # Away from zero, so that recomputing codes by division gives the same codes.
        scales = generator.uniform(0.01, 0.05, shape) * generator.choice([-1, 1], shape)
        return cls(
            bits,
            generator.integers(0, 1 << bits, (outputs, inputs)),
            scales.astype(np.float16),
            np.full(shape, 1 << (bits - 1)) if central else zeros,
            groups,
        )

    @classmethod
    def read(cls, tensors: dict, path: str, bits: int, version: str) -> "Layer":
        stored = unpacked(tensors[path + ".qzeros"], bits)
        return cls(
            bits,
            unpacked(tensors[path + ".qweight"].T, bits),
            tensors[path + ".scales"],
            stored + (version == "gptq"),
            tensors[path + ".g_idx"],
        )

    def tensors(self, path: str, version: str) -> dict:
        stored = (self.zeros - (version == "gptq")) & ((1 << self.bits) - 1)
        return {
            path + ".qweight": np.ascontiguousarray(packed(self.codes, self.bits).T),
            path + ".qzeros": packed(stored, self.bits),
            path + ".scales": self.scales,
            path + ".g_idx": self.groups,
        }

    def weights(self) -> np.ndarray:
        """outputs × inputs, in float32: the difference is exact, the product rounded."""
        scales = self.scales.astype(np.float32)[self.groups].T
        return scales * (self.codes - self.zeros[self.groups].T).astype(np.float32)


def write(folder: Path, layers: dict[str, Layer], others: dict, version: str, **more) -> Path:
    """Writes a checkpoint like gptqmodel, without keys that loading does not need."""
    folder.mkdir()
    tensors = dict(others)
    for path, layer in layers.items():
        tensors |= layer.tensors(path, version)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    layer = next(iter(layers.values()))
    config = {
        "bits": layer.bits,
        "group_size": layer.codes.shape[1] // len(layer.scales),
        "desc_act": bool((np.diff(layer.groups) < 0).any()),
        "sym": False,
        "quant_method": "gptq",
        "checkpoint_format": version,
    }
    config |= more
    document = {"model_type": "llama", "quantization_config": config}
    (folder / "config.json").write_text(json.dumps(document))
    return folder


def quantization(folder: Path) -> dict:
    config = json.loads((folder / "config.json").read_text())["quantization_config"]
    assert config == json.loads((folder / "quantize_config.json").read_text())
    return config


def arrays(folder: Path) -> dict[str, np.ndarray]:
    tensors = {}
    for path in folder.glob("*.safetensors"):
        tensors |= load_file(path)
    return tensors


def weights(folder: Path) -> dict[str, np.ndarray]:
    """The weights of all layers of a folder without per-layer rules."""
    config, tensors = quantization(folder), arrays(folder)
    assert "dynamic" not in config
    paths = [name.removesuffix(".qweight") for name in tensors if name.endswith(".qweight")]
    return {
        path: Layer.read(tensors, path, config["bits"], config["checkpoint_format"]).weights()
        for path in paths
    }
