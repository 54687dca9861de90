"""The wrapper: batching, truncation, schema, errors, and that a text never reaches a log."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inference.engine import (
    Encoding,
    InferenceError,
    InferenceInputError,
    InferenceOutputError,
    TextClassifier,
    load_backend,
)
from inference.engine.dummy import DummyBackend
from inference.engine.load import load_tokenizer
from inference.engine.preprocessing import read_step
from inference.engine.reference import ReferenceBackend
from inference.engine.tokenise import Tokeniser
from tests.engine.tiny import COMMIT_SHA, LABELS, LINES, MODEL_ID, tiny_config

SECRET = "Nguyễn Văn A, thẻ 4111-1111"


def classifier_over(backend: DummyBackend, tmp_path: Path) -> TextClassifier:
    return TextClassifier(tiny_config(tmp_path), backend=backend)


def test_predict_equals_the_lesson_s_plain_path(classifier: TextClassifier, snapshot: Path) -> None:
    """Length-sorted batches give what one padded transformers call gives, in the order of the input."""
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(str(snapshot)).eval()
    inputs = load_tokenizer(snapshot)(
        LINES, padding=True, truncation=True, max_length=32, return_tensors="pt"
    )
    with torch.inference_mode():
        expected = torch.softmax(model(**inputs).logits, dim=-1)
    result = classifier.predict(LINES, top_k=3)
    for row, mask, prediction in zip(expected, inputs["attention_mask"], result.predictions, strict=True):
        assert prediction.label == LABELS[int(row.argmax())]
        assert prediction.confidence == pytest.approx(float(row.max()), abs=1e-5)
        assert prediction.token_count == int(mask.sum())
        assert prediction.scores is not None
        assert sum(score.confidence for score in prediction.scores) == pytest.approx(1, abs=1e-5)


def test_predict_answers_with_the_whole_schema(classifier: TextClassifier) -> None:
    result = classifier.predict(["this product is useful"])
    assert (result.model_id, result.commit_sha, result.device) == (MODEL_ID, COMMIT_SHA, "cpu")
    assert result.latency_ms >= result.inference_ms > 0
    assert result.tokenization_ms >= 0
    [prediction] = result.predictions
    assert prediction.scores is None
    assert not prediction.truncated


def test_predict_flags_a_truncated_text(classifier: TextClassifier) -> None:
    short, long = classifier.predict(["good", "good " * 100]).predictions
    assert (short.truncated, long.truncated) == (False, True)
    assert long.token_count == 32


def test_predict_refuses_to_truncate_when_asked(classifier: TextClassifier) -> None:
    with pytest.raises(InferenceInputError) as caught:
        classifier.predict(["good", "good " * 100], truncate=False)
    assert (caught.value.code, caught.value.details) == ("input_too_long", {"index": 1, "limit": 32})


@pytest.mark.parametrize(
    ("texts", "code"),
    [
        ([], "no_inputs"),
        ("one string", "not_a_list"),
        (["ok", 3], "not_a_string"),
        (["ok", None], "not_a_string"),
        ([""], "blank_input"),
        ([" \n\t"], "blank_input"),
        ([SECRET + "x" * 100_001], "input_too_large"),
        ([SECRET + "\ud800"], "bad_unicode"),
    ],
)
def test_predict_refuses_bad_input_without_quoting_it(
    classifier: TextClassifier, texts: Sequence[str], code: str
) -> None:
    with pytest.raises(InferenceInputError) as caught:
        classifier.predict(texts)
    assert caught.value.code == code
    assert "Nguyễn" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("top_k", [0, -1, 101])
def test_predict_refuses_top_k_outside_its_bounds(classifier: TextClassifier, top_k: int) -> None:
    with pytest.raises(InferenceInputError, match="top_k"):
        classifier.predict(["good"], top_k=top_k)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_predict_never_turns_a_non_finite_logit_into_a_label(tmp_path: Path, bad: float) -> None:
    @dataclass
    class Sick(DummyBackend):
        def forward(self, batch: Sequence[Encoding]) -> NDArray[np.float32]:
            return np.array([[bad, 1.0]] * len(batch), dtype=np.float32)

    with pytest.raises(InferenceOutputError):
        classifier_over(Sick(), tmp_path).predict(["good"])


def test_predict_refuses_logits_of_a_wrong_shape(tmp_path: Path) -> None:
    with pytest.raises(InferenceOutputError, match="shape"):
        classifier_over(ShortBackend(), tmp_path).predict(["good", "bad"])


class ShortBackend(DummyBackend):
    def forward(self, batch: Sequence[Encoding]) -> NDArray[np.float32]:
        return super().forward(batch)[:-1]


class QuotingBackend(DummyBackend):
    """Fails like a library whose message quotes its input."""

    def forward(self, batch: Sequence[Encoding]) -> NDArray[np.float32]:
        raise RuntimeError(f"cannot handle {SECRET}")


def test_a_failing_forward_is_typed_and_logged_without_the_text(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(InferenceError) as caught:
        classifier_over(QuotingBackend(), tmp_path).predict([SECRET])
    assert "Nguyễn" not in str(caught.value)
    [record] = [record for record in caplog.records if record.message == "model_inference_failed"]
    assert "RuntimeError" in record.error  # type: ignore[attr-defined]
    assert "Nguyễn" not in str(record.__dict__)


def test_logs_of_a_prediction_hold_lengths_but_no_text(
    classifier: TextClassifier, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        classifier.predict([SECRET])
    assert caplog.records, "a prediction leaves a line"
    assert all(
        "Nguyễn" not in str(record.__dict__) and "4111" not in str(record.__dict__)
        for record in caplog.records
    )
    assert caplog.records[-1].tokens > 0  # type: ignore[attr-defined]


def test_predict_from_many_threads_is_right_for_each(classifier: TextClassifier) -> None:
    expected = {line: classifier.predict([line]).predictions[0] for line in LINES}
    wrong: list[str] = []

    def ask(line: str) -> None:
        for _ in range(10):
            got = classifier.predict([line]).predictions[0]
            if (got.label, got.token_count) != (expected[line].label, expected[line].token_count):
                wrong.append(line)

    threads = [threading.Thread(target=ask, args=(line,)) for line in LINES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_tokeniser_equals_transformers_call_and_its_slow_path(snapshot: Path) -> None:
    tokenizer = load_tokenizer(snapshot)
    texts = [*LINES, "good " * 40, "x" * 300]
    expected = [tokenizer(text, truncation=True, max_length=16)["input_ids"] for text in texts]
    step = read_step(snapshot)
    fast = Tokeniser(tokenizer.backend_tokenizer.to_str(), 16, step)
    slow = Tokeniser(tokenizer, 16, step)
    for tokeniser in (fast, slow):
        got = tokeniser.encode(texts)
        assert [encoding.input_ids for encoding in got] == expected
        assert [encoding.truncated for encoding in got] == [
            len(tokenizer(t)["input_ids"]) > 16 for t in texts
        ]


def test_left_padding_tokenizer_pads_left(snapshot: Path) -> None:
    backend = load_backend(replace(tiny_config(snapshot), backend="reference"))
    assert isinstance(backend, ReferenceBackend)
    assert backend._pad([[5], [6, 7]], 3, 0).tolist() == [[5, 0, 0], [6, 7, 0]]
    backend._tokenizer.padding_side = "left"
    assert backend._pad([[5], [6, 7]], 3, 0).tolist() == [[0, 0, 5], [0, 6, 7]]
