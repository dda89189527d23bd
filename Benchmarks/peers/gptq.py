"""Quantizes a checkpoint with gptqmodel: rounds to the nearest codes, or with rows of text by GPTQ.

    gptq.py <checkpoint> <output> <bits> <group size> <threads> [<rows of tokens>.npy]

The paths are absolute. Prints the seconds spent on imports as JSON.
"""

import json
import os
import sys
import time
from pathlib import Path

begin = time.perf_counter()

# With two processors or fewer, gptqmodel starts one worker and then asks for two.
processors = os.cpu_count() or 1
os.cpu_count = lambda: max(processors, 3)

import numpy as np  # noqa: E402
import torch  # noqa: E402
from gptqmodel import GPTQModel  # noqa: E402
from gptqmodel.quantization import QuantizeConfig, RTNConfig  # noqa: E402


def main() -> None:
    imports = time.perf_counter() - begin
    checkpoint, output, bits, group, threads, *text = sys.argv[1:]
    # gptqmodel writes its logs into the current folder.
    os.chdir(Path(output).parent)
    torch.set_num_threads(int(threads))
    groups = {"bits": int(bits), "group_size": int(group)}
    if text:
        config = QuantizeConfig(**groups, sym=False, desc_act=False)
        rows = [
            {"input_ids": row, "attention_mask": [1] * len(row)}
            for row in np.load(text[0]).tolist()
        ]
    else:
        config, rows = RTNConfig(**groups), None
    model = GPTQModel.load(checkpoint, config, device="cpu")
    model.quantize(rows)
    model.save(output)
    print(json.dumps({"imports": imports}))


if __name__ == "__main__":
    main()
