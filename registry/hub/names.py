"""What a person types or pastes: a model id, a revision, or a Hub address. Nothing here asks the Hub."""

from __future__ import annotations

import re
from urllib.parse import unquote

from registry.exceptions import InvalidInput
from registry.words import gettext

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_MODEL_ID = re.compile(rf"{_PART}/{_PART}")
_URL = re.compile(
    r"^(?:https?://)?[^/\s]+\.[^/\s]+/(?P<id>[^/\s]+/[^/\s]+)(?:/(?:tree|blob|commit)/(?P<rev>[^\s?#]+))?/?$"
)


def parse_reference(typed: str) -> tuple[str, str]:
    """(model_id, revision or "") from what a person pastes: `org/name` or a Hub address.

    Raises InvalidInput with what is wrong and an example.
    """
    text = typed.strip()
    match = _URL.match(text)
    if match:
        text, revision = match["id"], unquote((match["rev"] or "").split("/")[0])
    else:
        revision = ""
    return check_model_id(text), revision


def check_model_id(model_id: str) -> str:
    """`org/name` in the Hub's own alphabet, at most 96 characters each. Raises InvalidInput with the cure."""
    if len(model_id) > 200:
        raise InvalidInput(
            gettext("A model id has at most 193 characters; this has %(n)s.", n=len(model_id)),
            code="bad_model_id",
        )
    if not _MODEL_ID.fullmatch(model_id) or ".." in model_id or "--" in model_id:
        raise InvalidInput(
            gettext(
                "%(model_id)r is not a model id. Write it as org/name, for example acme/sentiment-vi-en: "
                "letters, digits, '-', '_' and '.', no spaces and no '..'.",
                model_id=model_id[:80],
            ),
            code="bad_model_id",
        )
    return model_id


def check_revision(revision: str) -> str:
    """A branch, tag or commit as typed. Raises InvalidInput for names that git or the Hub would read another way."""
    text = revision.strip() or "main"
    if (
        len(text) > 120
        or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/-]*", text)
        or ".." in text
        or "//" in text
    ):
        raise InvalidInput(
            gettext(
                "%(text)r is not a revision. Give a branch or tag (for example main) or a commit SHA, best with all of "
                "its 40 digits.",
                text=text[:60],
            ),
            code="bad_revision",
        )
    return text
