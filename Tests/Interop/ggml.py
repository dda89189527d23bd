"""llama.cpp's quantizer and decoders, called through the library of llama_cpp."""

import ctypes
from pathlib import Path

import gguf
import numpy as np

# The numbers in ggml of the types that store groups.
TYPES = {"Q4_0": 2, "Q4_1": 3, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8}
# The numbers in general.file_type of llama.cpp's mixes.
MIXES = {
    **{"Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10, "Q3_K_S": 11},
    **{"Q3_K_M": 12, "Q3_K_L": 13, "Q4_K_S": 14, "Q4_K_M": 15, "Q5_K_S": 16, "Q5_K_M": 17},
    **{"Q6_K": 18, "Q2_K_S": 21, "IQ4_NL": 25, "IQ4_XS": 30, "TQ1_0": 36, "TQ2_0": 37},
    "MXFP4_MOE": 38,
}
INTEGER, TEXT = 0, 3  # tags of llama_model_kv_override
# The block types of ggml that Pleat makes.
BLOCK_TYPES = [*TYPES, "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"]
BLOCK_TYPES += ["TQ1_0", "TQ2_0", "MXFP4"]
# The block types that Pleat only reads.
READ_TYPES = ["IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S"]
READ_TYPES += ["NVFP4", "Q1_0", "Q2_0"]


def library() -> ctypes.CDLL:
    import llama_cpp

    folder = Path(llama_cpp.__file__).parent / "lib"
    return ctypes.CDLL(str(next(folder.glob("libggml-base.*"))))


def quantized(values: np.ndarray, type: str, importance: np.ndarray | None = None) -> bytes:
    """The blocks of a float32 matrix, quantized by ggml with one weight per column or none."""
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
    number = gguf.GGMLQuantizationType[type]
    elements, size = gguf.GGML_QUANT_SIZES[number]
    blocks = ctypes.create_string_buffer(values.size // elements * size)
    weights = None if importance is None else importance.ctypes.data
    count = ggml.ggml_quantize_chunk(
        int(number), values.ctypes.data, blocks, 0, rows, columns, weights
    )
    assert count == len(blocks)
    return blocks.raw


def block(type: str) -> tuple[int, int, int]:
    """The number of a type in a file, and the elements and bytes of a block."""
    if type == "Q2_0":  # newer than gguf 0.19.0
        return 42, 64, 18
    number = gguf.GGMLQuantizationType[type]
    return int(number), *gguf.GGML_QUANT_SIZES[number]


def dequantized(blocks: np.ndarray, type: str) -> np.ndarray:
    """The values of blocks × bytes as the package gguf decodes them, blocks × elements.

    Q1_0 and Q2_0, which it does not decode, are decoded by ggml itself.
    """
    if type not in ("Q1_0", "Q2_0"):
        return gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType[type])
    return dequantized_by_ggml(blocks, type)


def dequantized_by_ggml(blocks: np.ndarray, type: str) -> np.ndarray:
    """The values of blocks × bytes as ggml's function in C decodes them, blocks × elements."""
    decode = getattr(library(), f"dequantize_row_{type.lower()}")
    decode.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    decode.restype = None
    blocks = np.ascontiguousarray(blocks)
    values = np.empty((len(blocks), block(type)[1]), np.float32)
    decode(blocks.ctypes.data, values.ctypes.data, values.size)
    return values


def with_iq1_m_scales(scales: np.ndarray, halves: np.ndarray) -> np.ndarray:
    """The last 8 bytes of blocks of IQ1_M, with the half-precision scales that are given.

    The four digits of a scale are the highest ones of four words of 16 bits, the lowest first.
    """
    words = np.ascontiguousarray(scales).view("<u2") & 0x0FFF
    places = np.array([0, 4, 8, 12], "<u2")
    words |= (halves.astype("<u2")[:, None] >> places & 15) << 12
    return words.view(np.uint8)


class Matrix:
    """An importance matrix in GGUF, as llama-imatrix writes it, and as llama-quantize reads it."""

    DATASET, CHUNKS, SIZE = "calibration.txt", 7, 512

    def __init__(self, path: Path, weights: dict[str, np.ndarray]):
        """`weights`: the importance of each column, as matrices × columns."""
        self.path = path
        count = np.float32(self.CHUNKS * self.SIZE)
        writer = gguf.GGUFWriter(path, "")
        writer.kv_data[0].clear()
        writer.add_type("imatrix")
        writer.add_array("imatrix.datasets", [self.DATASET])
        writer.add_uint32("imatrix.chunk_count", self.CHUNKS)
        writer.add_uint32("imatrix.chunk_size", self.SIZE)
        self.weights = {}
        for name in sorted(weights):
            sums = (weights[name].astype(np.float32) * count).astype(np.float32)
            sums = np.atleast_2d(sums)
            counts = np.full((len(sums), 1), count, np.float32)
            writer.add_tensor(f"{name}.in_sum2", sums)
            writer.add_tensor(f"{name}.counts", counts)
            self.weights[name] = np.ascontiguousarray(sums / counts)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    def records(self) -> list[tuple[str, str | int]]:
        """What llama-quantize writes about it into the metadata."""
        return [
            ("quantize.imatrix.file", str(self.path)),
            ("quantize.imatrix.dataset", self.DATASET),
            ("quantize.imatrix.entries_count", len(self.weights)),
            ("quantize.imatrix.chunks_count", self.CHUNKS),
        ]


def overrides(records: list[tuple[str, str | int]]) -> ctypes.Array:
    """Metadata for llama_model_quantize, ended by an empty key."""
    import llama_cpp

    result = (llama_cpp.llama_model_kv_override * (len(records) + 1))()
    for item, (key, value) in zip(result, records):
        item.key = key.encode()
        if isinstance(value, int):
            item.tag, item.value.val_i64 = INTEGER, value
        else:
            item.tag, item.value.val_str = TEXT, value.encode()[:127]
    return result


def quantize_file(
    source: Path,
    path: Path,
    mix: str,
    *,
    pure: bool = False,
    matrix: Matrix | None = None,
    types: dict[str, str] | None = None,
    output: str | None = None,
    embeddings: str | None = None,
) -> None:
    """Quantizes like `llama-quantize`; `types` are its --tensor-type patterns."""
    import llama_cpp

    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = MIXES[mix]
    parameters.pure = pure
    parameters.nthread = 1
    if output:
        parameters.output_tensor_type = gguf.GGMLQuantizationType[output]
    if embeddings:
        parameters.token_embedding_type = gguf.GGMLQuantizationType[embeddings]
    if types:
        patterns = (llama_cpp.llama_model_tensor_override * (len(types) + 1))()
        for item, (pattern, type) in zip(patterns, types.items()):
            item.pattern, item.type = pattern.encode(), gguf.GGMLQuantizationType[type]
        parameters.tt_overrides = patterns
    if matrix:
        entries = (llama_cpp.llama_model_imatrix_data * (len(matrix.weights) + 1))()
        for item, (name, values) in zip(entries, matrix.weights.items()):
            item.name, item.size = name.encode(), values.size
            item.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        parameters.imatrix = entries
        parameters.kv_overrides = overrides(matrix.records())
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
