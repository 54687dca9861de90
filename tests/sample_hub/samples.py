"""The repositories of the sample Hub: one trained model with three versions, five that lack something, one with code."""

import importlib
import json
import random
from collections.abc import Mapping
from pathlib import Path

from tests.sample_hub.code_model import CODE_MODEL_ID, CODE_VARIANTS, code_variants
from tests.sample_hub.store import SampleHubStore

MODEL_ID = "acme/sentiment-vi-en"
VARIANTS = ("v1", "v2", "v3")

_CONFIG = {
    "architectures": ["BertForSequenceClassification"],
    "model_type": "bert",
    "vocab_size": 4,
    "hidden_size": 2,
    "num_hidden_layers": 0,
    "num_attention_heads": 1,
    "intermediate_size": 2,
    "max_position_embeddings": 8,
    "id2label": {"0": "negative", "1": "positive"},
    "label2id": {"negative": 0, "positive": 1},
}
_TOKENIZER = {
    "version": "1.0",
    "added_tokens": [],
    "normalizer": {"type": "Lowercase"},
    "pre_tokenizer": {"type": "Whitespace"},
    "model": {
        "type": "WordLevel",
        "vocab": {"[PAD]": 0, "[UNK]": 1, "good": 2, "bad": 3},
        "unk_token": "[UNK]",
    },
}
_TOKENIZER_CONFIG = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "model_max_length": 8,
}
_CARD_FRONT = """---
license: apache-2.0
language:
- vi
- en
pipeline_tag: text-classification
library_name: transformers
---
"""
_CARD_TEXT = "# A tiny classifier\n\nWritten by hand for tests. Its weights mean nothing.\n"


def tiny_safetensors() -> bytes:
    """A valid file of one 2 x 2 float32 tensor: 8 bytes header length (little endian), JSON header, data."""
    tensor = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
    header = json.dumps({"__metadata__": {"format": "pt"}, "classifier.weight": tensor}).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + bytes(16)


def tiny_model() -> dict[str, bytes]:
    """A complete little repository, path -> content. Nothing is missing, but the weights make no model."""
    return {
        "README.md": (_CARD_FRONT + _CARD_TEXT).encode(),
        "config.json": json.dumps(_CONFIG, indent=2).encode(),
        "tokenizer.json": json.dumps(_TOKENIZER, indent=2).encode(),
        "tokenizer_config.json": json.dumps(_TOKENIZER_CONFIG, indent=2).encode(),
        "model.safetensors": tiny_safetensors(),
    }


def bad_inputs() -> dict[str, dict[str, bytes]]:
    """Model id -> files of the repositories that a careful reader must refuse or ask about."""
    whole = tiny_model()

    def without(*paths: str) -> dict[str, bytes]:
        return {path: content for path, content in whole.items() if path not in paths}

    # No pickle can begin with a zero byte (there is no such opcode), nor a zip with torch weights in it.
    not_a_pickle = b"\x00" + random.Random(7).randbytes(16 * 1024 - 1)
    return {
        "acme/no-config": without("config.json"),
        "acme/no-tokenizer": without("tokenizer.json", "tokenizer_config.json"),
        "acme/no-safetensors": without("model.safetensors") | {"pytorch_model.bin": not_a_pickle},
        "acme/no-card-yaml": whole | {"README.md": _CARD_TEXT.encode()},
        "acme/no-card": without("README.md"),
    }


def build(store: SampleHubStore, cache_dir: Path) -> dict[str, str]:
    """Creates all sample repositories; returns {"v1": sha, "v2": sha, "v3": sha}, a linear history.

    main points at v1, v2 and v3 wait for `publish`. Building again changes nothing, unless the variants
    themselves changed: then main starts again at the new v1.
    """
    # Late, and by name: training code needs torch, serving and publishing do not.
    variants: Mapping[str, Mapping[str, bytes]]
    variants = importlib.import_module("tests.sample_model.build").build_variants(cache_dir)
    initial = _initial_commit(store, MODEL_ID)
    parent, commits = initial, dict[str, str]()
    for name in VARIANTS:
        # A version is exactly its files: what the parent had and this one has not is deleted.
        files: dict[str, bytes | None] = {
            entry.path: None
            for entry in store.tree(MODEL_ID, parent)
            if not entry.is_dir and entry.path not in variants[name] and entry.path != ".gitattributes"
        }
        commits[name] = store.commit(MODEL_ID, files | dict(variants[name]), f"Version {name}", None, parent)
        store.remember(MODEL_ID, name, commits[name])
        parent = commits[name]
    if store.resolve(MODEL_ID, "main") not in commits.values():
        store.set_branch(MODEL_ID, "main", commits["v1"])
    for model_id, content in bad_inputs().items():
        parent = _initial_commit(store, model_id)
        store.set_branch(model_id, "main", store.commit(model_id, content, "Upload model", None, parent))
    parent = _initial_commit(store, CODE_MODEL_ID)
    for name, content in code_variants(variants["v1"]).items():
        parent = store.commit(CODE_MODEL_ID, content, f"Version {name}", None, parent)
        store.remember(CODE_MODEL_ID, name, parent)
    publish(store, CODE_VARIANTS[0])
    return commits


def publish(store: SampleHubStore, variant: str) -> str:
    """Moves main to a variant and returns its commit. Raises LookupError before `build`."""
    model_id = CODE_MODEL_ID if variant in CODE_VARIANTS else MODEL_ID
    sha = store.recall(model_id, variant)
    if sha is None:
        raise LookupError(f"{model_id} has no {variant}; run build first.")
    store.set_branch(model_id, "main", sha)
    return sha


def _initial_commit(store: SampleHubStore, model_id: str) -> str:
    return store.log(model_id, store.create_repo(model_id))[-1].sha
