"""llama.cpp's quantizer, called through the library of llama_cpp."""

import ctypes
from pathlib import Path

import gguf
import numpy as np

# The numbers of the types in ggml, and of the file types in llama.cpp.
TYPES = {"Q4_0": 2, "Q4_1": 3, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8}
FILE_TYPES = {"Q4_0": 2, "Q4_1": 3, "Q5_0": 8, "Q5_1": 9, "Q8_0": 7}


def library() -> ctypes.CDLL:
    import llama_cpp

    folder = Path(llama_cpp.__file__).parent / "lib"
    return ctypes.CDLL(str(next(folder.glob("libggml-base.*"))))


def quantized(values: np.ndarray, type: str) -> bytes:
    """The blocks of a float32 matrix, quantized by ggml."""
    ggml = library()
    ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
    ggml.ggml_quantize_chunk.argtypes = [
        ctypes.c_int,
        *[ctypes.c_void_p] * 2,
        *[ctypes.c_int64] * 3,
        ctypes.c_void_p,
    ]
    assert values.dtype == np.float32 and values.flags.c_contiguous
    rows, columns = values.shape
    elements, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[type]]
    blocks = ctypes.create_string_buffer(values.size // elements * size)
    count = ggml.ggml_quantize_chunk(
        TYPES[type], values.ctypes.data, blocks, 0, rows, columns, None
    )
    assert count == len(blocks)
    return blocks.raw


def quantize_file(source: Path, path: Path, type: str) -> None:
    """Quantizes like `llama-quantize --pure`: every matrix gets the same type."""
    import llama_cpp

    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = FILE_TYPES[type]
    parameters.pure = True
    parameters.nthread = 2
    status = llama_cpp.llama_model_quantize(
        str(source).encode(), str(path).encode(), ctypes.byref(parameters)
    )
    assert status == 0


def blocks(path: Path) -> dict[str, tuple[str, bytes]]:
    """The type and the bytes of each tensor of a file."""
    return {
        tensor.name: (tensor.tensor_type.name, tensor.data.tobytes())
        for tensor in gguf.GGUFReader(path).tensors
    }
