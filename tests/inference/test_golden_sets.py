"""Golden sets from CSV: read whole or not at all, and each reason names the line and the cure."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from inference.models import GoldenExample, GoldenSet
from inference.services.golden_sets import read_csv
from registry.models import AuditEvent
from tests.factories import MODEL_ID, Answered, Api, World, make_revision

Clients = Callable[..., Api]
GOOD = 'text,label\nHàng rất tốt,positive\n"Late, and broken",negative\n'.encode()


def add(api: Clients, world: World, file: bytes, **fields: str) -> Answered:
    return api(world.submitter).upload(
        "/golden-sets", {"model_id": MODEL_ID, "name": "golden v1", **fields}, file
    )


def test_set_is_kept_with_its_rows_in_order(world: World, api: Clients) -> None:
    answer = add(api, world, GOOD)
    assert answer.status == 201
    assert (answer.data["size"], answer.data["labels"]) == (2, ["negative", "positive"])
    rows = GoldenExample.objects.order_by("number").values_list("number", "inputs", "reference")
    assert list(rows) == [(1, "Hàng rất tốt", "positive"), (2, "Late, and broken", "negative")]
    assert AuditEvent.objects.filter(verb="golden_set.created").count() == 1


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf" + GOOD,  # as Excel writes UTF-8
        GOOD.replace(b"\n", b"\r\n"),
        GOOD + b"\n\n",
        b'id,label,text\n7,positive,H\xc3\xa0ng r\xe1\xba\xa5t t\xe1\xbb\x91t\n8,negative,"Late, and broken"\n',
        GOOD.replace(b"text,label", b" Text , LABEL "),
    ],
    ids=["bom", "windows lines", "empty lines", "more columns", "capital letters"],
)
def test_same_rows_give_the_same_set_however_they_are_written(data: bytes) -> None:
    assert read_csv(data) == [("Hàng rất tốt", "positive"), ("Late, and broken", "negative")]


@pytest.mark.parametrize(
    ("file", "code", "words"),
    [
        (b"", "missing_columns", "text and label are missing"),
        (b"text,label\n", "no_rows", "has no examples below its first line"),
        (b"text,label\n,,\n\n", "no_rows", "has no examples"),
        (b"text\nhello\n", "missing_columns", "label is missing"),
        (b"review,label\nhello,positive\n", "missing_columns", "text is missing"),
        (b"text;label\nhello;positive\n", "missing_columns", "text and label are missing"),
        (b"text,label,text\na,b,c\n", "duplicate_column", "named twice"),
        ("text,label\nHàng tốt,positive\n".encode("utf-16"), "wrong_encoding", "Save it as CSV UTF-8"),
        (
            "text,label\nok,positive\nHàng tốt,positive\n".encode("cp1258", "replace"),
            "wrong_encoding",
            "(line 3)",
        ),
        (b"text,label\nhello,positive\n,negative\n", "empty_cell", "Line 3 has no text"),
        (b"text,label\nhello,\n", "empty_cell", "Line 2 has no label"),
        (b"text,label\nhello\n", "empty_cell", "Line 2 has no label"),
        (b'text,label\n"hello,positive\n', "not_csv", "is not CSV"),
        (b"text,label\nhe\x00llo,positive\n", "not_csv", "NUL"),
        (b"text,label\n" + b"x" * 20_001 + b",positive\n", "too_long", "Line 2 is too long"),
        (b"text,label\nhello," + b"x" * 201 + b"\n", "too_long", "Line 2 is too long"),
        (b"text,label\n" + b"a,b\n" * 20_001, "too_many_rows", "at most 20000 examples"),
        (b"text,label\n" + b"x" * (5 * 2**20), "too_large", "at most 5 MB"),
        (b"PK\x03\x04\x14\x00\x06\x00\xff\xfe", "wrong_encoding", "is not UTF-8"),
    ],
)
def test_bad_file_is_refused_whole_with_the_line_and_the_cure(
    world: World, api: Clients, file: bytes, code: str, words: str
) -> None:
    answer = add(api, world, file)
    assert (answer.status, answer.code) == (422, code)
    assert words in answer.error["message"]
    assert not GoldenSet.objects.exists() and not GoldenExample.objects.exists()


def test_label_the_model_cannot_say_is_refused_at_once(world: World, api: Clients) -> None:
    make_revision(world.team)
    answer = add(api, world, b"text,label\nhello,happy\n")
    assert (answer.status, answer.code) == (422, "unknown_label")
    assert (
        "'happy' is unknown to acme/sentiment-vi-en@aaaaaaa: its labels are negative, neutral, positive."
        in (answer.error["message"])
    )
    assert not GoldenSet.objects.exists()


@pytest.mark.parametrize(
    ("fields", "status"),
    [({"name": ""}, 422), ({"name": "x" * 81}, 422), ({"model_id": "../x"}, 422), ({"model_id": ""}, 422)],
)
def test_bad_names_are_refused(world: World, api: Clients, fields: dict[str, str], status: int) -> None:
    assert add(api, world, GOOD, **fields).status == status
    assert not GoldenSet.objects.exists()


def test_name_is_taken_once_per_model(world: World, api: Clients) -> None:
    add(api, world, GOOD)
    answer = add(api, world, b"text,label\nanother,positive\n")
    assert (answer.status, answer.code) == (409, "name_taken")
    assert GoldenExample.objects.count() == 2
    assert add(api, world, GOOD, model_id="acme/other").status == 201


def test_form_without_a_file_is_refused(world: World, api: Clients) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nx\r\n--b--\r\n'
    answer = api(world.submitter).send(
        "POST", "/golden-sets", body, content_type="multipart/form-data; boundary=b"
    )
    assert answer.status == 422 and set(answer.error["details"]) == {"file", "model_id"}


@pytest.mark.parametrize(
    "content_type", ["multipart/form-data", "multipart/form-data; boundary=", "application/json", ""]
)
def test_broken_form_is_never_our_error(world: World, api: Clients, content_type: str) -> None:
    answer = api(world.submitter).send("POST", "/golden-sets", b"--x\r\nrubbish", content_type=content_type)
    assert 400 <= answer.status < 500 and answer.code
