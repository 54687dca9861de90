"""Checkpoints in files: signed notes, one after the other. A note is text, an empty line, and signatures of the text."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.findings import CannotCheck, Finding

SIGNATURE = "\u2014 "
MAX_BYTES = 1 << 30


@dataclass(frozen=True)
class Note:
    """`size` events of the chain ended in `root`, says the signed note at `line` of `file`."""

    chain: str
    size: int
    root: bytes
    file: str
    line: int


def read(paths: list[Path], key: Any | None) -> tuple[list[Note], list[Finding], int]:
    """(good notes, findings, number of files). Without a key nothing is refused for its signature.

    Raises CannotCheck for a path that cannot be read: what it would have said is not known.
    """
    notes: list[Note] = []
    findings: list[Finding] = []
    files = [file for path in paths for file in _files(path)]
    for file in files:
        try:
            if file.stat().st_size > MAX_BYTES:
                raise CannotCheck(f"{file} is larger than {MAX_BYTES >> 30} GiB; that is no checkpoint file.")
            content = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CannotCheck(f"{file} cannot be read: {error}.") from error
        for line, text in _blocks(content):
            note = _note(text, str(file), line)
            if note is None or (key is not None and not _signed(text, key)):
                sentence = "This is no checkpoint that the given key has signed."
                findings.append(Finding("checkpoint-invalid", sentence, str(file), line))
            else:
                notes.append(note)
    return notes, findings, len(files)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(path.glob("*.checkpoints"))
        if not found:
            raise CannotCheck(f"{path} holds no *.checkpoints file.")
        return found
    return [path]


def _blocks(content: str) -> Iterator[tuple[int, str]]:
    """(number of its first line, text) of each note; what stands after the last signature is one, too."""
    block: list[str] = []
    start, number = 1, 0
    for number, line in enumerate(content.split("\n"), 1):
        block.append(line)
        if line.startswith(SIGNATURE):
            yield start, "\n".join(block) + "\n"
            block, start = [], number + 1
    if any(line.strip() for line in block):
        yield start, "\n".join(block)


def _note(text: str, file: str, line: int) -> Note | None:
    lines = text.split("\n")
    try:
        origin, size, root = lines[0], int(lines[1]), base64.b64decode(lines[2], validate=True)
    except (IndexError, ValueError):
        return None
    if len(root) != 32 or size < 1 or lines[3:4] != [""]:
        return None
    return Note(origin.rpartition("/")[2], size, root, file, line)


def _signed(text: str, key: Any) -> bool:
    from cryptography.exceptions import InvalidSignature

    signed, _, signatures = text.partition("\n\n")
    for line in signatures.splitlines():
        name, _, value = line.removeprefix(SIGNATURE).rpartition(" ")
        hint = hashlib.sha256(f"{name}\n".encode() + b"\x01" + key.public_bytes_raw()).digest()[:4]
        try:
            blob = base64.b64decode(value, validate=True)
            if line.startswith(SIGNATURE) and blob[:4] == hint:
                key.verify(blob[4:], f"{signed}\n".encode())
                return True
        except (InvalidSignature, binascii.Error, ValueError):
            continue
    return False
