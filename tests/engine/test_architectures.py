"""Every packed architecture, head and edge of length against transformers itself."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, pipeline

from inference.engine import (
    Backend,
    ClassifierConfig,
    Classify,
    Compare,
    Embed,
    Embedding,
    Engine,
    Entities,
    Input,
    ModelLoadError,
    Rank,
    Score,
    Tag,
    load_backend,
)
from inference.engine.canary import TOLERANCES
from inference.engine.device import has_half
from inference.engine.forward import run_batch
from inference.engine.tasks import AGGREGATIONS
from inference.engine.warm_up import signature
from tests.engine.families import FAMILIES, HEADS, LABELS, POSITIONS, TASK, build_family, write_pooling

# One token beside the special ones; a text of exactly max_length; truncated; emoji; Vietnamese; blanks around
# it; specials typed into the text (RoBERTa counts no position for a padding id).
TEXTS = [
    "a",
    "good",
    "warm " * 200,
    "👍🏽 late — “nothing” 100%!?",
    "Sản phẩm tốt, giao hàng nhanh; đóng gói kém.",
    "  \t good \n ",
    "the <pad> delivery [PAD] was <pad> late",
    "the delivery was late and support was terrible " * 3,
    "sa\u0309n pha\u0302\u0309m to\u0302\u0301t",
]
PAIRS: list[Input] = [
    ("is it reliable", "this product is useful and reliable"),
    ("good", "warm " * 200),
    ("warm " * 100, "nothing special " * 100),
    ("sản phẩm", "👍"),
]
TOLERANCE = 1e-5


@pytest.fixture(scope="session")
def families(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Built on first use."""
    folder, built = tmp_path_factory.mktemp("families"), {}

    def snapshot(family: str, head: str, spread: float = 0.3) -> Path:
        if (family, head, spread) not in built:
            built[family, head, spread] = build_family(
                folder / f"{family}-{head}-{spread}", family, head, initializer_range=spread
            )
        return built[family, head, spread]

    return snapshot


def config_of(snapshot: Path, head: str, **changes: Any) -> ClassifierConfig:
    return replace(ClassifierConfig(snapshot, "acme/x", "a" * 40, max_length=64, task=TASK[head]), **changes)


def exact_text(snapshot: Path, limit: int) -> str:
    """A text of exactly `limit` tokens."""
    tokenizer = AutoTokenizer.from_pretrained(str(snapshot))
    words = 1
    while len(tokenizer(" ".join(["good"] * words))["input_ids"]) < limit:
        words += 1
    text = " ".join(["good"] * words)
    assert len(tokenizer(text)["input_ids"]) == limit
    return text


def expected_numbers(
    snapshot: Path, head: str, inputs: list[Input], limit: int
) -> list[np.ndarray[Any, Any]]:
    """transformers, one input at a time, nothing of ours between."""
    tokenizer = AutoTokenizer.from_pretrained(str(snapshot))
    model = HEADS[head].from_pretrained(str(snapshot)).eval()
    out = []
    for one in inputs:
        texts = (one,) if isinstance(one, str) else one
        given = tokenizer(*texts, truncation=True, max_length=limit, return_tensors="pt")
        with torch.inference_mode():
            answer = model(**given)
        out.append((answer.last_hidden_state.mean(1)[0] if head == "embed" else answer.logits[0]).numpy())
    return out


def close(got: Any, wanted: Any, head: str) -> bool:
    if head == "embed":
        return bool(np.abs(np.array(got) - wanted).max() <= TOLERANCE * max(1, np.abs(wanted).max()))
    a, b = (torch.softmax(torch.tensor(np.array(x)), -1) for x in (got, wanted))
    return bool((a - b).abs().max() <= TOLERANCE) and bool((a.argmax(-1) == b.argmax(-1)).all())


@pytest.mark.parametrize("backend_name", ["packed", "reference"])
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("family", FAMILIES)
def test_answers_are_those_of_transformers(families: Any, family: str, head: str, backend_name: Any) -> None:
    snapshot = families(family, head)
    backend = load_backend(config_of(snapshot, head, backend=backend_name))
    assert backend.variant.backend == backend_name
    inputs: list[Input] = [*TEXTS, exact_text(snapshot, 64), *(PAIRS if head == "classify" else [])]
    expected = expected_numbers(snapshot, head, inputs, 64)
    encodings = backend.encode(inputs)
    assert [e.truncated for e in encodings][:3] == [False, False, True]
    assert not encodings[len(TEXTS)].truncated and len(encodings[len(TEXTS)]) == 64
    together = run_batch(backend, encodings)
    for one, encoding, beside, wanted in zip(inputs, encodings, together, expected, strict=True):
        assert close(beside, wanted, head), f"in company: {one!r}"
        assert close(run_batch(backend, [encoding])[0], wanted, head), f"alone: {one!r}"


@pytest.mark.skipif(not has_half(torch.device("cpu"), torch.bfloat16), reason="this CPU computes no bf16")
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_stays_within_its_tolerance(families: Any, family: str, head: str) -> None:
    # Weights as large as trained ones: with those of the exact test, where a forgotten bias must show in the fifth
    # decimal, rounding to 8 bits grows past the tolerance, and the canary refuses the model (rightly).
    snapshot = families(family, head, 0.1)
    backend = load_backend(config_of(snapshot, head, backend="packed", precision="bf16"))
    assert str(backend.variant) == "packed/bf16/cpu"
    inputs: list[Input] = [*TEXTS, exact_text(snapshot, 64), *(PAIRS if head == "classify" else [])]
    expected = expected_numbers(snapshot, head, inputs, 64)
    encodings = backend.encode(inputs)
    together = run_batch(backend, encodings)
    for one, encoding, beside, number in zip(inputs, encodings, together, expected, strict=True):
        wanted = np.array(signature(number, backend.head))
        for got in (beside, run_batch(backend, [encoding])[0]):
            far = np.abs(np.array(signature(got, backend.head)) - wanted).max()
            assert far <= TOLERANCES["bf16"], f"{one!r}: {far}"


@pytest.mark.parametrize("family", FAMILIES)
def test_the_longest_text_fits_the_position_table(families: Any, family: str) -> None:
    backend = load_backend(
        config_of(families(family, "classify"), "classify", max_length=512, backend="packed")
    )
    assert backend.max_length == POSITIONS
    assert len(run_batch(backend, backend.encode(["good " * 600]))) == 1


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.filterwarnings("ignore:Tokenizer does not support real words")
def test_entities_are_those_of_the_pipeline(families: Any, family: str, aggregation: Any) -> None:
    snapshot = families(family, "tag")
    tagger = pipeline("token-classification", str(snapshot), aggregation_strategy=aggregation)
    texts = [
        "Sản phẩm tốt của the delivery xyzzy",
        "it arrived on time, nothing special 👍",
        "support was terrible",
    ]
    engine = started(load_backend(config_of(snapshot, "tag")))
    for text, result in zip(texts, engine.ask(texts, Tag(aggregation)), strict=True):
        assert isinstance(result, Entities)
        wanted = tagger(text)
        assert [(e.label, e.word, e.start, e.end) for e in result.entities] == [
            (w.get("entity_group", w.get("entity")), w["word"], w["start"], w["end"]) for w in wanted
        ]
        assert [e.confidence for e in result.entities] == pytest.approx(
            [float(w["score"]) for w in wanted], abs=1e-5
        )
    engine.close()


@pytest.mark.parametrize("mode", ["cls_token", "mean_tokens"])
@pytest.mark.parametrize("normalise", [True, False])
def test_vectors_are_pooled_as_the_revision_declares(tmp_path: Path, mode: str, normalise: bool) -> None:
    snapshot = build_family(tmp_path / "m", "bert", "embed")
    write_pooling(snapshot, mode, normalise=normalise)
    model = HEADS["embed"].from_pretrained(str(snapshot)).eval()
    given = AutoTokenizer.from_pretrained(str(snapshot))("good support", return_tensors="pt")
    with torch.inference_mode():
        hidden = model(**given).last_hidden_state[0]
    wanted = hidden[0] if mode == "cls_token" else hidden.mean(0)
    wanted = wanted / wanted.norm() if normalise else wanted
    engine = started(load_backend(config_of(snapshot, "embed", backend="packed")))
    [result, other] = engine.ask(["good support", "late"], Embed())
    assert isinstance(result, Embedding) and isinstance(other, Embedding)
    assert result.vector == pytest.approx(wanted.tolist(), abs=1e-5)
    [score] = engine.ask(["good support", "late"], Compare())
    a, b = np.array(result.vector), np.array(other.vector)
    assert isinstance(score, Score)
    assert score.score == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-5)
    engine.close()


@pytest.mark.parametrize("spoil", ["missing", "max_tokens", "dense"])
def test_vectors_made_in_an_unknown_way_are_refused(tmp_path: Path, spoil: str) -> None:
    snapshot = build_family(tmp_path / "m", "bert", "embed")
    write_pooling(snapshot, "max_tokens" if spoil == "max_tokens" else "mean_tokens", normalise=False)
    if spoil == "missing":
        (snapshot / "1_Pooling" / "config.json").unlink()
    if spoil == "dense":
        modules = json.loads((snapshot / "modules.json").read_text())
        modules.append({"type": "sentence_transformers.models.Dense"})
        (snapshot / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ModelLoadError) as caught:
        load_backend(config_of(snapshot, "embed"))
    assert caught.value.code == "unsupported_head"


def test_several_labels_at_once_use_the_sigmoid(tmp_path: Path) -> None:
    snapshot = build_family(tmp_path / "m", "bert", "classify", problem_type="multi_label_classification")
    engine = started(load_backend(config_of(snapshot, "classify")))
    [wanted] = expected_numbers(snapshot, "classify", ["good"], 64)
    [got] = engine.ask(["good"], Classify(top_k=100))
    scores = {s.label: s.confidence for s in got.scores}  # type: ignore[union-attr]
    assert [scores[label] for label in LABELS] == pytest.approx(
        (1 / (1 + np.exp(-wanted))).tolist(), abs=1e-5
    )
    engine.close()


def test_a_cross_encoder_ranks(tmp_path: Path) -> None:
    snapshot = build_family(
        tmp_path / "m", "roberta", "classify", id2label={0: "LABEL_0"}, label2id={"LABEL_0": 0}
    )
    engine = started(load_backend(config_of(snapshot, "classify", task="text-ranking")))
    [wanted] = expected_numbers(snapshot, "classify", [PAIRS[0]], 64)
    [raw] = engine.ask([PAIRS[0]], Rank(raw=True))
    [score] = engine.ask([PAIRS[0]], Rank())
    assert isinstance(raw, Score) and isinstance(score, Score)
    assert raw.score == pytest.approx(float(wanted[0]), abs=1e-4)
    assert score.score == pytest.approx(float(1 / (1 + np.exp(-wanted[0]))), abs=1e-5)
    engine.close()


def started(backend: Backend) -> Engine:
    engine = Engine(backend)
    engine.start()
    return engine
