"""Bulk work gives what the engine gives; words looked up are words computed."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from inference.engine import TextClassifier, load_backend
from inference.engine.bulk import Bulk
from inference.engine.bulk_tokens import make_encode
from inference.engine.packed.backend import PackedBackend
from inference.engine.words import Words
from tests.engine.families import build_family
from tests.engine.tiny import LINES, tiny_config

ODD = [
    "[SEP] in the text[MASK]and [CLS]",
    "tab\tnew\nline\r\n\x0b\x0c ends",
    "a\x1cb \x85 \u2028c\u00a0d \u3000e \u200bf \ufeffg",
    "sa\u0309n pha\u0302\u0309m  to\u0302\u0301t ",
    " \u0301 alone \u0301x",
    "漢字 kanji漢字mixed",
    "ΟΔΟΣ Σ İstanbul ǅ ß",
    "x" * 300 + " " + "y" * 99,
    "don't stop-it, now!?…",
    "👍🏽👩‍👩‍👧 ok",
    "\x00null \ufffd \x7f",
]


@pytest.mark.parametrize("seed", range(10))
def test_words_equal_the_tokenizer(snapshot: Path, seed: int) -> None:
    backend = load_backend(tiny_config(snapshot))
    assert isinstance(backend, PackedBackend)
    state = backend.tokeniser_state()
    assert Words.suits(state.source, state.side)
    chance = random.Random(seed)
    pool = [*LINES, *ODD, *"abc\u0301 \t\n,.-[]漢İß\x1c\u00a0"]
    texts = ["".join(chance.choices(pool, k=chance.randint(1, 5))) for _ in range(100)] + ODD + ["", " "]
    encode = make_encode(state)
    for _ in range(2):  # computed, then remembered
        ids, truncated = encode(texts)
        expected = backend.encode(texts)
        assert ids == [e.input_ids for e in expected]
        assert truncated == [e.truncated for e in expected]


def test_other_tokenizers_are_asked_themselves(tmp_path: Path) -> None:
    source = (build_family(tmp_path / "m", "roberta", "classify") / "tokenizer.json").read_text()
    assert not Words.suits(source, "right")


def test_bulk_answers_in_order_as_one_by_one(snapshot: Path) -> None:
    backend = load_backend(tiny_config(snapshot))
    assert isinstance(backend, PackedBackend)
    texts = [f"{line} {LINES[i % 6]}" * (1 + i % 9) for i, line in enumerate(LINES * 200)]
    bulk = Bulk(backend, processes=2, tokens=500)
    try:
        answers = list(bulk.classify(texts))
    finally:
        bulk.close()
    assert len(answers) > 1
    wanted = TextClassifier(tiny_config(snapshot), backend=backend).predict(texts).predictions
    assert [label for part in answers for label in part.labels] == [p.label for p in wanted]
    confidences = np.concatenate([part.confidences for part in answers])
    assert confidences == pytest.approx([p.confidence for p in wanted], abs=1e-5)
    assert np.concatenate([part.token_counts for part in answers]).tolist() == [p.token_count for p in wanted]
    assert np.concatenate([part.truncated for part in answers]).tolist() == [p.truncated for p in wanted]
