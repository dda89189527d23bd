"""llama.cpp's converter, from the source that scripts/python --llama fetched.

As a program, this file runs the converter with a given pre-tokenizer.
"""

import os
import subprocess
import sys
from pathlib import Path


def source() -> Path:
    """The folder of the sources, which is beside the Python environment."""
    import llama_cpp

    cache = Path(sys.prefix).parent
    return cache / f"llama-cpp-python-{llama_cpp.__version__}/source/vendor/llama.cpp"


def convert(model: Path, paths: dict[str, Path], pre_tokenizer: str) -> None:
    """Converts a Hugging Face folder to GGUF with each type: f32, f16 or bf16."""
    arguments = [pre_tokenizer, str(model), *(f"{type}={path}" for type, path in paths.items())]
    result = subprocess.run(
        [sys.executable, __file__, str(source()), *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    assert result.returncode == 0, result.stdout + result.stderr


def main() -> None:
    sources, pre_tokenizer, model, *wishes = sys.argv[1:]
    sys.path[0] = sources
    import convert_hf_to_gguf
    from conversion.base import TextModel

    TextModel.get_vocab_base_pre = lambda self, tokenizer: pre_tokenizer
    for type, path in (wish.split("=", 1) for wish in wishes):
        sys.argv = ["convert_hf_to_gguf.py", model, "--outfile", path, "--outtype", type]
        convert_hf_to_gguf.main()


if __name__ == "__main__":
    main()
