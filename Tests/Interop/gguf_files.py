"""Reads and writes GGUF with the gguf package."""

from functools import lru_cache
from pathlib import Path

import gguf
import numpy as np
from tinylm_gguf import IN_LAYER, gguf_name, interleaved

# The metadata keys that a quantizer changes.
CHANGED_KEYS = {"general.file_type", "general.quantization_version"}


def read(path: Path) -> gguf.GGUFReader:
    """An opened file; the last ones are kept, since the package takes long for a vocabulary."""
    about = path.stat()
    return _read(path, about.st_mtime_ns, about.st_size, about.st_ino)


@lru_cache(maxsize=4)
def _read(path: Path, *_: int) -> gguf.GGUFReader:
    return gguf.GGUFReader(path)


def metadata(path: Path) -> dict:
    """Key → (types, value), without keys that the reader adds or a quantizer changes."""
    fields = read(path).fields
    return {
        key: ([type.name for type in field.types], field.contents())
        for key, field in fields.items()
        if not key.startswith("GGUF.") and key not in CHANGED_KEYS
    }


def types(path: Path) -> dict[str, str]:
    return {tensor.name: tensor.tensor_type.name for tensor in read(path).tensors}


def values(path: Path) -> dict[str, np.ndarray]:
    """Every tensor as float32, row-major, decoded by the package."""
    result = {}
    for tensor in read(path).tensors:
        decoded = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        result[tensor.name] = np.asarray(decoded, np.float32).reshape(
            tuple(reversed(tensor.shape.tolist()))
        )
    return result


def write_float32(path: Path, source: Path, tensors: dict[str, np.ndarray]) -> None:
    """Writes the model of `source` with these values in F32, so that a runtime rounds nothing."""
    fields = read(source).fields
    writer = gguf.GGUFWriter(path, fields["general.architecture"].contents())
    for key in metadata(source):
        if key != "general.architecture":
            field = fields[key]
            writer.add_key_value(key, field.contents(), *field.types[:2])
    for name, value in tensors.items():
        writer.add_tensor(name, np.ascontiguousarray(value, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def under_gguf_names(
    tensors: dict[str, np.ndarray], heads: int, kv_heads: int
) -> dict[str, np.ndarray]:
    """Renames a checkpoint from Hugging Face names to those of llama.cpp; others are unchanged."""
    if not any(name.startswith("model.") for name in tensors):
        return tensors
    counts = {"self_attn.q_proj": heads, "self_attn.k_proj": kv_heads}
    result = {}
    for name, value in tensors.items():
        module = ".".join(name.split(".")[-3:-1])
        result[gguf_name(name)] = interleaved(value, counts[module]) if module in counts else value
    return result


def is_block_matrix(name: str) -> bool:
    """Whether a tensor is a matrix of a layer, which every quantizer quantizes."""
    parts = name.split(".")
    return parts[0] == "blk" and parts[2] in IN_LAYER.values() and not parts[2].endswith("_norm")


def edited(source: Path, target: Path, changes: dict) -> Path:
    """Copies a file with other values for some keys of the metadata.

    None removes a key. A pair has the type of a value, too, for keys that the file lacks.
    """
    reader = read(source)
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    fields = {key: (field.contents(), field.types) for key, field in reader.fields.items()}
    for key, value in changes.items():
        known = fields.pop(key, (None, [gguf.GGUFValueType.STRING]))
        if isinstance(value, tuple):
            fields[key] = (value[0], [value[1]])
        elif value is not None:
            types = [gguf.GGUFValueType.STRING] if isinstance(value, str) else known[1]
            fields[key] = (value, types)
    for key, (value, types) in fields.items():
        if not key.startswith("GGUF.") and key != "general.architecture":
            inner = types[-1] if types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(key, value, types[0], inner)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target
