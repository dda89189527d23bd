"""Rounds a checkpoint to the nearest codes with gptqmodel, without calibration.

    gptq_rtn.py <checkpoint> <output> <bits> <group size> <threads>

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

import torch  # noqa: E402
from gptqmodel import GPTQModel  # noqa: E402
from gptqmodel.quantization import RTNConfig  # noqa: E402


def main() -> None:
    imports = time.perf_counter() - begin
    checkpoint, output, bits, group, threads = sys.argv[1:]
    # gptqmodel writes its logs into the current folder.
    os.chdir(Path(output).parent)
    torch.set_num_threads(int(threads))
    config = RTNConfig(bits=int(bits), group_size=int(group))
    model = GPTQModel.load(checkpoint, config, device="cpu")
    model.quantize(None)
    model.save(output)
    print(json.dumps({"imports": imports}))


if __name__ == "__main__":
    main()
