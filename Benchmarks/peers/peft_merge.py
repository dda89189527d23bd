"""Merges a LoRA adapter into a checkpoint with PEFT, as in the PEFT documentation.

    peft_merge.py <checkpoint> <adapter> <output> <threads>

Prints the seconds spent on imports as JSON.
"""

import json
import sys
import time

begin = time.perf_counter()

# gptqmodel is in the environment of the tests, and PEFT would import it. That takes seconds which
# are not those of PEFT.
sys.modules["gptqmodel"] = None

import torch  # noqa: E402
import transformers.models.llama.modeling_llama  # noqa: E402, F401
from peft import PeftModel  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402


def main() -> None:
    imports = time.perf_counter() - begin
    checkpoint, adapter, output, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float16)
    merged = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    merged.save_pretrained(output)
    print(json.dumps({"imports": imports}))


if __name__ == "__main__":
    main()
