"""A tiny random model of every packed architecture and every head, with a tokenizer as its family has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedTokenizerFast,
)

from tests.engine.tiny import LINES

FAMILIES = ("bert", "distilbert", "roberta", "xlm-roberta", "electra", "modernbert")
HEADS: dict[str, Any] = {
    "classify": AutoModelForSequenceClassification,
    "tag": AutoModelForTokenClassification,
    "embed": AutoModel,
}
TASK = {"classify": "text-classification", "tag": "token-classification", "embed": "feature-extraction"}
LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
POSITIONS = 80
_COMMON = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    # Large, so that a forgotten bias shows in the fifth decimal; not larger: at 0.4 rounding alone reaches it on some
    # processors (at 0.3 the worst of all families is 1.3e-6, with AVX-512, AVX2 and neither).
    "initializer_range": 0.3,
}
_OWN: dict[str, dict[str, Any]] = {
    "bert": {"max_position_embeddings": POSITIONS},
    "distilbert": {
        "dim": 32,
        "hidden_dim": 48,
        "n_layers": 4,
        "n_heads": 2,
        "max_position_embeddings": POSITIONS,
    },
    "roberta": {"max_position_embeddings": POSITIONS + 2, "pad_token_id": 1, "type_vocab_size": 1},
    "xlm-roberta": {"max_position_embeddings": POSITIONS + 2, "pad_token_id": 1, "type_vocab_size": 1},
    "electra": {"max_position_embeddings": POSITIONS, "embedding_size": 16},
    "modernbert": {"max_position_embeddings": POSITIONS, "local_attention": 16, "pad_token_id": 0},
}


def build_family(folder: Path, family: str, head: str, **changes: Any) -> Path:
    """A snapshot in `folder`. Seeds differ by family and head, so that no two models are alike."""
    raw = _byte_pairs() if family in ("roberta", "xlm-roberta") else _word_pieces()
    special = {
        f"{name}_token": token for name, token in _SPECIALS[family in ("roberta", "xlm-roberta")].items()
    }
    names = (
        ["input_ids", "token_type_ids", "attention_mask"]
        if family in ("bert", "electra")
        else [
            "input_ids",
            "attention_mask",
        ]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=raw, model_max_length=512, model_input_names=names, **special
    ).save_pretrained(folder)
    torch.manual_seed(FAMILIES.index(family) * 10 + len(head))
    own = {**({} if family == "distilbert" else _COMMON), **_OWN[family], **changes}
    if head != "embed":
        own = {
            "id2label": dict(enumerate(LABELS)),
            "label2id": {name: i for i, name in enumerate(LABELS)},
            **own,
        }
    config = AutoConfig.for_model(family, vocab_size=raw.get_vocab_size(), **own)
    model = HEADS[head].from_config(config)
    with torch.no_grad():
        # Fresh biases and norms are zeros and ones: a swapped or forgotten one would not show.
        for name, tensor in model.named_parameters():
            if name.endswith("bias") or "norm" in name.lower():
                tensor.add_(torch.randn_like(tensor) * 0.2)
    model.save_pretrained(folder)
    return folder


def write_pooling(folder: Path, mode: str, *, normalise: bool) -> None:
    """The files by which sentence-transformers declares pooling."""
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({f"pooling_mode_{mode}": True}))
    modules = ["Transformer", "Pooling", *(["Normalize"] if normalise else [])]
    (folder / "modules.json").write_text(
        json.dumps([{"type": f"sentence_transformers.models.{name}"} for name in modules])
    )


_SPECIALS = {
    False: {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"},
    True: {"cls": "<s>", "pad": "<pad>", "sep": "</s>", "unk": "<unk>", "mask": "<mask>"},
}


def _word_pieces() -> Tokenizer:
    specials = list(_SPECIALS[False].values())
    raw = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    raw.normalizer = normalizers.BertNormalizer(strip_accents=False)
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.decoder = decoders.WordPiece()
    raw.train_from_iterator(LINES * 3, trainers.WordPieceTrainer(vocab_size=200, special_tokens=specials))
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return raw


def _byte_pairs() -> Tokenizer:
    raw = Tokenizer(models.BPE(unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.train_from_iterator(
        LINES * 3,
        trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=list(_SPECIALS[True].values()),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    raw.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return raw
