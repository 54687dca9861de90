"""Edges from this repository to others: what a loader would fetch besides the files that were reviewed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

# What a loader fetches by itself when it meets the edge. The other roles are lineage: recorded, not followed.
FOLLOWED = {"code", "adapter_base", "tokenizer", "kernel", "generation_code", "backbone", "part"}
REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_NOT_REPOSITORIES = re.compile(
    r"(image|text|audio|video|application)/.+|.+\.(json|txt|py|bin|safetensors|model|onnx|pt|md|yaml|yml|jinja)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Reference:
    """`role` says what for; `path` and `key` where it stands; `revision` is what is asked for, "" for none."""

    role: str
    repo: str
    revision: str
    path: str
    key: str

    @property
    def followed(self) -> bool:
        return self.role in FOLLOWED

    def as_dict(self) -> dict[str, Any]:
        return {
            "role": self.role,
            "repo": self.repo,
            "requested_revision": self.revision,
            "path": self.path,
            "key": self.key,
            "followed": self.followed,
        }


def is_repository(value: Any) -> bool:
    """Whether a value could be `org/name` on the Hub."""
    return (
        isinstance(value, str)
        and bool(REPOSITORY.fullmatch(value))
        and ".." not in value
        and not _NOT_REPOSITORIES.fullmatch(value)
    )
