"""What an inspector says: typed findings and typed facts."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    INFO = "info"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """`path` is the file, `message` what was seen, `advice` what to do about it."""

    severity: Severity
    path: str
    message: str
    advice: str = ""

    def as_dict(self) -> dict[str, str]:
        return {key: str(value) for key, value in asdict(self).items()}


@dataclass
class Inspection:
    """The facts of one inspector and its findings."""

    facts: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def warn(self, path: str, message: str, advice: str = "") -> None:
        self.findings.append(Finding(Severity.WARN, path, message, advice))

    def info(self, path: str, message: str, advice: str = "") -> None:
        self.findings.append(Finding(Severity.INFO, path, message, advice))

    def fail(self, path: str, message: str, advice: str = "") -> None:
        self.findings.append(Finding(Severity.FAIL, path, message, advice))
