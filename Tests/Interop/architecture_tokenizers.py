"""Small tokenizers of the common families."""

import json
import tempfile
from functools import cache
from pathlib import Path

from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

ROOT = Path(__file__).resolve().parents[2]

LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2_SPLIT = LLAMA3_SPLIT.replace(r"\p{N}{1,3}", r"\p{N}")
CHAT = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\\n' }}{% endfor %}"


@cache
def _corpus() -> list[str]:
    texts = [ROOT / "README.md", *sorted((ROOT / "formats").glob("*.md"))]
    return [line for path in texts for line in path.read_text().splitlines() if line]


@cache
def _trained_byte_level(llama3: bool) -> str:
    """The JSON of a byte-level BPE tokenizer with 400 tokens."""
    split = LLAMA3_SPLIT if llama3 else QWEN2_SPLIT
    tokenizer = Tokenizer(models.BPE(ignore_merges=llama3))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(split), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    return tokenizer.to_str()


def _byte_level(path: Path, name: str, kind: str) -> None:
    """Writes a byte-level BPE tokenizer with 400 tokens and two special ones."""
    tokenizer = Tokenizer.from_str(_trained_byte_level(kind == "llama3"))
    phi = name.startswith("phi")
    first, last = {
        "llama3": ("<|begin_of_text|>", "<|eot_id|>"),
        "qwen2": ("<|endoftext|>", "<|im_end|>"),
        "glm4": ("<|endoftext|>", "<|user|>"),
        "glm4-moe": ("<|endoftext|>", "<|user|>"),
        "solar": ("<|startoftext|>", "<|endoftext|>"),
    }["qwen2" if phi else kind]
    more = {"glm4-moe": ["[gMASK]", "<|observation|>"], "solar": ["<unk>"]}.get(kind, [])
    tokenizer.add_special_tokens([first, last, *more])
    assert tokenizer.token_to_id(first) == 400
    if kind == "llama3" and not phi:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{first} $A",
            pair=f"{first} $A {first}:1 $B:1",
            special_tokens=[(first, 400)],
        )
    tokenizer.save(str(path / "tokenizer.json"))
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": CHAT}
    if kind == "qwen2":
        about |= {"tokenizer_class": "Qwen2Tokenizer", "add_prefix_space": False, "bos_token": None}
        about |= {"pad_token": first, "add_bos_token": False}
    elif phi:
        about |= {"tokenizer_class": "GPT2Tokenizer", "bos_token": first, "add_bos_token": False}
    else:
        about |= {"bos_token": first}
    about |= {
        "eos_token": last,
        "added_tokens_decoder": {
            str(id): _added(token) for id, token in enumerate([first, last, *more], 400)
        },
    }
    _write(path / "tokenizer_config.json", about)


def _added(token: str) -> dict:
    flags = dict(lstrip=False, normalized=False, rstrip=False, single_word=False, special=True)
    return {"content": token} | flags


@cache
def _trained_sentencepiece(gemma: bool) -> bytes:
    """A SentencePiece model with 400 pieces and byte fallback."""
    import sentencepiece

    special = dict(pad_id=0, eos_id=1, bos_id=2, unk_id=3) if gemma else {}
    with tempfile.TemporaryDirectory() as folder:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(_corpus()),
            model_prefix=f"{folder}/tokenizer",
            vocab_size=400,
            model_type="bpe",
            byte_fallback=True,
            num_threads=1,
            minloglevel=2,
            **special,
        )
        return Path(folder, "tokenizer.model").read_bytes()


def _sentencepiece(path: Path, name: str, kind: str) -> None:
    """Writes a tokenizer.model with 400 pieces and byte fallback."""
    gemma = name.startswith("gemma")
    (path / "tokenizer.model").write_bytes(_trained_sentencepiece(gemma))
    ids = {"<pad>": 0, "<eos>": 1, "<bos>": 2} if gemma else {"<unk>": 0, "<s>": 1, "</s>": 2}
    first, last = ("<bos>", "<eos>") if gemma else ("<s>", "</s>")
    if name.startswith("phi3"):  # llama.cpp looks for this token in models of this name
        ids["<|endoftext|>"], last = 400, "<|endoftext|>"
    about = {
        "tokenizer_class": "GemmaTokenizer" if gemma else "LlamaTokenizer",
        "add_bos_token": True,
        "add_eos_token": False,
        "bos_token": first,
        "eos_token": last,
        "unk_token": "<unk>",
        "added_tokens_decoder": {str(id): _added(token) for token, id in ids.items()},
        "chat_template": CHAT,
    }
    _write(path / "tokenizer_config.json", about)


GEMMA_4 = ["<pad>", "<eos>", "<bos>", "<unk>", "<|turn>", "<turn|>", "<|channel>", "<channel|>"]


@cache
def _trained_merges() -> str:
    """The JSON of a tokenizer with merges of pieces with ▁ for spaces, and byte fallback."""
    tokens = [f"<0x{value:02X}>" for value in range(256)]
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trainer = trainers.BpeTrainer(
        vocab_size=416, limit_alphabet=80, special_tokens=GEMMA_4 + tokens, show_progress=False
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    return tokenizer.to_str()


def _merged_pieces(path: Path, name: str, kind: str) -> None:
    """Writes the tokenizer of Gemma 4: merges of pieces with ▁ for spaces, and byte fallback."""
    document = json.loads(_trained_merges())
    document["added_tokens"] = document["added_tokens"][: len(GEMMA_4)]
    tokenizer = Tokenizer.from_str(json.dumps(document))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos>:1 $B:1", special_tokens=[("<bos>", 2)]
    )
    assert tokenizer.get_vocab_size() == 416
    tokenizer.save(str(path / "tokenizer.json"))
    about = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": "<pad>",
        "eos_token": "<eos>",
        "bos_token": "<bos>",
        "unk_token": "<unk>",
        "extra_special_tokens": GEMMA_4[4:],
        "chat_template": CHAT,
    }
    _write(path / "tokenizer_config.json", about)


def _write(path: Path, document: dict) -> None:
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


TOKENIZERS = {
    "llama3": _byte_level,
    "qwen2": _byte_level,
    "glm4": _byte_level,
    "glm4-moe": _byte_level,
    "solar": _byte_level,
    "sentencepiece": _sentencepiece,
    "gemma4": _merged_pieces,
}
# The pre-tokenizers in llama.cpp. It identifies them by a hash of well-known tokenizers, which the
# small ones do not have.
PRE_TOKENIZERS = {
    "llama3": "llama-bpe",
    "qwen2": "qwen2",
    "glm4": "qwen2",
    "glm4-moe": "qwen2",
    "solar": "qwen2",
    "sentencepiece": "default",
    "gemma4": "default",  # which the converter does not ask for
}
