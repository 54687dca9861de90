"""Refusals and headers, in the words and codes that the Hub's clients understand.

A HEAD answer has no body, so the sentence is in headers: `X-Error-Message` ends up in the client's exception,
`X-HF-Warning: topic; text` is printed in the terminal (once a topic and process).
"""

from __future__ import annotations

import unicodedata
from typing import TypeVar
from urllib.parse import quote

from django.http import HttpResponse, HttpResponseBase, JsonResponse

# Of all answers this code alone also stops a client that has the model in its cache and asks for `main`.
REVISION, ENTRY, REPO = "RevisionNotFound", "EntryNotFound", "RepoNotFound"


class Refused(Exception):
    """Ends a request of a Hub client. `warn` prints the sentence in the client's terminal, too."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        warn: bool = True,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.warn = status, code, message, warn
        self.headers = headers or {}

    def answer(self) -> HttpResponse:
        answer = JsonResponse({"error": self.message}, status=self.status)
        if self.code:
            answer["X-Error-Code"] = self.code
        answer["X-Error-Message"] = one_line(self.message)
        if self.warn:
            answer["X-HF-Warning"] = f"registry; {one_line(self.message)}"
        for name, value in self.headers.items():
            answer[name] = value
        return guarded(answer)


def one_line(text: str) -> str:
    """A header's worth of a sentence: one line of ASCII, Vietnamese and other accents taken off, 1,000 characters at most."""
    plain = unicodedata.normalize("NFKD", text.replace("đ", "d").replace("Đ", "D").replace("…", "..."))
    line = "".join(c if c.isprintable() else " " for c in plain if not unicodedata.combining(c))
    return line.encode("ascii", "replace").decode()[:1000]


def notice(answer: HttpResponseBase, text: str) -> None:
    """Prints a sentence in the terminal of somebody who is served. Another topic than refusals: the first of each counts."""
    if text:
        answer["X-HF-Warning"] = f"registry-notice; {one_line(text)}"


Answer = TypeVar("Answer", bound=HttpResponseBase)


def guarded(answer: Answer) -> Answer:
    """Nothing that comes from here is ever a page of ours: no script, no cookie's reach, no guessed type."""
    answer["Content-Security-Policy"] = "default-src 'none'; sandbox"
    answer["X-Content-Type-Options"] = "nosniff"
    answer["X-Frame-Options"] = "DENY"
    return answer


def attachment(path: str) -> str:
    """The Content-Disposition of a repository path: saved under its last part, whatever characters that has."""
    return f"attachment; filename*=UTF-8''{quote(path.rsplit('/', 1)[-1], safe='')}"
