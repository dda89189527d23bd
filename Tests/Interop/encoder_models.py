"""Small random models that embed texts, as Hugging Face folders."""

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import transformers
from architecture_weights import fill
from encoder_tokenizers import TOKENIZERS
from llama_runs import ONE_THREAD

ROWS = 1200  # rows of the embeddings, more than there are tokens
SIZES = dict(
    hidden_size=128,
    intermediate_size=192,
    num_hidden_layers=4,
    num_attention_heads=4,
    vocab_size=ROWS,
)
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
        **ONE_THREAD,
    )
    vectors = [np.array(model.embed(text, normalize=False)) for text in texts]
    model.close()
    return vectors
