"""What an inspector says: typed findings and typed facts."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    INFO = "info"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """`path` is the file, `line` (1-based) or `key` the place in it, `message` what was seen, `advice` what to do about it."""

    severity: Severity
    path: str
    message: str
    advice: str = ""
    line: int | None = None
    key: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON; `line` and `key` only where there is one."""
        return {
            "severity": str(self.severity),
            "path": self.path,
            "message": clean(self.message),
            "advice": clean(self.advice),
            **({"line": self.line} if self.line is not None else {}),
            **({"key": clean(self.key)} if self.key else {}),
        }


def clean(text: str) -> str:
    """A text out of a stranger's file, as a database and a page can take it: no NUL, no lone surrogate."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


@dataclass
class Inspection:
    """The facts of one inspector and its findings."""

    facts: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def warn(
        self, path: str, message: str, advice: str = "", *, line: int | None = None, key: str = ""
    ) -> None:
        self.findings.append(Finding(Severity.WARN, path, message, advice, line, key))

    def info(
        self, path: str, message: str, advice: str = "", *, line: int | None = None, key: str = ""
    ) -> None:
        self.findings.append(Finding(Severity.INFO, path, message, advice, line, key))

    def fail(
        self, path: str, message: str, advice: str = "", *, line: int | None = None, key: str = ""
    ) -> None:
        self.findings.append(Finding(Severity.FAIL, path, message, advice, line, key))
