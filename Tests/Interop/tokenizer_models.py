"""Small tokenizers, trained with the libraries of real models, and tiny models for them."""

import json
import random
import tempfile
from functools import cache
from pathlib import Path

import sentencepiece
import tokenizers
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForCausalLM, LlamaTokenizer

ROOT = Path(__file__).resolve().parents[2]
ROWS = 1200  # rows of every embedding, more than there are tokens

# The patterns in tokenizer.json of published models.
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN_2 = LLAMA_3.replace(r"\p{N}{1,3}", r"\p{N}")
CL100K = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
)
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"


def cased(suffix: str, digits: str) -> str:
    start = r"[^\r\n\p{L}\p{N}]?"
    return (
        f"{start}{UPPER}*{LOWER}+{suffix}|{start}{UPPER}+{LOWER}*{suffix}|{digits}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )


GPT_4O = cased("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", r"\p{N}{1,3}")
TEKKEN = cased("", r"\p{N}")
DEEPSEEK_V3 = [
    r"\p{N}{1,3}",
    "[一-龥぀-ゟ゠-ヿ]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
]
DEEPSEEK_CODER = ["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+"]
QWEN_35 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}"
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SEED_CODER = (
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\r\n]+"
    "|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"
)
MINICPM_5 = LLAMA_3.replace(r"\p{N}{1,3}", r"\p{N}+")


def isolated(*patterns: str) -> list:
    return [
        pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated", invert=False)
        for pattern in patterns
    ]


def byte_level(use_regex: bool) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)


def sequence(*steps) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(list(steps))


def split(*patterns: str) -> pre_tokenizers.PreTokenizer:
    return sequence(*isolated(*patterns), byte_level(False))


digits = pre_tokenizers.Digits(individual_digits=True)
# Name in llama.cpp → the pre-tokenizer of a published model, and whether it ignores merges.
BYTE_LEVEL = {
    "gpt-2": (byte_level(True), False),
    "smollm": (sequence(digits, byte_level(True)), False),
    "llama-bpe": (sequence(*isolated(LLAMA_3), byte_level(False)), True),
    "dbrx": (
        sequence(
            pre_tokenizers.Split(tokenizers.Regex(LLAMA_3), "removed", invert=True),
            byte_level(False),
        ),
        False,
    ),
    "dbrx, as tiktoken has it": (sequence(*isolated(CL100K), byte_level(False)), False),
    "qwen2": (sequence(*isolated(QWEN_2), byte_level(False)), False),
    "qwen35": (sequence(*isolated(QWEN_35), byte_level(False)), False),
    "gpt-4o": (sequence(*isolated(GPT_4O), byte_level(False)), False),
    "tekken": (sequence(*isolated(TEKKEN), byte_level(False)), True),
    "deepseek-v3": (sequence(*isolated(*DEEPSEEK_V3), byte_level(False)), False),
    "deepseek-coder": (sequence(*isolated(*DEEPSEEK_CODER), digits, byte_level(False)), False),
    "seed-coder": (sequence(*isolated(SEED_CODER), byte_level(False)), False),
    "minicpm5": (sequence(*isolated(r"\p{N}{1,3}", MINICPM_5), byte_level(False)), True),
}

CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
IDEOGRAPHS = "[一-龥぀-ゟ゠-ヿ]+"
RUNS = "".join(rf"|\s{{{count}}}(?!\S)" for count in [512, 256, 128, 64, 32, 16, 8, 4, "1,2"])
JAIS_2 = LLAMA_3.replace(r"|\s+(?!\S)|\s+", RUNS + r"|\s{1}")
K_EXAONE = (
    CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"
)
YOUTU = [
    "[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|" + IDEOGRAPHS,
    cased(CONTRACTIONS + "?", r"\p{N}"),
]
TINY_AYA = [r"\d{1,3}(?=(?:\d{3})*\b)", GPT_4O]
SPARK = [
    r"\p{N}{1,3}",
    IDEOGRAPHS,
    DEEPSEEK_V3[2].replace("[\r\n]*|\\s*[\r\n]+", "|[\r\n]"),
    r"\p{N}",
]
BLOOM = " ?[^(\\s|[.,!?…。，、।۔،])]+"
FALCON = [
    pre_tokenizers.Punctuation("contiguous"),
    byte_level(True),
    pre_tokenizers.Digits(individual_digits=False),
    *isolated("[0-9][0-9][0-9]"),
]
CHAMELEON = [
    *isolated("<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", "([\t\n]|    |  )"),
    digits,
    pre_tokenizers.Punctuation("isolated"),
    byte_level(True),
]
# The same for pre-tokenizers of a few models.
RARE = {
    "jais-2": (split(JAIS_2), False),
    "exaone-moe": (split(K_EXAONE), False),
    "youtu": (split(*YOUTU), True),
    "tiny_aya": (split(*TINY_AYA), False),
    "superbpe": (split(r"\p{N}+", r"(?=(\d{3})+(?!\d))"), False),
    "ufakzeka": (split(QWEN_2.replace(CONTRACTIONS + "|", "")), False),
    "laguna": (split(r"[^\n]+|[\n]+", QWEN_2), False),
    "spark2_5": (split(*SPARK), False),
    "bloom": (split(BLOOM), False),
    "viking": (split(BLOOM, r"\p{N}"), False),
    "granite-embed-multi-97m": (split(GPT_4O), True),
    "falcon": (sequence(*FALCON), False),
    "chameleon": (sequence(*CHAMELEON), False),
}

SAMPLES = [
    "",
    " ",
    "  ",
    "\n",
    "\n\n \n\n\n",
    " \t \t\t \t\n  \n   \n    \n",
    "\r\n\r\n",
    "Hello, World!",
    "  leading and trailing  ",
    "many      spaces     inside",
    "def f(x):\n    return x ** 2  # done\n\n\n",
    "I'm sure they'll say it's fine, don't you think? We've SEEN IT'S DON'T 'RE",
    "3 33 333 3333 33333 333333 3333333 3.3 3..3 3...3 1,000,000 0x1F",
    "Café naïve résumé Ångström; Cafe\u0301 nai\u0308ve",
    "Привет, мир! нещо на Български",
    "你好，世界！这是一个测试。天～",
    "日本語のテキストとカタカナ ー 한국어 텍스트입니다",
    "ภาษาไทย កាន់តែពិសេសអាច हिन्दी में مرحبا بالعالم שלום",
    "🚀 (normal) 😶\u200d🌫️ (multiple emojis) ✅ 🦙🦙 👍🏽🇺🇸",
    "²³¹ ½ Ⅷ ٣٤٥ १२३",
    "a\u00a0b\u3000c\u200bd\u2028e",
    "<|begin|>system text<|end|>\n<|begin|>",
    "call<tool> me <tool><tool>  <|end|> x",
    "''''''```````\"\"\"\"......!!!!!!?????? ------=======",
    "https://example.com/a?b=c&d=%20#e",
    "camelCase snake_case SCREAMING_CASE XMLHttpRequest iPhone ÉCOLE École",
    "a\x00b\x01\x7f",
    "▁marked ▁ already",
]


def texts(count: int = 200) -> list[str]:
    """The samples, and seeded random mixtures of their pieces."""
    generator = random.Random(20)
    pieces = [piece for sample in SAMPLES for piece in sample.split(" ")] + [" ", "  ", "\n", "'s"]
    mixed = [
        "".join(
            generator.choice(pieces) + generator.choice(["", " ", " ", "\n", "   "])
            for _ in range(generator.randrange(1, 12))
        )
        for _ in range(count - len(SAMPLES))
    ]
    return SAMPLES + mixed


@cache
def corpus() -> list[str]:
    paths = sorted(ROOT.glob("formats/*.md")) + sorted((ROOT / "Tests/Interop").glob("*.py"))
    documents = [path.read_text() for path in paths]
    return documents + samples() * 20


def samples() -> list[str]:
    """The samples without special tokens."""
    return [text for text in SAMPLES if "<" not in text]


def write_model(folder: Path, model_type: str = "llama", rows: int = ROWS, **settings) -> Path:
    """Writes a tiny random model without a tokenizer."""
    sizes = {
        "vocab_size": rows,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
    }
    if model_type.startswith("gemma"):
        sizes["query_pre_attn_scalar"] = 16
    ids = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    config = AutoConfig.for_model(model_type, **{**sizes, **ids, **settings})
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    return folder


def edit(path: Path, change) -> None:
    value = json.loads(path.read_text()) if path.exists() else {}
    change(value)
    path.write_text(json.dumps(value, ensure_ascii=False))


@cache
def _trained_byte_level(kind: str) -> str:
    """The JSON of a byte-level tokenizer without the pre-tokenizer of a published model."""
    tokenizer = Tokenizer(tokenizers.models.BPE())
    # Merges that cross all boundaries, so that the ids show where a text was split.
    tokenizer.pre_tokenizer = sequence(pre_tokenizers.FixedLength(length=9), byte_level(False))
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=ROWS - 100,
        special_tokens=["<|endoftext|>", "<|begin|>", "<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    if kind == "falcon":  # llama.cpp splits less, which shows only with merges of other models.
        tokenizer.pre_tokenizer = RARE[kind][0]
    tokenizer.train_from_iterator(corpus() if kind == "common" else samples(), trainer)
    return tokenizer.to_str()


def write_byte_level(folder: Path, name: str, begins: bool = True) -> Tokenizer:
    """Writes a byte-level tokenizer with the pre-tokenizer of a published model."""
    splitting, ignores_merges = (BYTE_LEVEL | RARE)[name]
    kind = "common" if name in BYTE_LEVEL else "falcon" if name == "falcon" else "rare"
    tokenizer = Tokenizer.from_str(_trained_byte_level(kind))
    tokenizer.model.ignore_merges = ignores_merges
    tokenizer.pre_tokenizer = splitting
    tokenizer.add_tokens([AddedToken("<tool>", normalized=False, special=False)])
    if begins:
        tokenizer.post_processor = processors.Sequence(
            [
                processors.ByteLevel(trim_offsets=False),
                processors.TemplateProcessing(
                    single="<|begin|> $A",
                    pair="<|begin|> $A <|begin|> $B",
                    special_tokens=[("<|begin|>", tokenizer.token_to_id("<|begin|>"))],
                ),
            ]
        )
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|begin|>",
        "eos_token": "<|end|>",
        "pad_token": "<|endoftext|>",
        "chat_template": "{% for m in messages %}{{ m.content }}{% endfor %}",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return tokenizer


@cache
def _trained_sentencepiece(**options) -> bytes:
    settings = {
        "model_type": "bpe",
        "byte_fallback": True,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "split_digits": True,
        "allow_whitespace_only_pieces": True,
        "vocab_size": 1000,
        "character_coverage": 0.998,
        **options,
    }
    with tempfile.TemporaryDirectory() as folder:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(line for text in corpus() for line in text.split("\n")),
            model_prefix=f"{folder}/tokenizer",
            minloglevel=2,
            **settings,
        )
        return Path(folder, "tokenizer.model").read_bytes()


def write_sentencepiece(
    folder: Path, dummy_prefix: bool = True, **options
) -> sentencepiece.SentencePieceProcessor:
    """Writes a SentencePiece model like that of Llama 2."""
    path = folder / "tokenizer.model"
    path.write_bytes(_trained_sentencepiece(add_dummy_prefix=dummy_prefix, **options))
    settings = {
        "tokenizer_class": "LlamaTokenizer",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "add_bos_token": True,
        "add_eos_token": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return sentencepiece.SentencePieceProcessor(model_file=str(path))


def write_converted(folder: Path, **options) -> Tokenizer:
    """Writes only the tokenizer.json that transformers makes from a SentencePiece model."""
    write_sentencepiece(folder, **options)
    tokenizer = LlamaTokenizer.from_pretrained(folder, local_files_only=True)
    (folder / "tokenizer.model").unlink()
    tokenizer.save_pretrained(folder)
    return Tokenizer.from_file(str(folder / "tokenizer.json"))
