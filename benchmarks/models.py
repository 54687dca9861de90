"""The model and the texts that every figure of the engine is measured on, made from seeds, without a network.

    python -m benchmarks.models FOLDER      writes FOLDER/distil, FOLDER/tiny and FOLDER/texts.json

`distil` is DistilBERT's dimensions (6 layers of 768, 30,522 word pieces, 67 M parameters) with random weights and a head 20
times as large, so that texts get different labels; `tiny` (2 layers of 128) shows what is not the model. The texts are made of
invented words, lognormal in length: about 39 tokens on average at most 128, 3 % cut.
"""

from __future__ import annotations

import json
import random
import sys
from functools import lru_cache
from pathlib import Path

VOCABULARY = 30_522
TEXTS = 2_000
SEED = 1234
_SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_ONSETS = [
    "b",
    "c",
    "ch",
    "d",
    "f",
    "g",
    "h",
    "j",
    "k",
    "l",
    "m",
    "n",
    "ng",
    "p",
    "ph",
    "r",
    "s",
    "t",
    "th",
    "tr",
    "v",
    "x",
]
_VOWELS = ["a", "e", "i", "o", "u", "y", "ai", "ao", "ea", "ie", "oa", "ui"]
_CODAS = ["", "c", "m", "n", "ng", "p", "t", "nh", "r", "s"]


def build(folder: Path, name: str) -> Path:
    """The snapshot `folder/name` (`distil` or `tiny`); built once."""
    snapshot = folder / name
    if (snapshot / "model.safetensors").is_file():
        return snapshot
    import torch
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    sizes = {"distil": (768, 3072, 6, 12), "tiny": (128, 512, 2, 2)}
    dim, hidden, layers, heads = sizes[name]
    torch.manual_seed(SEED)
    model = DistilBertForSequenceClassification(
        DistilBertConfig(
            vocab_size=VOCABULARY,
            dim=dim,
            hidden_dim=hidden,
            n_layers=layers,
            n_heads=heads,
            max_position_embeddings=512,
        )
    )
    with torch.no_grad():
        model.classifier.weight *= 20
    model.save_pretrained(snapshot)
    _tokenizer(snapshot)
    return snapshot


def texts(count: int = TEXTS) -> list[str]:
    """Texts of lognormal length (median 24 words, at most 273); the same ones every time."""
    chance = random.Random(SEED)
    words, pieces = _words()
    made = []
    for _ in range(count):
        length = max(1, min(273, round(chance.lognormvariate(3.178, 0.828))))
        made.append(
            " ".join(
                chance.choice(words) + (chance.choice(pieces) if chance.random() < 0.125 else "")
                for _ in range(length)
            )
        )
    return made


@lru_cache
def _words() -> tuple[list[str], list[str]]:
    """Whole words and endings, none of which is a letter or occurs twice."""
    chance = random.Random(SEED)

    def invent(count: int, syllables: tuple[int, int]) -> list[str]:
        found: dict[str, None] = {}
        while len(found) < count:
            parts = [
                chance.choice(_ONSETS) + chance.choice(_VOWELS) + chance.choice(_CODAS)
                for _ in range(chance.randint(*syllables))
            ]
            found["".join(parts)] = None
        return list(found)

    return invent(24_000, (2, 3)), invent(1_200, (1, 1))


def _tokenizer(snapshot: Path) -> None:
    """WordPiece with exactly VOCABULARY pieces, as BERT's tokenizers are written."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    words, endings = _words()
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = [
        *_SPECIALS,
        *letters,
        *(f"##{letter}" for letter in letters),
        *words,
        *(f"##{end}" for end in endings),
    ]
    pieces += [f"[unused{i}]" for i in range(VOCABULARY - len(pieces))]
    raw = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    raw.normalizer = normalizers.BertNormalizer(lowercase=True)
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    raw.save(str(snapshot / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 512,
        "model_input_names": ["input_ids", "attention_mask"],
        **{f"{name[1:-1].lower()}_token": name for name in _SPECIALS},
    }
    (snapshot / "tokenizer_config.json").write_text(json.dumps(settings, indent=1))


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    folder = Path(sys.argv[1])
    for name in ("distil", "tiny"):
        print(build(folder, name))
    (folder / "texts.json").write_text(json.dumps(texts(), ensure_ascii=False))
    print(folder / "texts.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
