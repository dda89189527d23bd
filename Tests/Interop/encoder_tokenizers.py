"""The tokenizers of encoders, with the libraries of real models."""

import json
import tempfile
from functools import cache
from pathlib import Path

import sentencepiece
import tokenizer_models
import transformers
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

# Ten scripts, and what normalization changes.
SCRIPTS = [
    "The quick brown fox jumps over the lazy dog.",
    "Übermäßig großer Ärger: Café naïve résumé Ångström ÉCOLE",
    "Привет, мир! Съешь ещё этих мягких французских булок",
    "Καλημέρα κόσμε, τι κάνεις;",
    "你好，世界！这是一个测试。",
    "日本語のテキストとカタカナ、ガギグ",
    "한국어 텍스트입니다. 안녕하세요",
    "مرحبا بالعالم، كيف الحال؟",
    "שלום עולם",
    "हिन्दी में पाठ",
    "ภาษาไทย สวัสดี",
    "Cafe\u0301 nai\u0308ve ﬁne ½ Ⅷ ① ｆｕｌｌ",
    "  leading, double  spaces\tand\nlines  ",
    "don't [x] {y} <z> a_b #5 €9 $1,000.50 50% e-mail@x.org",
    "🚀 rocket 😶 unknown ✅",
]


def _configuration(folder: Path, kind: str, **values) -> None:
    names = ["pad_token", "unk_token", "cls_token", "sep_token", "mask_token"]
    settings = {"tokenizer_class": kind} | dict(zip(names, SPECIAL, strict=True)) | values
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


@cache
def _lines() -> list[str]:
    return [
        *(line for text in tokenizer_models.corpus() for line in text.split("\n")),
        *SCRIPTS * 9,
    ]


@cache
def _trained_wordpiece(cased: bool, **options) -> str:
    """The JSON of a WordPiece tokenizer."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(**({"lowercase": not cased} | options))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=1100, special_tokens=SPECIAL, show_progress=False, limit_alphabet=600
    )
    tokenizer.train_from_iterator(_lines(), trainer)
    return tokenizer.to_str()


def write_wordpiece(folder: Path, cased: bool = False, **options) -> Tokenizer:
    """Writes a tokenizer.json like that of BERT."""
    tokenizer = Tokenizer.from_str(_trained_wordpiece(cased, **options))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    _configuration(folder, "BertTokenizer", do_lower_case=not cased, **options)
    return tokenizer


@cache
def _trained_unigram(fullwidth: bool = False, **options) -> bytes:
    """A SentencePiece model of unigrams, with NFKC or a small table of characters."""
    settings = dict(vocab_size=1000, character_coverage=0.999, num_threads=1, minloglevel=2)
    with tempfile.TemporaryDirectory() as folder:
        if fullwidth:
            rules = Path(folder, "rules.tsv")
            rules.write_text("".join(f"{0xFEE0 + code:X}\t{code:X}\n" for code in range(33, 127)))
            settings["normalization_rule_tsv"] = str(rules)
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(line for line in _lines() if line),
            model_prefix=f"{folder}/unigram",
            model_type="unigram",
            **(settings | options),
        )
        return Path(folder, "unigram.model").read_bytes()


def write_unigram(folder: Path, keep: bool = False, **options) -> Tokenizer:
    """Writes a tokenizer.json like that of XLM-RoBERTa; with `keep` also the SentencePiece model."""
    path = folder / "sentencepiece.bpe.model"
    path.write_bytes(_trained_unigram(**options))
    tokenizer = transformers.XLMRobertaTokenizer.from_pretrained(folder, local_files_only=True)
    tokenizer.save_pretrained(folder)
    if not keep:
        path.unlink()
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def write_roberta(folder: Path) -> Tokenizer:
    """Writes a byte-level tokenizer like that of RoBERTa."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer = _byte_level(special)
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), add_prefix_space=False
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    names = ["cls_token", "pad_token", "sep_token", "unk_token", "mask_token"]
    settings = dict(zip(names, special, strict=True)) | {"bos_token": "<s>", "eos_token": "</s>"}
    settings["tokenizer_class"] = "RobertaTokenizer"
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return tokenizer


def write_modernbert(folder: Path) -> Tokenizer:
    """Writes a byte-level tokenizer like that of ModernBERT."""
    tokenizer = _byte_level(SPECIAL)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    _configuration(folder, "PreTrainedTokenizerFast")
    return tokenizer


def _byte_level(special: list[str]) -> Tokenizer:
    return Tokenizer.from_str(_trained_byte_level(*special))


@cache
def _trained_byte_level(*special: str) -> str:
    """The JSON of a byte-level BPE tokenizer with special tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1000,
        special_tokens=list(special),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_lines(), trainer)
    return tokenizer.to_str()


TOKENIZERS = {
    "wordpiece": write_wordpiece,
    "wordpiece-cased": lambda folder: write_wordpiece(folder, cased=True),
    # Files with the table of NFKC take seconds to read in Python.
    "unigram": lambda folder: write_unigram(folder, fullwidth=True),
    "roberta": write_roberta,
    "modernbert": write_modernbert,
}
PRE_TOKENIZERS = {"roberta": "gpt-2", "modernbert": "gpt-2"}  # "default" for the others
