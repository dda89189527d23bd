"""GGUF out of pleat, run by llama.cpp. Only with scripts/interop --llama."""

import ctypes
from pathlib import Path

import gguf_files
import models
import numpy as np
import pytest
import tinylm_gguf
from tinylm_gguf import checkpoint

pytestmark = pytest.mark.llama

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
TYPES = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]
HEADS = (4, 2)

# llama.cpp rounds the activations to eight bits (Q8_0 or Q8_1 blocks) before it multiplies them
# with quantized weights. Against the same weights as F32, where it rounds nothing, that noise
# measured 0.025 to 0.026 RMS on logits of 3.9 RMS, for each of the five types alike: it does not
# come from the weights. Rounding the weights themselves moves the logits by 0.13 to 0.15 RMS at four
# bits and 0.07 at five, so weights read wrongly, a nibble out of place or an offset lost, lie far
# beyond this bound; at eight bits (0.017) it catches gross mistakes only. The bound leaves room for
# the kernels of other processors.
ACTIVATION_NOISE = 0.04
# With F32 weights and an F32 cache nothing but the order of sums differs; measured 2e-5 at most.
EXACT = 1e-3
F32 = 0  # ggml's number of the type, for the cache of keys and values


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """512 held-out tokens: one row of English, one of Python."""
    return np.concatenate([models.held_out("A")[:1], models.held_out("B")[:1]])


def logits(path: Path, rows: np.ndarray) -> np.ndarray:
    import llama_cpp

    count = rows.shape[1]
    model = llama_cpp.Llama(
        str(path),
        n_ctx=count,
        n_batch=count,
        logits_all=True,
        verbose=False,
        type_k=F32,
        type_v=F32,
    )
    results = []
    for row in rows:
        model.reset()
        model.eval(row.tolist())
        results.append(model.scores[:count].copy())
    model.close()
    return np.stack(results)


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def test_llama_and_transformers_agree_on_the_source(tinylm, tmp_path, rows):
    tinylm_gguf.write_gguf(tmp_path / "f32.gguf", dtype="f32")
    found = logits(tmp_path / "f32.gguf", rows)
    assert np.abs(found - models.logits(models.load(tinylm, tinylm), rows)).max() < EXACT


@pytest.mark.parametrize("type", TYPES)
def test_logits_are_those_of_the_decoded_weights(pleat, quantized_gguf, tmp_path, rows, type):
    """Our file in llama.cpp's own kernels, against our own decoding of it in F32."""
    path = quantized_gguf(type)
    pleat.run("convert", path, "--to", "safetensors", "--dtype", "F32", "-o", tmp_path / "decoded")
    decoded = gguf_files.under_gguf_names(checkpoint(tmp_path / "decoded"), *HEADS)
    gguf_files.write_float32(tmp_path / "f32.gguf", path, decoded)
    found, expected = logits(path, rows), logits(tmp_path / "f32.gguf", rows)
    assert rms(found - expected) < ACTIVATION_NOISE
    assert np.mean(found.argmax(-1) == expected.argmax(-1)) > 0.97


class GGUFParameters(ctypes.Structure):
    _fields_ = [("no_alloc", ctypes.c_bool), ("context", ctypes.POINTER(ctypes.c_void_p))]


def opened_by_ggml(path: Path) -> bool:
    """Whether ggml's own reader takes the file, data included."""
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
}  # good files, which this build does not read
GOLDEN = sorted(
    path for path in FIXTURES.glob("golden/gguf/**/*.gguf") if path.stem not in NOT_FOR_LLAMA
)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_golden_file_is_good_for_llama_too(path):
    assert opened_by_ggml(path)


@pytest.mark.parametrize(
    "path", sorted(FIXTURES.glob("bad/gguf/*.gguf")), ids=lambda path: path.stem
)
def test_a_bad_file_is_bad_for_llama_too(path):
    assert not opened_by_ggml(path)


@pytest.mark.parametrize("type", TYPES)
def test_ggml_opens_what_pleat_writes(quantized_gguf, type):
    assert opened_by_ggml(quantized_gguf(type))
