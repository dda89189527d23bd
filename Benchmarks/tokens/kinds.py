"""Tokenizers of each type, as the models of the field have them, and what applies them there."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import sentencepiece
import tokenizer_models
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

SENTENCEPIECE = ("SentencePiece BPE", "unigram")
SIZE = 32_000  # tokens
SHARE = 1_000_000  # bytes of each text that trainers read
Peer = Callable[[str], tuple[float, list[int]]]  # text → seconds, ids


def lines(paths: dict[str, Path]) -> Iterator[str]:
    for path in paths.values():
        yield from path.read_bytes()[:SHARE].decode(errors="ignore").split("\n")


def train_with_tokenizers(name: str, folder: Path, paths: dict[str, Path]) -> None:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    if name == "WordPiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(
            vocab_size=SIZE, special_tokens=special, show_progress=False
        )
    else:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer, _ = tokenizer_models.BYTE_LEVEL["llama-bpe"]
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        trainer = trainers.BpeTrainer(
            vocab_size=SIZE, initial_alphabet=alphabet, show_progress=False
        )
    tokenizer.train_from_iterator(lines(paths), trainer)
    tokenizer.save(str(folder / "tokenizer.json"))


def train_sentencepiece(name: str, folder: Path, paths: dict[str, Path]) -> None:
    """Llama 2 has BPE without normalization; XLM-RoBERTa has unigrams with NFKC."""
    is_unigram = name == "unigram"
    settings = {} if is_unigram else {"normalization_rule_name": "identity", "byte_fallback": True}
    prefix = folder / ("sentencepiece.bpe" if is_unigram else "tokenizer")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(line for line in lines(paths) if line),
        model_prefix=str(prefix),
        model_type="unigram" if is_unigram else "bpe",
        vocab_size=SIZE,
        remove_extra_whitespaces=is_unigram,
        character_coverage=0.9995,
        minloglevel=2,
        **settings,
    )
    if is_unigram:
        transformers.XLMRobertaTokenizer.from_pretrained(folder).save_pretrained(folder)
        prefix.with_name(f"{prefix.name}.model").unlink()


def timed(encode: Callable[[str], list[int]]) -> Peer:
    def run(text: str) -> tuple[float, list[int]]:
        start = time.process_time()
        ids = encode(text)
        return time.process_time() - start, ids

    return run


def prepare(name: str, work: Path, paths: dict[str, Path]) -> tuple[Path, Peer]:
    """The folder of a tokenizer, and its library."""
    folder = work / name.replace(" ", "-")
    if not folder.exists():
        folder.mkdir()
        train = train_sentencepiece if name in SENTENCEPIECE else train_with_tokenizers
        train(name, folder, paths)
        (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    if name == "SentencePiece BPE":
        processor = sentencepiece.SentencePieceProcessor(str(folder / "tokenizer.model"))
        return folder, timed(processor.encode)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return folder, timed(lambda text: tokenizer.encode(text, add_special_tokens=False).ids)
