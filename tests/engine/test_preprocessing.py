"""Preprocessing is part of the revision: named, versioned, applied before the tokenizer, else refused."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from inference.engine import ModelLoadError, load_backend
from inference.engine.preprocessing import join_words, read_step
from tests.engine.tiny import tiny_config

KNOWN = {("giao", "hàng"), ("sản", "phẩm"), ("giao", "hàng", "nhanh", "chóng"), ("việt", "nam")}


def declare(snapshot: Path, step: object, version: object = 1) -> None:
    (snapshot / "preprocessing.json").write_text(json.dumps({"step": step, "version": version}))


@pytest.mark.parametrize(
    ("text", "joined"),
    [
        ("Giao hàng nhanh chóng", "Giao_hàng_nhanh_chóng"),
        ("Giao hàng nhanh", "Giao_hàng nhanh"),
        ("SẢN PHẨM của Việt Nam", "SẢN_PHẨM của Việt_Nam"),
        ("  hàng   giao ", "hàng giao"),
        (unicodedata.normalize("NFD", "sản phẩm tốt"), "sản_phẩm tốt"),
        ("", ""),
    ],
)
def test_words_are_joined_longest_first(text: str, joined: str) -> None:
    assert join_words(text, KNOWN) == joined


def test_nothing_declared_changes_nothing(snapshot: Path) -> None:
    step = read_step(snapshot)
    assert (str(step), step.apply("a\u0301 ")) == ("none@1", "a\u0301 ")


def test_a_declared_step_reaches_the_tokens(spoiled: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "sản phẩm tốt")
    plain = load_backend(tiny_config(spoiled)).encode(["sản phẩm tốt"])[0].input_ids
    declare(spoiled, "nfc")
    backend = load_backend(tiny_config(spoiled))
    assert backend.encode([decomposed])[0].input_ids == plain
    assert backend.variant.backend == "packed", "the reference prepares the canary in the same way"


def test_words_come_from_the_revision(spoiled: Path) -> None:
    declare(spoiled, "words")
    with pytest.raises(ModelLoadError, match=r"preprocessing\.words\.txt"):
        load_backend(tiny_config(spoiled))
    (spoiled / "preprocessing.words.txt").write_text("giao hàng\nsản phẩm\n", encoding="utf-8")
    assert read_step(spoiled).apply("Sản phẩm tốt") == "Sản_phẩm tốt"


@pytest.mark.parametrize(("step", "version"), [("nonesuch", 1), ("nfc", 2), (["nfc"], 1), (None, None)])
def test_an_unknown_step_is_refused(spoiled: Path, step: object, version: object) -> None:
    declare(spoiled, step, version)
    with pytest.raises(ModelLoadError) as caught:
        load_backend(tiny_config(spoiled))
    assert caught.value.code == "bad_preprocessing"
