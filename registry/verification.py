"""The chain and what was signed of it outside, compared: the check behind the page's button.

Whoever does not trust this process runs `assay audit verify`, which shares no code with it and also compares the tables.
"""

from __future__ import annotations

from registry import audit, checkpoints
from registry.checkpoints import CHAINS, Note
from registry.words import gettext

# The page reads the newest part of each file; the command reads all.
NEWEST = 256 * 1024


def verify_chain(chain: str) -> audit.Verification:
    """`audit.verify`, and then every newest note of every place: nothing signed may be missing or otherwise now."""
    found = audit.verify(CHAINS[chain])
    if not found.ok:
        return found
    for place in checkpoints.places():
        file = checkpoints.file_of(place, chain)
        try:
            content = checkpoints.tail_of(file, NEWEST)
        except OSError:
            continue  # that a place is away is told by its state; nothing it could hold is known
        notes = [note for note in checkpoints.notes_in(content) if note.chain == chain]
        if problem := _problem(chain, notes, found.length):
            return audit.Verification(False, found.length, found.head, problem)
    return found


def _problem(chain: str, notes: list[Note], length: int) -> str:
    sizes = sorted({note.size for note in notes})
    if sizes and sizes[-1] > length:
        return gettext(
            "A signed checkpoint has seen %(seen)s events, and there are %(length)s: the end was cut "
            "off, or an older copy of the database was put in its place.",
            seen=sizes[-1],
            length=length,
        )
    roots: dict[int, str] = {}
    for start in range(0, len(sizes), 500):
        rows = CHAINS[chain].objects.filter(seq__in=sizes[start : start + 500]).values_list("seq", "hash")
        roots |= {seq: bytes(value).hex() for seq, value in rows}
    for note in sorted(notes, key=lambda n: n.size):
        if roots.get(note.size) != note.root:
            return gettext(
                "Event %(size)s or one before it was rewritten: a signed checkpoint knows it otherwise.",
                size=note.size,
            )
    return ""
