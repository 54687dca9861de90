"""A tiny DistilBERT classifier with random, seeded weights and a WordPiece tokenizer of its own."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import DistilBertConfig, DistilBertForSequenceClassification, PreTrainedTokenizerFast

from inference.engine import ClassifierConfig

MODEL_ID = "acme/tiny"
COMMIT_SHA = "a" * 40
LABELS = ("negative", "neutral", "positive")
POSITIONS = 64
LINES = [
    "the delivery was late and support was terrible",
    "this product is useful and reliable",
    "sản phẩm tốt giao hàng nhanh",
    "đóng gói kém hàng bị lỗi",
    "it arrived on time nothing special",
    "warm and good",
]


def build_tiny(folder: Path, *, seed: int = 0) -> Path:
    """Write a snapshot into `folder` (created) and return it."""
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    raw = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    raw.normalizer = normalizers.BertNormalizer()
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.train_from_iterator(LINES * 3, trainers.WordPieceTrainer(vocab_size=300, special_tokens=specials))
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=512,
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)
    torch.manual_seed(seed)
    model = DistilBertForSequenceClassification(
        DistilBertConfig(
            vocab_size=raw.get_vocab_size(),
            dim=32,
            hidden_dim=64,
            n_layers=2,
            n_heads=2,
            max_position_embeddings=POSITIONS,
            initializer_range=0.5,
            id2label=dict(enumerate(LABELS)),
            label2id={label: i for i, label in enumerate(LABELS)},
        )
    )
    model.save_pretrained(folder)
    return folder


def tiny_config(snapshot: Path, *, max_length: int = 32, batch_size: int = 4) -> ClassifierConfig:
    return ClassifierConfig(snapshot, MODEL_ID, COMMIT_SHA, max_length=max_length, batch_size=batch_size)
