"""Signed checkpoints of the audit chains: what a chain cannot say of itself, that its end is still there.

After each approval, every 1,000 events, and each minute with traffic, the size and the last hash of a chain are signed and
appended to files outside the database: the data folder's own, and those of ASSAY_WITNESSES. Whoever rewrites the database
must rewrite all of them, with the key. Form and check: docs/audit.md.
"""

from __future__ import annotations

import base64
import fcntl
import logging
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import transaction

from registry import signing
from registry.exceptions import NotConfigured
from registry.models import AccessEvent, Approval, AuditCheckpoint, AuditEvent
from registry.words import gettext

logger = logging.getLogger(__name__)

EVERY = 1000
AT_ONCE = frozenset({"approval.granted"})
CHAINS: dict[str, type[AuditEvent] | type[AccessEvent]] = {
    "auditevent": AuditEvent,
    "accessevent": AccessEvent,
}
SIGNATURE = "\u2014 "
_TAIL = 16 * 1024


@dataclass(frozen=True)
class Note:
    """A checkpoint as read from a file: `chain` is the last part of its origin."""

    chain: str
    size: int
    root: str
    text: str


@dataclass(frozen=True)
class Witness:
    """How far one place outside has come; `problem` says why it has not."""

    name: str
    size: int
    problem: str = ""


@dataclass(frozen=True)
class ChainState:
    chain: str
    length: int
    last: AuditCheckpoint | None
    witnesses: list[Witness]
    problem: str = ""


def after(table: type[AuditEvent] | type[AccessEvent], seq: int, verb: str) -> None:
    """Called with each event: asks for a checkpoint once its transaction has been committed, when one is due."""
    if verb in AT_ONCE or seq % EVERY == 0:
        chain = str(table._meta.model_name)
        transaction.on_commit(partial(write_or_say, chain), robust=True)


def write_or_say(chain: str) -> int:
    """`write`, for callers that must go on: an approval stands even while a witness is away. Beat tries again."""
    try:
        return write(chain)
    except (NotConfigured, OSError) as error:
        logger.warning("no checkpoint of %s: %s", chain, error)
        return 0


def write_all() -> dict[str, int]:
    return {chain: write_or_say(chain) for chain in CHAINS}


def write(chain: str) -> int:
    """Signs the chain's end if it has grown, and brings every place outside up to date. Returns the size signed last.

    Raises NotConfigured when there is no key, OSError when the data folder cannot be written.
    """
    head = CHAINS[chain].objects.order_by("-seq").values_list("seq", "hash").first()
    if head is None:
        return 0
    seq, root = int(head[0]), bytes(head[1])
    if not AuditCheckpoint.objects.filter(chain=chain, size__gte=seq).exists():
        note = signing.sign_note(_name(), _text(chain, seq, root))
        with transaction.atomic():
            AuditCheckpoint.objects.get_or_create(
                chain=chain, size=seq, defaults={"root": root.hex(), "note": note}
            )
    for place in places():
        try:
            _bring_up_to_date(place, chain)
        except OSError:
            if place == places()[0]:
                raise
            logger.warning("the witness %s cannot be written", place, exc_info=True)
    return seq


def _name() -> str:
    return urlsplit(settings.PUBLIC_URL).netloc or "assay"


def _text(chain: str, size: int, root: bytes) -> str:
    return f"{_name()}/{chain}\n{size}\n{base64.b64encode(root).decode('ascii')}\n"


def places() -> list[Path]:
    """Our own folder first, then the witnesses."""
    return [Path(settings.DATA_DIR) / "checkpoints", *settings.WITNESSES]


def file_of(place: Path, chain: str) -> Path:
    """A path with a suffix is one file for both chains; any other is a folder with a file for each."""
    return place if place.suffix and not place.is_dir() else place / f"{chain}.checkpoints"


def _bring_up_to_date(place: Path, chain: str) -> None:
    """Appends the notes that the place lacks. Two writers queue at the file's lock, and the second finds nothing to do."""
    file = file_of(place, chain)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+b") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        seen = _last_size(file, chain)
        notes = AuditCheckpoint.objects.filter(chain=chain, size__gt=seen).order_by("size")
        missing = "".join(notes.values_list("note", flat=True))
        if not missing:
            return
        opened.write(missing.encode("utf-8"))
        opened.flush()
    if (place / ".git").exists():
        _commit(place, file)


def _commit(folder: Path, file: Path) -> None:
    """A repository keeps what was there before, too. Raises OSError when git fails."""
    who = ["-c", "user.name=Assay", "-c", "user.email=assay@localhost"]
    for command in (["add", "--", file.name], ["commit", "--quiet", "-m", f"Checkpoint of {file.stem}"]):
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *who, *command], capture_output=True, timeout=20, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise OSError(f"git in {folder} did not end in time") from error
        if done.returncode:
            raise OSError(f"git in {folder}: {done.stderr.decode(errors='replace')[-300:]}")


def notes_in(content: str) -> Iterator[Note]:
    """The notes of a file's text, in its order. What is no note (a torn first line) is passed over."""
    block: list[str] = []
    for line in content.splitlines(keepends=True):
        block.append(line)
        if line.startswith(SIGNATURE):
            if note := _note("".join(block)):
                yield note
            block = []


def _note(text: str) -> Note | None:
    lines = text.split("\n")
    try:
        origin, size, root = lines[0], int(lines[1]), base64.b64decode(lines[2], validate=True).hex()
    except (IndexError, ValueError):
        return None
    return Note(origin.rpartition("/")[2], size, root, text)


def tail_of(file: Path, size: int = _TAIL) -> str:
    with file.open("rb") as opened:
        opened.seek(0, 2)
        opened.seek(max(0, opened.tell() - size))
        return opened.read().decode("utf-8", errors="replace")


def _last_size(file: Path, chain: str) -> int:
    """What the place has seen of this chain; the whole file is read only when its end speaks of the other one."""
    for size in (_TAIL, 1 << 40):
        sizes = [note.size for note in notes_in(tail_of(file, size)) if note.chain == chain]
        if sizes:
            return max(sizes)
    return 0


def state_of(chain: str) -> ChainState:
    """For people: how long the chain is, what was signed last, and how far each place outside has come."""
    length = CHAINS[chain].objects.order_by("-seq").values_list("seq", flat=True).first() or 0
    last = AuditCheckpoint.objects.filter(chain=chain).order_by("-size").first()
    problem = ""
    try:
        signing.key_id()
    except NotConfigured as error:
        problem = error.message
    return ChainState(chain, length, last, [_witness(place, chain, length) for place in places()], problem)


def _witness(place: Path, chain: str, length: int) -> Witness:
    file = file_of(place, chain)
    name = gettext("this installation") if place == places()[0] else place.name
    try:
        size = _last_size(file, chain)
    except FileNotFoundError:
        return Witness(name, 0, "" if length == 0 else gettext("has no checkpoint yet"))
    except OSError as error:
        return Witness(name, 0, gettext("cannot be read: %(problem)s", problem=error.strerror or error))
    if size > length:
        return Witness(
            name,
            size,
            gettext("has seen %(size)s events, and the database holds %(length)s", size=size, length=length),
        )
    return Witness(name, size)


def receipt_of(approval: Approval) -> dict[str, Any] | None:
    """Where the approval stands in the chain, and the first checkpoint that covers it: who keeps it is a witness."""
    event = (
        AuditEvent.objects.filter(object_type="approval", object_id=approval.pk, verb__in=sorted(AT_ONCE))
        .order_by("seq")
        .first()
    )
    if event is None:
        return None
    covering = AuditCheckpoint.objects.filter(chain="auditevent", size__gte=event.seq).order_by("size")
    note = covering.values_list("note", flat=True).first()
    return {"seq": event.seq, "hash": bytes(event.hash).hex(), "checkpoint": note}
