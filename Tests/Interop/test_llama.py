"""GGUF files of pleat, run by llama.cpp. Only with scripts/interop --llama."""

import ctypes
from pathlib import Path

import gguf_files
import models
import numpy as np
import pytest
import tinylm_gguf
from llama_runs import logits
from tinylm_gguf import checkpoint

pytestmark = pytest.mark.llama

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
TYPES = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]
MIXES = ["Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K", "IQ4_NL", "IQ4_XS"]
HEADS = (4, 2)

# llama.cpp rounds activations to eight bits (Q8_0 or Q8_1 blocks) before it multiplies them with
# quantized weights. Against the same weights in F32, with which it rounds nothing, the measured
# noise is 0.025 to 0.026 RMS on logits of 3.9 RMS. It is equal for all five types, so it does not
# come from the weights. Rounding the weights changes the logits by 0.13 to 0.15 RMS at four bits,
# and by 0.07 at five. Wrongly decoded weights, such as a misplaced nibble or a missing offset, would
# therefore be far above this limit. At eight bits (0.017) it detects only large mistakes. The limit
# leaves room for the kernels of other processors.
ACTIVATION_NOISE = 0.04
# For types with blocks of 256 it rounds activations 256 at a time; measured: 0.045 to 0.048.
WIDE_ACTIVATION_NOISE = 0.07
# With F32 weights and an F32 cache only the order of sums differs; measured: at most 2e-5.
EXACT = 1e-3


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """512 held-out tokens: one row of English and one of Python."""
    return np.concatenate([models.held_out("A")[:1], models.held_out("B")[:1]])


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def test_llama_and_transformers_agree_on_the_source(tinylm, tmp_path, rows):
    tinylm_gguf.write_gguf(tmp_path / "f32.gguf", dtype="f32")
    found = logits(tmp_path / "f32.gguf", rows)
    assert np.abs(found - models.logits(models.load(tinylm, tinylm), rows)).max() < EXACT


@pytest.mark.parametrize("type", TYPES + MIXES)
def test_logits_match_the_decoded_weights(pleat, quantized_gguf, tmp_path, rows, type):
    """Compares our file in the kernels of llama.cpp with our decoding of it in F32."""
    path = quantized_gguf(type)
    pleat.run("convert", path, "--to", "safetensors", "--dtype", "F32", "-o", tmp_path / "decoded")
    decoded = gguf_files.under_gguf_names(checkpoint(tmp_path / "decoded"), *HEADS)
    gguf_files.write_float32(tmp_path / "f32.gguf", path, decoded)
    found, expected = logits(path, rows), logits(tmp_path / "f32.gguf", rows)
    is_wide = type in MIXES and type != "IQ4_NL"
    assert rms(found - expected) < (WIDE_ACTIVATION_NOISE if is_wide else ACTIVATION_NOISE)
    assert np.mean(found.argmax(-1) == expected.argmax(-1)) > 0.97


class GGUFParameters(ctypes.Structure):
    _fields_ = [("no_alloc", ctypes.c_bool), ("context", ctypes.POINTER(ctypes.c_void_p))]


def opened_by_ggml(path: Path) -> bool:
    """Whether the reader of ggml accepts the file, including its data."""
    import llama_cpp

    folder = Path(llama_cpp.__file__).parent / "lib"
    library = ctypes.CDLL(str(next(folder.glob("libggml-base.*"))))
    library.gguf_init_from_file.restype = ctypes.c_void_p
    library.gguf_init_from_file.argtypes = [ctypes.c_char_p, GGUFParameters]
    library.gguf_free.argtypes = [ctypes.c_void_p]
    library.ggml_free.argtypes = [ctypes.c_void_p]
    data = ctypes.c_void_p()
    context = library.gguf_init_from_file(
        str(path).encode(), GGUFParameters(False, ctypes.pointer(data))
    )
    library.ggml_free(data)
    library.gguf_free(context)
    return context is not None


NOT_FOR_LLAMA = {
    "version-1",
    "big-endian",
    "big-endian-alignment-64",
    "big-endian-codebooks",
}  # valid files, which this build of llama.cpp does not read
GOLDEN = sorted(
    path for path in FIXTURES.glob("golden/gguf/**/*.gguf") if path.stem not in NOT_FOR_LLAMA
)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_llama_accepts_golden_files(path):
    assert opened_by_ggml(path)


@pytest.mark.parametrize(
    "path", sorted(FIXTURES.glob("bad/gguf/*.gguf")), ids=lambda path: path.stem
)
def test_llama_refuses_bad_files(path):
    assert not opened_by_ggml(path)


@pytest.mark.parametrize("type", TYPES + MIXES)
def test_ggml_opens_files_of_pleat(quantized_gguf, type):
    assert opened_by_ggml(quantized_gguf(type))
