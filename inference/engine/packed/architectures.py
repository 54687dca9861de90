"""What a known encoder is called in its files: tensor names and options. One table, no code per architecture."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

# (tensor name, what follows it). "norm" is a layer norm of that name; the others are dense layers.
HeadStep = tuple[str, Literal["tanh", "relu", "gelu", "norm", ""]]


@dataclass(frozen=True)
class Architecture:
    """Names are relative to `prefix`, those inside a layer to `layer`; head names are whole."""

    prefix: str
    layer: str
    word: str
    embed_norm: str
    qkv: tuple[str, ...]
    out: str
    norm1: str
    up: str
    down: str
    norm2: str
    classify: tuple[HeadStep, ...]
    tag: tuple[HeadStep, ...] = (("classifier", ""),)
    position: str = ""
    types: str = ""
    project: str = ""
    final_norm: str = ""
    # RoBERTa's family counts positions from the padding index on.
    positions_after_padding: bool = False
    # ModernBERT: norms before, gated feed-forward, rotary positions, a window in most layers.
    pre_norm: bool = False
    gated: bool = False
    keys: dict[str, str] = field(default_factory=dict)

    def setting(self, config: dict[str, Any], name: str, default: Any = None) -> Any:
        """A setting of config.json under this architecture's name for it."""
        return config.get(self.keys.get(name, name), default)


def _bert(prefix: str, **changes: Any) -> Architecture:
    values: dict[str, Any] = {
        "prefix": prefix,
        "layer": "encoder.layer.{}.",
        "word": "embeddings.word_embeddings",
        "position": "embeddings.position_embeddings",
        "types": "embeddings.token_type_embeddings",
        "embed_norm": "embeddings.LayerNorm",
        "qkv": ("attention.self.query", "attention.self.key", "attention.self.value"),
        "out": "attention.output.dense",
        "norm1": "attention.output.LayerNorm",
        "up": "intermediate.dense",
        "down": "output.dense",
        "norm2": "output.LayerNorm",
    }
    return Architecture(**(values | changes))


_ROBERTA = _bert(
    "roberta.",
    classify=(("classifier.dense", "tanh"), ("classifier.out_proj", "")),
    positions_after_padding=True,
)

ARCHITECTURES: dict[str, Architecture] = {
    "bert": _bert("bert.", classify=(("bert.pooler.dense", "tanh"), ("classifier", ""))),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "electra": _bert(
        "electra.",
        classify=(("classifier.dense", "gelu"), ("classifier.out_proj", "")),
        project="embeddings_project",
    ),
    "distilbert": Architecture(
        prefix="distilbert.",
        layer="transformer.layer.{}.",
        word="embeddings.word_embeddings",
        position="embeddings.position_embeddings",
        embed_norm="embeddings.LayerNorm",
        qkv=("attention.q_lin", "attention.k_lin", "attention.v_lin"),
        out="attention.out_lin",
        norm1="sa_layer_norm",
        up="ffn.lin1",
        down="ffn.lin2",
        norm2="output_layer_norm",
        classify=(("pre_classifier", "relu"), ("classifier", "")),
        keys={
            "hidden_size": "dim",
            "num_hidden_layers": "n_layers",
            "num_attention_heads": "n_heads",
            "hidden_act": "activation",
        },
    ),
    "modernbert": Architecture(
        prefix="model.",
        layer="layers.{}.",
        word="embeddings.tok_embeddings",
        embed_norm="embeddings.norm",
        qkv=("attn.Wqkv",),
        out="attn.Wo",
        norm1="attn_norm",
        up="mlp.Wi",
        down="mlp.Wo",
        norm2="mlp_norm",
        final_norm="final_norm",
        classify=(("head.dense", "gelu"), ("head.norm", "norm"), ("classifier", "")),
        tag=(("head.dense", "gelu"), ("head.norm", "norm"), ("classifier", "")),
        pre_norm=True,
        gated=True,
        keys={"hidden_act": "hidden_activation", "layer_norm_eps": "norm_eps"},
    ),
}


class NotPacked(Exception):
    """The packed encoder cannot run this model; the sentence says why. The reference can."""


def find(config: dict[str, Any], kind: str) -> Architecture:
    """The model's row in the table. Raises NotPacked when an option is set that the encoder has not."""
    name = str(config.get("model_type"))
    known = ARCHITECTURES.get(name)
    if known is None:
        raise NotPacked(f"the architecture {name[:40]} is not in the table of packed encoders")
    activation = known.setting(config, "hidden_act", "gelu")
    if activation not in ("gelu", "relu"):
        raise NotPacked(f"its activation {str(activation)[:40]} is not one of gelu, relu")
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise NotPacked("its positions are not absolute")
    if config.get("is_decoder") or config.get("add_cross_attention"):
        raise NotPacked("it is a decoder")
    if name == "modernbert" and kind == "classify" and config.get("classifier_pooling", "cls") != "cls":
        raise NotPacked("its classifier pools the mean")
    if name == "modernbert" and config.get("classifier_activation", "gelu") != "gelu":
        raise NotPacked("its classifier's activation is not gelu")
    return known
