"""Every kind of revision that a person may type, through the three ways in: what it becomes, and how it was read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from pytest_django import Settings

from registry import hub as upstream
from registry.exceptions import DomainError
from tests.factories import Api, World
from tests.registry.hubs import MODEL_ID, Hub

Clients = Callable[..., Api]

COMMIT, BEGINNING, PULL, NAME = "commit", "beginning of a commit", "pull request", "branch or tag"


@pytest.fixture
def history(hub: Hub) -> dict[str, str]:
    """name -> commit. `main` is two commits long; every other ref leads to a commit that nothing else leads to."""
    first, store = hub.first, hub.store
    main = hub.commit(notes__txt=b"main")

    def aside(text: str) -> str:
        return store.commit(MODEL_ID, {"notes.txt": text.encode()}, text, None, first)

    found = {
        "first": first,
        "main": main,
        "dev": aside("dev"),
        "v1": aside("v1"),
        "pr": aside("pr"),
        "twin": aside("twin"),
    }
    store.set_branch(MODEL_ID, "dev", found["dev"])
    store.set_branch(MODEL_ID, "team/dev", found["dev"])
    store.tag(MODEL_ID, "v1.0", found["v1"])
    store.pull_request(MODEL_ID, 7, found["pr"])
    # Names that imitate commits: of a commit that exists (in upper case), and of none (both ways, long and short).
    store.set_branch(MODEL_ID, main.upper(), found["twin"])
    store.tag(MODEL_ID, main[:12].upper(), found["twin"])
    store.set_branch(MODEL_ID, "DEADBEEF", found["twin"])
    store.tag(MODEL_ID, "D" * 40, found["twin"])
    store.set_branch(MODEL_ID, "deadbee", found["twin"])
    store.set_branch(MODEL_ID, "c" * 40, found["twin"])
    return found


# what is typed (a function of the commits) -> the commit it becomes, how it was read, words of the remark
TAKEN: list[tuple[str, Callable[[dict[str, str]], str], str, str, str]] = [
    ("nothing", lambda h: "", "main", NAME, ""),
    ("main", lambda h: "main", "main", NAME, ""),
    ("branch", lambda h: "dev", "dev", NAME, ""),
    ("branch with a slash", lambda h: "team/dev", "dev", NAME, ""),
    ("tag", lambda h: "v1.0", "v1", NAME, ""),
    ("spaces around it", lambda h: " v1.0 ", "v1", NAME, ""),
    ("pull request", lambda h: "refs/pr/7", "pr", PULL, ""),
    ("full SHA", lambda h: h["first"], "first", COMMIT, ""),
    ("full SHA of a pull request", lambda h: h["pr"], "pr", COMMIT, ""),
    ("seven digits", lambda h: h["first"][:7], "first", BEGINNING, ""),
    ("39 digits", lambda h: h["dev"][:39], "dev", BEGINNING, ""),
    ("upper-case full SHA", lambda h: h["first"].upper(), "first", COMMIT, "was read as the commit"),
    ("mixed-case full SHA", lambda h: h["first"][:20].upper() + h["first"][20:], "first", COMMIT, "in lower case."),
    ("upper-case short SHA", lambda h: h["first"][:10].upper(), "first", BEGINNING, "was read as the commit"),
    ("upper-case SHA that is also a branch", lambda h: h["main"].upper(), "main", COMMIT, "also has a branch of the name"),
    ("upper-case short SHA that is also a tag", lambda h: h["main"][:12].upper(), "main", BEGINNING, "also has a tag"),
]  # fmt: skip

REFUSED: list[tuple[str, str, str, str]] = [
    ("branch like a short SHA", "deadbee", "wrong_commit", "imitates a commit"),
    ("branch like an upper-case short SHA", "DEADBEEF", "wrong_commit", "a branch of the name 'DEADBEEF', which imitates"),
    ("tag like an upper-case SHA", "D" * 40, "wrong_commit", "a tag of the name"),
    ("no such branch", "nowhere", "revision_not_found", "no revision 'nowhere'"),
    ("no such commit", "a" * 40, "revision_not_found", "no revision"),
    ("no such upper-case commit", "A" * 40, "revision_not_found", "no revision"),
    ("no such beginning", "ABCDEF1234", "revision_not_found", "no revision 'abcdef1234'"),
    ("no such pull request", "refs/pr/8", "revision_not_found", "no revision 'refs/pr/8'"),
    ("six digits are a name", "abcdef", "revision_not_found", "no revision 'abcdef'"),
    ("git's own language", "main^", "bad_revision", "is not a revision"),
    ("another of git's", "main~1", "bad_revision", "is not a revision"),
    ("a path", "../main", "bad_revision", "is not a revision"),
    ("two dots", "a..b", "bad_revision", "is not a revision"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "becomes", "read_as", "remark"), [row[1:] for row in TAKEN], ids=[row[0] for row in TAKEN]
)
def test_typed_revision_becomes_the_commit_that_is_meant(
    world: World,
    api: Clients,
    hub: Hub,
    history: dict[str, str],
    typed: Any,
    becomes: str,
    read_as: str,
    remark: str,
) -> None:
    """Resolving, looking up and submitting agree; what is stored is what was typed."""
    text, commit = typed(history), history[becomes]
    found = upstream.resolve(MODEL_ID, text)
    assert (found.commit_sha, found.read_as) == (commit, read_as)
    assert remark in found.remark and bool(remark) == bool(found.remark)
    # The commit itself was asked for by its full name, whatever was typed.
    assert any(f"/revision/{commit}" in row["path"] for row in hub.requests())
    said = api(world.submitter).get(f"/lookup?{urlencode({'model_id': MODEL_ID, 'revision': text})}").data
    assert (said["commit_sha"], said["read_as"]) == (commit, read_as)
    assert said["warnings"] == ([found.remark] if found.remark else [])
    sent = {
        "model_id": MODEL_ID, "use_case": "Sort customers' messages by mood", "environment": "staging",
        "data_class": "internal", "revision": text,
    }  # fmt: skip
    made = api(world.submitter).post("/reviews", sent)
    assert made.status == 201 and made.data["requested_revision"] == (text.strip() or "main")


@pytest.mark.parametrize(
    ("typed", "code", "words"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_typed_revision_that_is_none_or_imitates_one_is_refused(
    world: World, api: Clients, history: dict[str, str], typed: str, code: str, words: str
) -> None:
    with pytest.raises(DomainError) as caught:
        upstream.resolve(MODEL_ID, typed)
    assert caught.value.code == code and words in caught.value.message
    answer = api(world.submitter).get(f"/lookup?{urlencode({'model_id': MODEL_ID, 'revision': typed})}")
    assert answer.code == code and words in answer.error["message"]


def test_a_name_that_moves_between_two_requests_gives_one_commit_or_none(
    hub: Hub, history: dict[str, str]
) -> None:
    """The Hub says one commit for the branch and another for that commit: nothing is taken."""
    hub.lie(moved={history["dev"]: history["v1"]})
    with pytest.raises(DomainError, match="a branch may bear the name of a commit"):
        upstream.resolve(MODEL_ID, "dev")


def test_upper_case_commit_whose_refs_cannot_be_read_is_not_guessed(
    hub: Hub, history: dict[str, str], settings: Settings
) -> None:
    hub.lie(status=500, status_on="api")
    with pytest.raises(DomainError, match="500"):
        upstream.resolve(MODEL_ID, history["main"].upper())
