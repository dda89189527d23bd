"""Small random models of every architecture, as folders of Hugging Face, and their tokenizers."""

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

ROOT = Path(__file__).resolve().parents[2]
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}

# What is common to all: every row is whole blocks of 32, and heads share keys and values.
SHAPE = dict(
    hidden_size=128,
    intermediate_size=192,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=512,
)
VOCABULARY = 416  # more than the tokenizers have, as in models that pad it


@dataclass(frozen=True)
class Case:
    """A model: its config, its tokenizer, and the type its weights are saved in."""

    name: str
    config: Callable[[], transformers.PretrainedConfig]
    tokenizer: str  # llama3, qwen2 or sentencepiece
    dtype: str = "BF16"
    # Where rope is described: published configs of most models are older than rope_parameters.
    rope: dict | None = None
    longer: dict = field(default_factory=dict)  # of the config.json, what is not in the class
    edit: Callable[[Path], None] | None = None  # of the folder, once it is saved
    shard: str = "1GB"

    def __str__(self) -> str:
        return self.name


def _config(name: str, **values) -> Callable[[], transformers.PretrainedConfig]:
    return lambda: getattr(transformers, name)(**(SHAPE | dict(vocab_size=VOCABULARY) | values))


LLAMA3_ROPE = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LONG_ROPE = {
    "type": "longrope",
    "short_factor": [1.0 + 0.05 * i for i in range(16)],
    "long_factor": [1.5 + 0.25 * i for i in range(16)],
}
PARTIAL_ROPE = {
    "type": "longrope",
    "short_factor": [1.0 + 0.05 * i for i in range(12)],
    "long_factor": [1.5 + 0.25 * i for i in range(12)],
}
LLAMA = dict(rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2)
PHI = dict(rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=400, pad_token_id=400)
BPE = dict(bos_token_id=400, eos_token_id=401)
BPE_PHI = BPE | dict(pad_token_id=400, sliding_window=None, rms_norm_eps=1e-5)
GEMMA = dict(pad_token_id=0, eos_token_id=1, bos_token_id=2, head_dim=48, tie_word_embeddings=True)



def _edit_config(remove: tuple[str, ...] = (), **values) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "config.json"
        config = json.loads(path.read_text())
        config = {key: value for key, value in config.items() if key not in remove} | values
        path.write_text(json.dumps(config, indent=2) + "\n")

    return edit


def _with_leftovers(folder: Path) -> None:
    """What old checkpoints hold beside the weights: a head that is tied, and rotary tables."""
    path = folder / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    for layer in range(2):
        name = f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"
        tensors[name] = torch.arange(16, dtype=torch.float32)
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})


def _with_sampling(folder: Path) -> None:
    path = folder / "generation_config.json"
    config = json.loads(path.read_text()) | {"do_sample": True, "temperature": 0.6}
    config |= {"top_p": 0.9, "top_k": 20, "repetition_penalty": 1.05, "min_p": 0.0}
    path.write_text(json.dumps(config, indent=2) + "\n")


def _gemma3_with_pictures() -> transformers.PretrainedConfig:
    """A text model that is mostly the defaults of its class, and an eye."""
    text = dict(
        hidden_size=128,
        intermediate_size=192,
        num_hidden_layers=2,
        sliding_window=24,
        vocab_size=VOCABULARY,
    )
    eye = dict(
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
    )
    return transformers.Gemma3Config(
        text_config=text, vision_config=eye, mm_tokens_per_image=4, **without_heads(GEMMA)
    )


def without_heads(values: dict) -> dict:
    return {key: value for key, value in values.items() if key != "head_dim"}


def _publish_gemma3(folder: Path) -> None:
    """What the config of Gemma 3 4B has of its text model, and no more but a small vocabulary."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    kept = ("hidden_size", "intermediate_size", "model_type", "num_hidden_layers")
    kept += ("sliding_window", "vocab_size")
    config["text_config"] = {key: config["text_config"][key] for key in kept}
    path.write_text(json.dumps(config, indent=2) + "\n")


CASES = [
    Case("llama", _config("LlamaConfig", **LLAMA), "sentencepiece", "F16", {"theta": 10000.0}),
    Case(
        "llama-head-dim",
        _config("LlamaConfig", head_dim=48, attention_bias=True, mlp_bias=True, **LLAMA),
        "sentencepiece",
        "F32",
    ),
    Case(
        "llama3-tied",
        _config("LlamaConfig", tie_word_embeddings=True, rms_norm_eps=1e-5, **BPE),
        "llama3",
        rope={"theta": 500000.0, "scaling": LLAMA3_ROPE},
    ),
    Case(
        "llama-linear-rope",
        _config("LlamaConfig", rms_norm_eps=1e-5, **BPE),
        "llama3",
        rope={"theta": 10000.0, "scaling": {"type": "linear", "factor": 2.0}},
    ),
    Case(
        "mistral",
        _config("MistralConfig", sliding_window=None, head_dim=32, **LLAMA),
        "sentencepiece",
        rope={"theta": 1000000.0},
    ),
    Case(
        "mixtral",
        _config(
            "MixtralConfig",
            sliding_window=None,
            num_local_experts=4,
            num_experts_per_tok=2,
            **LLAMA,
        ),
        "sentencepiece",
        rope={"theta": 1000000.0},
    ),
    Case("qwen2", _config("Qwen2Config", **BPE), "qwen2", rope={"theta": 1000000.0}),
    Case(
        "qwen2-tied",
        _config("Qwen2Config", tie_word_embeddings=True, **BPE),
        "qwen2",
        "F16",
    ),
    Case(
        "qwen2-yarn",
        _config("Qwen2Config", **BPE),
        "qwen2",
        rope={
            "theta": 1000000.0,
            "scaling": {
                "type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 128,
            },
        },
    ),
    Case(
        "qwen3",
        _config("Qwen3Config", head_dim=64, **BPE),
        "qwen2",
        rope={"theta": 1000000.0},
    ),
    Case(
        "qwen3-tied",
        _config("Qwen3Config", head_dim=32, tie_word_embeddings=True, **BPE),
        "qwen2",
        "F32",
    ),
    Case("gemma", _config("GemmaConfig", **GEMMA), "sentencepiece", rope={"theta": 10000.0}),
    Case(
        "gemma2",
        _config(
            "Gemma2Config",
            sliding_window=24,
            num_hidden_layers=3,
            query_pre_attn_scalar=48,
            **GEMMA,
        ),
        "sentencepiece",
        rope={"theta": 10000.0},
    ),
    Case(
        "gemma3",
        _config(
            "Gemma3TextConfig",
            sliding_window=24,
            num_hidden_layers=7,
            query_pre_attn_scalar=48,
            **GEMMA,
        ),
        "sentencepiece",
    ),
    Case(
        "phi3",
        _config("Phi3Config", sliding_window=511, **PHI),
        "sentencepiece",
        rope={"theta": 10000.0},
        longer={"original_max_position_embeddings": 512},
    ),
    Case(
        "phi3-longrope",
        _config("Phi3Config", sliding_window=4096, **PHI),
        "sentencepiece",
        rope={"theta": 10000.0, "scaling": LONG_ROPE},
        longer={"original_max_position_embeddings": 256},
    ),
    # Configs and files as others have them.
    Case(
        "llama2",
        _config("LlamaConfig", **(LLAMA | {"num_key_value_heads": 4})),
        "sentencepiece",
        "F16",
        edit=_edit_config(
            remove=(
                "rope_parameters",
                "num_key_value_heads",
                "head_dim",
                "attention_bias",
                "mlp_bias",
                "tie_word_embeddings",
            ),
            torch_dtype="float16",
        ),
    ),
    Case(
        "gemma3-pictures",
        _gemma3_with_pictures,
        "sentencepiece",
        edit=_publish_gemma3,
    ),
    Case(
        "llama3-sampling",
        _config(
            "LlamaConfig",
            rope_parameters=LLAMA3_ROPE | {"rope_theta": 500000.0},
            head_dim=64,
            **(BPE | {"eos_token_id": [401, 400]}),
        ),
        "llama3",
        edit=_with_sampling,
    ),
    Case(
        "llama-leftovers",
        _config("LlamaConfig", tie_word_embeddings=True, **LLAMA),
        "sentencepiece",
        "F16",
        edit=_with_leftovers,
    ),
    Case(
        "qwen3-shards",
        _config("Qwen3Config", head_dim=128, **BPE),
        "qwen2",
        shard="200KB",
        edit=_edit_config(remove=("head_dim",)),
    ),
    Case(
        "mistral-sliding",
        _config("MistralConfig", sliding_window=4096, **LLAMA),
        "sentencepiece",
        rope={"theta": 10000.0},
        edit=_edit_config(remove=("head_dim", "rope_scaling", "tie_word_embeddings")),
    ),
    Case(
        "phi4-mini",
        _config("Phi3Config", tie_word_embeddings=True, partial_rotary_factor=0.75, **BPE_PHI),
        "llama3",
        rope={"theta": 10000.0, "scaling": PARTIAL_ROPE},
        longer={"original_max_position_embeddings": 256, "partial_rotary_factor": 0.75},
    ),
    Case(
        "gemma3-linear",
        _config(
            "Gemma3TextConfig",
            sliding_window=24,
            num_hidden_layers=7,
            query_pre_attn_scalar=48,
            **GEMMA,
        ),
        "sentencepiece",
        edit=_edit_config(
            remove=("rope_parameters", "layer_types"),
            rope_theta=1000000.0,
            rope_local_base_freq=10000.0,
            rope_scaling={"factor": 8.0, "rope_type": "linear"},
            sliding_window_pattern=6,
        ),
    ),
]


# MARK: weights


def _deviation(name: str, shape: torch.Size, tied: bool, gemma: bool) -> tuple[float, float]:
    """Mean and standard deviation of a weight: attention and logits are far from flat."""
    if name.endswith("bias"):
        return 0.0, 0.3
    if len(shape) == 1:  # a norm; that of gemma is added to one
        return (0.0 if gemma else 1.0), 0.2
    if "embed_tokens" in name:
        return 0.0, 2.5 / shape[-1] ** 0.5 if tied else 1.0
    if "lm_head" in name:
        return 0.0, 2.5 / shape[-1] ** 0.5
    return 0.0, 1.5 / shape[-1] ** 0.5


def _fill(model, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    gemma = model.config.model_type.startswith("gemma")
    tied = model.config.tie_word_embeddings
    with torch.no_grad():
        for name, weight in model.named_parameters():
            mean, deviation = _deviation(name, weight.shape, tied, gemma)
            weight.copy_(mean + deviation * torch.randn(weight.shape, generator=generator))


def make(case: Case, folder: Path) -> Path:
    """Writes the model; the same every time."""
    config = case.config()
    path = folder / case.name
    if case.rope:  # a published config, as the classes of today read it
        config = type(config)(
            **{
                key: value
                for key, value in config.to_dict().items()
                if key not in ("rope_parameters", "rope_scaling", "rope_theta")
            }
            | _rope(case)
            | case.longer
        )
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    _fill(model, zlib.crc32(case.name.encode()))
    model.to(DTYPES[case.dtype]).save_pretrained(path, max_shard_size=case.shard)
    if case.rope:
        _publish(path / "config.json", case)
    if case.edit:
        case.edit(path)
    TOKENIZERS[case.tokenizer](path, case)
    return path


def _rope(case: Case) -> dict:
    scaling = case.rope.get("scaling")
    return {"rope_theta": case.rope["theta"]} | ({"rope_scaling": scaling} if scaling else {})


def _publish(path: Path, case: Case) -> None:
    """A config.json as older versions of transformers wrote it."""
    config = json.loads(path.read_text())
    config.pop("rope_parameters", None)
    config["torch_dtype"] = config.pop("dtype")
    config |= {"rope_scaling": None} | _rope(case) | case.longer
    path.write_text(json.dumps(config, indent=2) + "\n")


# MARK: tokenizers

LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2_SPLIT = LLAMA3_SPLIT.replace(r"\p{N}{1,3}", r"\p{N}")
CHAT = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\\n' }}{% endfor %}"


def _corpus() -> list[str]:
    texts = [ROOT / "README.md", *sorted((ROOT / "formats").glob("*.md"))]
    return [line for path in texts for line in path.read_text().splitlines() if line]


def _byte_level(path: Path, case: Case) -> None:
    """A tokenizer of bytes and merges, of 400 tokens and two special ones."""
    split = LLAMA3_SPLIT if case.tokenizer == "llama3" else QWEN2_SPLIT
    tokenizer = Tokenizer(models.BPE(ignore_merges=case.tokenizer == "llama3"))
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
    phi = case.name.startswith("phi")
    first, last = {
        "llama3": ("<|begin_of_text|>", "<|eot_id|>"),
        "qwen2": ("<|endoftext|>", "<|im_end|>"),
    }["qwen2" if phi else case.tokenizer]
    tokenizer.add_special_tokens([first, last])
    assert tokenizer.token_to_id(first) == 400
    if case.tokenizer == "llama3" and not phi:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{first} $A",
            pair=f"{first} $A {first}:1 $B:1",
            special_tokens=[(first, 400)],
        )
    tokenizer.save(str(path / "tokenizer.json"))
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": CHAT}
    if case.tokenizer == "qwen2":
        about |= {"tokenizer_class": "Qwen2Tokenizer", "add_prefix_space": False, "bos_token": None}
        about |= {"pad_token": first, "add_bos_token": False}
    elif phi:
        about |= {"tokenizer_class": "GPT2Tokenizer", "bos_token": first, "add_bos_token": False}
    else:
        about |= {"bos_token": first}
    about |= {
        "eos_token": last,
        "added_tokens_decoder": {
            str(id): _added(token) for id, token in ((400, first), (401, last))
        },
    }
    _write(path / "tokenizer_config.json", about)


def _added(token: str) -> dict:
    flags = dict(lstrip=False, normalized=False, rstrip=False, single_word=False, special=True)
    return {"content": token} | flags


def _sentencepiece(path: Path, case: Case) -> None:
    """A tokenizer.model of 400 pieces, with bytes for what it has no pieces for."""
    import sentencepiece

    gemma = case.name.startswith("gemma")
    special = dict(pad_id=0, eos_id=1, bos_id=2, unk_id=3) if gemma else {}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(_corpus()),
        model_prefix=str(path / "tokenizer"),
        vocab_size=400,
        model_type="bpe",
        byte_fallback=True,
        num_threads=1,
        minloglevel=2,
        **special,
    )
    (path / "tokenizer.vocab").unlink()
    ids = {"<pad>": 0, "<eos>": 1, "<bos>": 2} if gemma else {"<unk>": 0, "<s>": 1, "</s>": 2}
    first, last = ("<bos>", "<eos>") if gemma else ("<s>", "</s>")
    if case.name.startswith("phi3"):  # llama.cpp looks for it in models of this name
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


def _write(path: Path, document: dict) -> None:
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


TOKENIZERS = {
    "llama3": _byte_level,
    "qwen2": _byte_level,
    "sentencepiece": _sentencepiece,
}
# What llama.cpp calls the way of splitting text; it is known there by a hash of well-known
# tokenizers, which small ones do not have.
PRE_TOKENIZERS = {"llama3": "llama-bpe", "qwen2": "qwen2", "sentencepiece": "default"}


def tokens(count: int) -> np.ndarray:
    """Two rows of random tokens that are not special."""
    return np.random.default_rng(1).integers(4, 380, (2, count))


def logits(folder: Path, rows: np.ndarray):
    """What transformers computes in float32."""
    model, report = transformers.AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.float32,
        attn_implementation="eager",
        local_files_only=True,
        output_loading_info=True,
    )
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not report[problem], f"transformers: {problem} {report[problem]}"
    with torch.no_grad():
        return model.eval()(torch.from_numpy(rows)).logits.numpy()
