"""Memory does not grow with the model. Sparse files replace large ones."""

import json
import os
import struct
import subprocess
import sys

import pytest

LIMIT_KIB = 128 * 1024
# A separate process runs the command and prints its peak, so that our own memory does not count.
PEAK = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""


def sparse_checkpoint(path, matrices: int, rows: int = 8192, columns: int = 8192) -> None:
    size = rows * columns * 2
    header = {
        f"model.layers.{index}.mlp.up_proj.weight": {
            "dtype": "F16",
            "shape": [rows, columns],
            "data_offsets": [index * size, (index + 1) * size],
        }
        for index in range(matrices)
    }
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + matrices * size)


def peak_kib(pleat, *arguments) -> int:
    command = [sys.executable, "-S", "-c", PEAK, pleat.path, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    peak = int(result.stdout.split()[-1])
    return peak if sys.platform == "linux" else peak // 1024


@pytest.mark.parametrize("options", [[], ["--compress"]], ids=["raw", "compressed"])
def test_peak_memory_is_bounded_and_does_not_grow(pleat, tmp_path, options):
    peaks = []
    for matrices in (2, 8):
        source, target = tmp_path / "model.safetensors", tmp_path / "out.pleat"
        sparse_checkpoint(source, matrices)
        peaks.append(
            peak_kib(pleat, "quantize", source, "--to", "pleat", "-o", target, "--force", *options)
        )
        os.remove(source)
        os.remove(target)
    assert max(peaks) < LIMIT_KIB, peaks
    # Only headers and lists of blocks may grow.
    assert peaks[1] < peaks[0] + 8 * 1024, peaks


def test_peak_memory_of_gptq_is_bounded(pleat, tmp_path):
    """Rows of GPTQ are spread over a whole tensor, both when written and when read."""
    source = tmp_path / "model"
    source.mkdir()
    (source / "config.json").write_text("{}")
    sparse_checkpoint(source / "model.safetensors", 4)
    peaks = []
    for options in (["-b", 3], ["-b", 4, "-g", "row"]):
        quantized, packed = tmp_path / "gptq", tmp_path / "out.pleat"
        to = ["--to", "gptq", *options]
        peaks.append(peak_kib(pleat, "quantize", source, *to, "-o", quantized, "--force"))
        peaks.append(
            peak_kib(pleat, "convert", quantized, "--to", "pleat", "-o", packed, "--force")
        )
    assert max(peaks) < LIMIT_KIB, peaks
