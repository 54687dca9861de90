"""The tokenizer contract, read from its files without running it: class, vocabulary, special tokens, length, padding."""

from __future__ import annotations

from typing import Any

from registry.canonical import sha256_json
from registry.inspection.findings import Inspection

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "vocab.json",
                   "merges.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "bpe.codes")  # fmt: skip

MAX_ADDED_TOKENS = 50_000


def inspect_tokenizer(
    tokenizer: dict[str, Any] | None, tokenizer_config: dict[str, Any] | None, config_vocab: int | None
) -> Inspection:
    """`config_vocab` is the number of rows of the embedding table as config.json says it."""
    result = Inspection()
    settings = tokenizer_config or {}
    document = tokenizer or {}
    model = document.get("model") if isinstance(document.get("model"), dict) else {}
    assert isinstance(model, dict)
    vocab = model.get("vocab")
    added = document.get("added_tokens")
    ids = (
        {token.get("id") for token in added if isinstance(token, dict)} if isinstance(added, list) else set()
    )
    size = len(vocab) if isinstance(vocab, dict | list) else None
    known = set(vocab.values()) if isinstance(vocab, dict) else set()
    total = size + len(ids - known) if size is not None and isinstance(vocab, dict) else size
    normalizer = document.get("normalizer")
    maximum = settings.get("model_max_length")
    result.facts = {
        "class": str(settings.get("tokenizer_class", ""))[:100],
        "algorithm": str(model.get("type", ""))[:40],
        "vocab_size": total,
        "max_length": maximum if type(maximum) is int and maximum < 10**9 else None,
        "padding_side": str(settings.get("padding_side", "right")),
        "lowercase": bool(normalizer.get("lowercase")) if isinstance(normalizer, dict) else None,
        "normalizer": str(normalizer.get("type", "")) if isinstance(normalizer, dict) else "",
        "special_tokens": {
            key: str(value.get("content") if isinstance(value, dict) else value)[:40]
            for key, value in settings.items()
            if key.endswith("_token") and value
        },
        "use_fast": tokenizer is not None,
        "sha256": sha256_json([document, settings]),
    }
    if tokenizer is None:
        result.warn(
            "tokenizer.json", "There is no fast tokenizer file, so it must be converted at load time."
        )
    if len(ids) > MAX_ADDED_TOKENS:
        result.fail(
            "tokenizer.json",
            f"It adds {len(ids)} tokens to its vocabulary.",
            "Each costs time with every text. Ask the author why.",
            key="added_tokens",
        )
    for end in ("truncation_side", "padding_side"):
        if settings.get(end, "right") not in ("left", "right"):
            result.warn(
                "tokenizer_config.json", f"{end} is neither left nor right.", "Ask the author.", key=end
            )
    if total is not None and config_vocab is not None and total > config_vocab:
        result.fail(
            "tokenizer.json",
            f"The tokenizer knows {total} tokens, the model has embeddings for {config_vocab}.",
            "Some texts would crash the model or read a wrong row. Ask the author for matching files.",
        )
    return result
