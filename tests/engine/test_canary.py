"""Correct before fast: a backend that disagrees with transformers does not serve."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.engine import ModelLoadError, load_backend
from inference.engine.canary import check_against, compute_reference
from inference.engine.contract import read_contract
from inference.engine.packed.encoder import Encoder
from tests.engine.tiny import tiny_config

# Of a logit. The tokenizer's training breaks ties as it likes, and some of the models that come out are so sure of each answer
# that a thousandth changes no probability by the tolerance.
OFF = 0.1


def tampered(monkeypatch: pytest.MonkeyPatch, change: float) -> None:
    """An encoder whose answers are off by a little."""
    plain = Encoder.forward

    def off(self: Encoder, rows: Any) -> torch.Tensor:
        out = plain(self, rows)
        out[:, 0] += change
        return out

    monkeypatch.setattr(Encoder, "forward", off)


def test_a_wrong_packed_backend_gives_way_to_the_reference(
    snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tampered(monkeypatch, OFF)
    assert load_backend(tiny_config(snapshot)).variant.backend == "reference"


def test_a_wrong_packed_backend_that_was_asked_for_is_refused(
    snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tampered(monkeypatch, OFF)
    with pytest.raises(ModelLoadError, match="disagrees with the reference") as caught:
        load_backend(replace(tiny_config(snapshot), backend="packed"))
    assert caught.value.code == "canary_failed"


def test_a_difference_below_the_tolerance_passes(snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tampered(monkeypatch, 1e-6)
    assert load_backend(tiny_config(snapshot)).variant.backend == "packed"


def test_other_tokens_are_refused_whatever_the_answer(snapshot: Path) -> None:
    config = tiny_config(snapshot)
    expected = compute_reference(config, read_contract(config))
    backend = load_backend(config)
    assert check_against(backend, expected, "fp32") < 1e-5
    expected[1] = replace(expected[1], ids=[*expected[1].ids, 4])
    with pytest.raises(ModelLoadError, match="other tokens"):
        check_against(backend, expected, "fp32")


def test_the_reference_is_computed_once_and_kept_by_digest(
    snapshot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(tiny_config(snapshot), digest="d" * 64, canaries=tmp_path)
    assert load_backend(config).variant.backend == "packed"
    [kept] = tmp_path.iterdir()

    def never(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr("inference.engine.canary.subprocess.run", never)
    assert load_backend(config).variant.backend == "packed"
    # A kept answer that is another model's: the packed backend is not believed.
    record = json.loads(kept.read_text())
    record["answers"][0]["numbers"][0] += 0.01
    kept.write_text(json.dumps(record))
    assert load_backend(config).variant.backend == "reference"


def test_a_lower_precision_is_never_replaced_silently(snapshot: Path) -> None:
    config = replace(tiny_config(snapshot), precision="fp16")
    with pytest.raises(ModelLoadError) as caught:
        load_backend(config)
    assert caught.value.code == "not_packed"


def test_an_unknown_architecture_takes_the_reference(spoiled: Path) -> None:
    from transformers import AlbertConfig, AlbertForSequenceClassification

    torch.manual_seed(0)
    AlbertForSequenceClassification(
        AlbertConfig(
            vocab_size=300,
            embedding_size=16,
            hidden_size=32,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=64,
            num_labels=3,
        )
    ).save_pretrained(spoiled)
    assert load_backend(tiny_config(spoiled)).variant.backend == "reference"
    with pytest.raises(ModelLoadError, match="not in the table"):
        load_backend(replace(tiny_config(spoiled), backend="packed"))
