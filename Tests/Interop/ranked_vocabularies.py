"""Vocabularies with ranks, of tiktoken and in tekken.json, and the classes that published models
have beside them."""

import base64
import json
from functools import cache
from pathlib import Path

from tokenizer_models import TEKKEN, byte_level, samples, sequence
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers.convert_slow_tokenizer import TikTokenConverter, bytes_to_unicode

COUNT = 900  # tokens with ranks

QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"
LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"
ENDING = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
KIMI = [
    r"[\p{Han}]+",
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{ENDING}",
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{ENDING}",
    r"\p{N}{1,3}",
    r" ?[^\s\p{L}\p{N}]+[\r\n]*",
    r"\s*[\r\n]+",
    r"\s+(?!\S)",
    r"\s+",
]
EXTRAS = [f"<|extra_{index}|>" for index in range(205)]


@cache
def ranks() -> dict[bytes, int]:
    """Trained tokens with merges that cross all boundaries; the single bytes come first."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = sequence(pre_tokenizers.FixedLength(length=9), byte_level(False))
    trainer = trainers.BpeTrainer(
        vocab_size=COUNT,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(samples(), trainer)
    bytes_of = {letter: byte for byte, letter in bytes_to_unicode().items()}
    vocabulary = tokenizer.get_vocab()
    longer = sorted((text for text in vocabulary if len(text) > 1), key=vocabulary.get)
    tokens = [bytes([byte]) for byte in range(256)]
    tokens += [bytes(bytes_of[letter] for letter in text) for text in longer]
    return {token: rank for rank, token in enumerate(tokens)}


def line(token: bytes, rank: int) -> str:
    return f"{base64.b64encode(token).decode()} {rank}\n"


# What llama.cpp's converter asks of a class, without the package tiktoken.
COMMON = """import base64
from types import SimpleNamespace

from transformers import PreTrainedTokenizer


def _load(path):
    with open(path, "rb") as file:
        lines = [line.split() for line in file if line.strip()]
    return {base64.b64decode(token): int(rank) for token, rank in lines}

"""

METHODS = """
        self.model = SimpleNamespace(_mergeable_ranks=self.mergeable_ranks)
        super().__init__(**kwargs)

    @property
    def vocab_size(self):
        return len(self.mergeable_ranks) + len(self.special_tokens)

    def get_vocab(self):
        return self.mergeable_ranks

    def _convert_id_to_token(self, index):
        return str(index)

    def _convert_token_to_id(self, token):
        return self.special_tokens.get(token)
"""

LISTED = """
EXTRAS = tuple((f"<|extra_{{i}}|>" for i in range(205)))
PAT_STR = r\"\"\"{pattern}\"\"\"


class {name}(PreTrainedTokenizer):
    vocab_files_names = {{"vocab_file": "{file}"}}

    def __init__(self, vocab_file, **kwargs):
        self.mergeable_ranks = _load(vocab_file)
        texts = {texts} + EXTRAS
        start = len(self.mergeable_ranks)
        self.special_tokens = {{text: start + index for index, text in enumerate(texts)}}
"""

RESERVED = """
class TikTokenTokenizer(PreTrainedTokenizer):
    vocab_files_names = {"vocab_file": "tiktoken.model"}
    num_reserved_special_tokens = 256
    pat_str = "|".join(
        [
%s
        ]
    )

    def __init__(self, vocab_file, added_tokens_decoder=None, **kwargs):
        self.mergeable_ranks = _load(vocab_file)
        stated = {id: token.content for id, token in (added_tokens_decoder or {}).items()}
        start = len(self.mergeable_ranks)
        self.special_tokens = {
            stated.get(id, f"<|reserved_token_{id}|>"): id
            for id in range(start, start + self.num_reserved_special_tokens)
        }
""" % "\n".join(f'            r"""{part}""",' for part in KIMI)

QWEN_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
HUNYUAN_TOKENS = ["<|endoftext|>", "<|startoftext|>", "<|bos|>", "<|eos|>", "<|pad|>"]
# <think> is an added token that is not special.
KIMI_TOKENS = {COUNT: "[BOS]", COUNT + 1: "[EOS]", COUNT + 2: "<|im_end|>", COUNT + 9: "<think>"}
KIMI_TEXTS = [KIMI_TOKENS.get(id, f"<|reserved_token_{id}|>") for id in range(COUNT, COUNT + 256)]


def listed(name: str, file: str, texts: list[str]) -> str:
    return LISTED.format(name=name, file=file, pattern=QWEN, texts=tuple(texts))


# Name → file, code, class, pattern, special tokens, class of the model, name in llama.cpp.
TIKTOKEN = {
    "qwen": (
        "qwen.tiktoken",
        listed("QWenTokenizer", "qwen.tiktoken", QWEN_TOKENS),
        "tokenization_qwen.QWenTokenizer",
        QWEN,
        QWEN_TOKENS + EXTRAS,
        "QWenLMHeadModel",
        "qwen2",
    ),
    "hunyuan": (
        "hy.tiktoken",
        listed("HYTokenizer", "hy.tiktoken", HUNYUAN_TOKENS),
        "tokenization_hy.HYTokenizer",
        QWEN,
        HUNYUAN_TOKENS + EXTRAS,
        "HunYuanMoEV1ForCausalLM",
        "qwen2",
    ),
    "kimi": (
        "tiktoken.model",
        RESERVED,
        "tokenization_kimi.TikTokenTokenizer",
        "|".join(KIMI),
        KIMI_TEXTS,
        "DeepseekV3ForCausalLM",
        "kimi-k2",
    ),
}


def write_tiktoken(folder: Path, name: str) -> Tokenizer:
    """Writes a vocabulary of tiktoken with its class; returns what transformers makes of it."""
    file, code, reference, pattern, special, _, _ = TIKTOKEN[name]
    (folder / file).write_text("".join(line(*item) for item in ranks().items()))
    module, name_of_class = reference.split(".")
    (folder / f"{module}.py").write_text(COMMON + code + METHODS)
    settings = {"tokenizer_class": name_of_class, "auto_map": {"AutoTokenizer": [reference, None]}}
    if name == "kimi":
        tokens = {
            str(id): {"content": text, "special": text != "<think>"}
            for id, text in KIMI_TOKENS.items()
        }
        settings |= {"added_tokens_decoder": tokens, "bos_token": "[BOS]", "eos_token": "[EOS]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    converter = TikTokenConverter(folder / file, pattern, extra_special_tokens=special)
    converter.load_tiktoken_bpe = lambda _: ranks()
    return converter.converted()


MISTRAL_TOKENS = (
    "<unk> <s> </s> [INST] [/INST] [AVAILABLE_TOOLS] [/AVAILABLE_TOOLS] [TOOL_RESULTS] "
    "[/TOOL_RESULTS] [TOOL_CALLS] [IMG] <pad> [IMG_BREAK] [IMG_END] [PREFIX] [MIDDLE] [SUFFIX] "
    "[SYSTEM_PROMPT] [/SYSTEM_PROMPT] [TOOL_CONTENT]"
).split()


def write_tekken(folder: Path, version: str = "v3") -> Tokenizer:
    """Writes a tekken.json like that of Mistral Nemo; returns what transformers makes of it."""
    from transformers.integrations.mistral.tokenizer import MistralConverter

    tokens = list(ranks())
    entries = [
        {"rank": rank, "token_bytes": base64.b64encode(token).decode(), "token_str": None}
        for rank, token in enumerate(tokens)
    ]
    document = {
        "config": {
            "pattern": TEKKEN,
            "num_vocab_tokens": len(tokens),
            # The model has fewer tokens than the file, and more special tokens.
            "default_vocab_size": COUNT,
            "default_num_special_tokens": 30,
            "version": version,
        },
        "vocab": entries,
        "special_tokens": [
            {"rank": rank, "token_str": text, "is_control": True}
            for rank, text in enumerate(MISTRAL_TOKENS)
        ],
    }
    (folder / "tekken.json").write_text(json.dumps(document))
    (folder / "tokenizer_config.json").unlink(missing_ok=True)
    return MistralConverter(str(folder / "tekken.json")).converted()
