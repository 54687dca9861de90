"""A story that falls short says so, goes on where it can, and does not end well."""

from __future__ import annotations

import pytest

from reviews.demo.asking import Page
from reviews.demo.telling import Step, Teller, expect, table


def _short() -> str:
    expect(1 > 2, "one is not more than two")
    return "never said"


def _broken() -> str:
    raise KeyError("x")


def test_step_that_falls_short_is_kept_and_the_rest_is_told() -> None:
    said: list[str] = []
    teller = Teller(said.append, alive=lambda: None)
    steps = [
        Step("first", lambda: "seen"),
        Step("second", _short),
        Step("third", _broken),
        Step("last", str),
    ]
    assert teller.tell(steps) is False
    assert teller.failed == ["second", "third"]
    assert "ok" in said[0] and "first" in said[0] and said[1].strip() == "seen"
    assert any("FAILED" in line and "second" in line for line in said)
    assert any("FellShort: one is not more than two" in line for line in said)
    assert "ok" in said[-1] and "last" in said[-1]
    assert "2 of 4 steps fell short" in teller.verdict()


def test_story_ends_when_a_process_has_died() -> None:
    def alive() -> None:
        raise RuntimeError("web ended with code 1")

    with pytest.raises(RuntimeError, match="web ended"):
        Teller(lambda line: None, alive=alive).tell([Step("first", str)])


def test_whole_story_ends_well() -> None:
    teller = Teller(lambda line: None, alive=lambda: None)
    assert teller.tell([Step("first", str), Step("second", str)]) is True
    assert teller.verdict().startswith("All 2 steps held")


def test_table_is_aligned() -> None:
    assert table([("a", "bb"), ("ccc", "d")]) == ["a    bb", "---  --", "ccc  d"]


def test_page_is_read_as_a_browser_would() -> None:
    import httpx

    html = """<form action="/a/"><input type="hidden" name="h" value="1"><input type="checkbox" name="c" value="x">
    <input type="radio" name="r" value="no"><input type="radio" name="r" value="yes" checked><textarea name="t"></textarea>
    <select name="s"><option value="1"><option value="2" selected></select>
    <button name="decision" value="go" formaction="/b/">Go &amp; see</button></form>"""
    page = Page(httpx.Response(200, text=html, request=httpx.Request("GET", "http://x/p/")))
    form = page.form_to("/a/")
    assert form.fields == {"h": "1", "r": "yes", "t": "", "s": "2"}
    assert form.buttons == [("decision", "go", "/b/")]
    assert page.text == "Go & see"
    with pytest.raises(AssertionError, match="no form to /c/"):
        page.form_to("/c/")
