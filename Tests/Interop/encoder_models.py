"""Small random models that embed texts, and their tokenizers, as Hugging Face folders."""

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sentencepiece
import tokenizer_models
import torch
import transformers
from architecture_weights import fill
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

ROWS = 1200  # rows of the embeddings, more than there are tokens
SIZES = dict(
    hidden_size=128,
    intermediate_size=192,
    num_hidden_layers=4,
    num_attention_heads=4,
    vocab_size=ROWS,
)
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
BERT = dict(max_position_embeddings=256, pad_token_id=0)
MODERN = dict(
    max_position_embeddings=512,
    pad_token_id=0,
    bos_token_id=2,
    eos_token_id=3,
    cls_token_id=2,
    sep_token_id=3,
    local_attention=24,
)

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


@dataclass(frozen=True)
class Encoder:
    """A model: its config, its tokenizer, and the form of its files."""

    name: str
    config: Callable[[], transformers.PretrainedConfig]
    tokenizer: str
    dtype: torch.dtype = torch.float32
    auto: str = "AutoModel"  # the class that is saved
    pooling: str | None = "mean"
    edit: Callable[[Path], None] | None = None
    old: bool = False  # words for norms as in old checkpoints

    def __str__(self) -> str:
        return self.name


def config_of(name: str, **values) -> Callable[[], transformers.PretrainedConfig]:
    return lambda: getattr(transformers, name)(**(SIZES | values))


def _publish_nomic(folder: Path) -> None:
    """Adds the keys of the published model, which llama.cpp's converter reads."""
    path = folder / "config.json"
    config = json.loads(path.read_text()) | PUBLISHED_NOMIC
    path.write_text(json.dumps(config))


PUBLISHED_NOMIC = {
    "activation_function": "swiglu",
    "architectures": ["NomicBertModel"],
    "causal": False,
    "layer_norm_epsilon": 1e-12,
    "max_trained_positions": 2048,
    "mlp_fc1_bias": False,
    "mlp_fc2_bias": False,
    "model_type": "nomic_bert",
    "n_embd": SIZES["hidden_size"],
    "n_head": SIZES["num_attention_heads"],
    "n_inner": SIZES["intermediate_size"],
    "n_layer": SIZES["num_hidden_layers"],
    "n_positions": 8192,
    "pad_token_id": 0,
    "prenorm": False,
    "qkv_proj_bias": False,
    "rotary_emb_base": 1000,
    "rotary_emb_fraction": 1.0,
    "rotary_emb_interleaved": False,
    "rotary_emb_scale_base": None,
    "rotary_scaling_factor": None,
    "type_vocab_size": 2,
    "use_rms_norm": False,
    "vocab_size": ROWS,
}


def _publish_modern(folder: Path) -> None:
    """Writes the config in the form of the published model."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    config.pop("layer_types")
    config |= {
        "global_attn_every_n_layers": 3,
        "global_rope_theta": rope["full_attention"]["rope_theta"],
        "local_rope_theta": rope["sliding_attention"]["rope_theta"],
        "layer_norm_eps": 1e-5,
    }
    path.write_text(json.dumps(config))


ENCODERS = [
    Encoder("bert", config_of("BertConfig", **BERT), "wordpiece"),
    Encoder(
        "bert-half",
        config_of("BertConfig", **BERT),
        "wordpiece",
        torch.float16,
        auto="AutoModelForMaskedLM",
        pooling="cls",
    ),
    Encoder("bert-old", config_of("BertConfig", **BERT), "wordpiece-cased", pooling=None, old=True),
    Encoder(
        "distilbert",
        lambda: transformers.DistilBertConfig(
            dim=128,
            hidden_dim=192,
            n_layers=4,
            n_heads=4,
            vocab_size=ROWS,
            max_position_embeddings=256,
        ),
        "wordpiece",
        auto="AutoModelForMaskedLM",
    ),
    Encoder(
        "roberta",
        config_of("RobertaConfig", max_position_embeddings=258, pad_token_id=1),
        "roberta",
    ),
    Encoder(
        "xlm-roberta",
        config_of(
            "XLMRobertaConfig", max_position_embeddings=258, pad_token_id=1, type_vocab_size=1
        ),
        "unigram",
        torch.bfloat16,
        pooling="cls",
    ),
    Encoder(
        "nomic-bert",
        config_of("NomicBertConfig", max_position_embeddings=2048, pad_token_id=0),
        "wordpiece",
        edit=_publish_nomic,
    ),
    Encoder("modernbert", config_of("ModernBertConfig", **MODERN), "modernbert", pooling="cls"),
    Encoder(
        "modernbert-silu",
        config_of("ModernBertConfig", hidden_activation="silu", **MODERN),
        "modernbert",
    ),
    Encoder(
        "modernbert-published",
        config_of("ModernBertConfig", **MODERN),
        "modernbert",
        edit=_publish_modern,
    ),
]


def make(case: Encoder, folder: Path):
    """Writes a model; returns its folder and the base model in float32, as it was written."""
    path = folder / case.name
    config = case.config()
    config._attn_implementation = "eager"
    model = getattr(transformers, case.auto).from_config(config, dtype=torch.float32)
    fill(model, zlib.crc32(case.name.encode()))
    model = model.to(case.dtype)
    model.save_pretrained(path)
    if case.old:
        _rename_norms(path / "model.safetensors")
    if case.edit:
        case.edit(path)
    TOKENIZERS[case.tokenizer](path)
    if case.pooling:
        write_pooling(path, case.pooling)
    return path, model.base_model.to(torch.float32).eval()


def _rename_norms(path: Path) -> None:
    import safetensors.torch

    tensors = safetensors.torch.load_file(path)
    renamed = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): value
        for name, value in tensors.items()
    }
    # A buffer that old versions of transformers stored.
    renamed["embeddings.position_ids"] = torch.arange(256)[None]
    safetensors.torch.save_file(renamed, path, metadata={"format": "pt"})


def write_pooling(folder: Path, mode: str) -> None:
    """Writes the modules of sentence-transformers."""
    kinds = ["Transformer", "Pooling", "Normalize"]
    modules = [
        {
            "idx": index,
            "name": str(index),
            "path": "" if index == 0 else f"{index}_{kind}",
            "type": f"sentence_transformers.models.{kind}",
        }
        for index, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    flag = {"mean": "mean_tokens", "cls": "cls_token"}[mode]
    pooling = {"word_embedding_dimension": 128, f"pooling_mode_{flag}": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))


# Tokenizers


def _configuration(folder: Path, kind: str, **values) -> None:
    names = ["pad_token", "unk_token", "cls_token", "sep_token", "mask_token"]
    settings = {"tokenizer_class": kind} | dict(zip(names, SPECIAL, strict=True)) | values
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def _lines() -> list[str]:
    return [
        *(line for text in tokenizer_models.corpus() for line in text.split("\n")),
        *SCRIPTS * 9,
    ]


def write_wordpiece(folder: Path, cased: bool = False, **options) -> Tokenizer:
    """Writes a tokenizer.json like that of BERT."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(**({"lowercase": not cased} | options))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=1100, special_tokens=SPECIAL, show_progress=False, limit_alphabet=600
    )
    tokenizer.train_from_iterator(_lines(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    _configuration(folder, "BertTokenizer", do_lower_case=not cased, **options)
    return tokenizer


def write_unigram(folder: Path, keep: bool = False, **options) -> Tokenizer:
    """Writes a tokenizer.json like that of XLM-RoBERTa; with `keep` also the SentencePiece model."""
    path = folder / "sentencepiece.bpe.model"
    settings = dict(vocab_size=1000, character_coverage=0.999, num_threads=1, minloglevel=2)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(line for line in _lines() if line),
        model_prefix=str(path.with_suffix("")),
        model_type="unigram",
        **(settings | options),
    )
    path.with_suffix(".vocab").unlink()
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
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1000,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_lines(), trainer)
    return tokenizer


TOKENIZERS = {
    "wordpiece": write_wordpiece,
    "wordpiece-cased": lambda folder: write_wordpiece(folder, cased=True),
    "unigram": write_unigram,
    "roberta": write_roberta,
    "modernbert": write_modernbert,
}
PRE_TOKENIZERS = {"roberta": "gpt-2", "modernbert": "gpt-2"}  # "default" for the others


# Runs


def hidden_states(model, ids: list[int]) -> np.ndarray:
    """The vectors of the tokens that transformers computes in float32."""
    with torch.no_grad():
        return model(torch.tensor([ids])).last_hidden_state[0].numpy()


def llama_vectors(path: Path, texts: list[str], pooling: int) -> list[np.ndarray]:
    """What llama.cpp makes of texts: a vector for each token with pooling 0, else one for each.

    With pooling -1 the file decides.
    """
    import llama_cpp

    model = llama_cpp.Llama(
        str(path),
        embedding=True,
        pooling_type=pooling,
        n_ctx=256,
        n_batch=256,
        n_ubatch=256,
        verbose=False,
    )
    vectors = [np.array(model.embed(text, normalize=False)) for text in texts]
    model.close()
    return vectors
