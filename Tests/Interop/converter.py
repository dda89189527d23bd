"""llama.cpp's converter, from the source that scripts/python --llama fetched.

Importing it takes longer than most conversions. As a program, this file imports it once, and then
runs each conversion that it reads from standard input in a copy of its own process.
"""

import atexit
import functools
import importlib
import json
import os
import subprocess
import sys
import tempfile
import traceback
import types
from pathlib import Path


def source() -> Path:
    """The folder of the sources, which is beside the Python environment."""
    import llama_cpp

    cache = Path(sys.prefix).parent
    return cache / f"llama-cpp-python-{llama_cpp.__version__}/source/vendor/llama.cpp"


def convert(model: Path, paths: dict[str, Path], pre_tokenizer: str, *options: str) -> None:
    """Converts a Hugging Face folder to GGUF with each type: f32, f16 or bf16.

    The pre-tokenizer is given, since the converter does not know the hash of our tokenizers.
    """
    server = started()
    with tempfile.NamedTemporaryFile("r", suffix=".log") as log:
        wish = {"model": str(model), "pre": pre_tokenizer, "log": log.name, "options": options}
        wish["paths"] = {type: str(path) for type, path in paths.items()}
        server.stdin.write(json.dumps(wish) + "\n")
        server.stdin.flush()
        status = server.stdout.readline().strip()
        assert status == "0", f"status {status or server.wait()}\n{log.read()}"


@functools.cache
def started() -> subprocess.Popen:
    """The running program, which ends with this process."""
    server = subprocess.Popen(
        [sys.executable, __file__, str(source())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    atexit.register(server.stdin.close)
    return server


@functools.cache
def tensor_tables() -> tuple:
    """The modules constants and tensor_mapping of the same sources.

    They have architectures that the installed gguf may not have.
    """
    package = types.ModuleType("llama_gguf")
    package.__path__ = [str(source() / "gguf-py" / "gguf")]
    sys.modules[package.__name__] = package
    names = ("constants", "tensor_mapping")
    return tuple(importlib.import_module(f"{package.__name__}.{name}") for name in names)


def main() -> None:
    """Answers each line with the exit status of its conversion."""
    sys.path[0] = sys.argv[1]
    import convert_hf_to_gguf  # noqa: F401
    import transformers
    from conversion import base, hunyuan, llama, qwen  # noqa: F401

    # Each copy would import these anew, with all that they need: seconds for a conversion.
    for name in ("LlamaConfig", "AutoTokenizer", "LlamaTokenizer", "Qwen2Tokenizer"):
        getattr(transformers, name)

    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os._exit(run(**json.loads(line)))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def run(model: str, pre: str, log: str, options: list[str], paths: dict[str, str]) -> int:
    import convert_hf_to_gguf
    import transformers.dynamic_module_utils
    from conversion.base import TextModel
    from conversion.hunyuan import HunYuanMoEModel

    with open(log, "w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    TextModel.get_vocab_base_pre = lambda self, tokenizer: pre
    # Without permission to run the code of a model, transformers would wait for an answer.
    transformers.dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0
    # It would run the code of the published tokenizer, even if there is a tokenizer.json.
    if (Path(model) / "tokenizer.json").exists():
        HunYuanMoEModel.set_vocab = TextModel._set_vocab_gpt2
    try:
        for type, path in paths.items():
            sys.argv[1:] = [model, "--outfile", path, "--outtype", type, *options]
            convert_hf_to_gguf.main()
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    main()
