"""What is done to a text before the tokenizer: a named step with a version, declared by the revision itself.

The file `preprocessing.json` in the repository ({"step": "nfc", "version": 1}) is one of the revision's pinned
files, so training, evaluation and serving do the same or refuse. A step not listed here is refused.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from inference.engine.errors import ModelLoadError

FILE = "preprocessing.json"
WORDS_FILE = "preprocessing.words.txt"
_LONGEST_WORD = 6

Change = Callable[[str], str]


@dataclass(frozen=True)
class Step:
    """`keeps_offsets`: whether the n-th character stays the n-th, which character offsets depend on."""

    name: str
    version: int
    apply: Change
    keeps_offsets: bool

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


def read_step(snapshot: Path) -> Step:
    """The step that the revision declares; `none@1` when it declares none. Raises ModelLoadError
    (bad_preprocessing)."""
    path = snapshot / FILE
    if not path.is_file():
        return _STEPS["none", 1](snapshot)
    try:
        declared = json.loads(path.read_text(encoding="utf-8"))
        make = _STEPS[declared["step"], declared["version"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        known = ", ".join(f"{name}@{version}" for name, version in _STEPS)
        raise ModelLoadError(
            f"{FILE} of the snapshot names no step that this engine has (one of: {known}).",
            code="bad_preprocessing",
        ) from None
    return make(snapshot)


def _none(_: Path) -> Step:
    return Step("none", 1, lambda text: text, keeps_offsets=True)


def _nfc(_: Path) -> Step:
    """Composed characters: `a` + breve + acute becomes one letter, as Vietnamese vocabularies have it."""
    return Step("nfc", 1, lambda text: unicodedata.normalize("NFC", text), keeps_offsets=False)


def _words(snapshot: Path) -> Step:
    """Vietnamese words of several syllables joined by underscores, longest match first, from the word list
    that the revision brings (one word a line, syllables separated by spaces). PhoBERT was trained on such
    text."""
    path = snapshot / WORDS_FILE
    try:
        lines = path.read_text(encoding="utf-8").lower().splitlines()
    except (OSError, UnicodeDecodeError):
        raise ModelLoadError(
            f"The step words needs {WORDS_FILE} in UTF-8.", code="bad_preprocessing"
        ) from None
    known = {tuple(unicodedata.normalize("NFC", line).split()) for line in lines}
    return Step("words", 1, lambda text: join_words(text, known), keeps_offsets=False)


def join_words(text: str, known: set[tuple[str, ...]]) -> str:
    """The text with underscores inside the known words; white space becomes one blank."""
    syllables = unicodedata.normalize("NFC", text).split()
    lower = [syllable.lower() for syllable in syllables]
    out: list[str] = []
    i = 0
    while i < len(syllables):
        size = next(
            (
                n
                for n in range(min(_LONGEST_WORD, len(syllables) - i), 1, -1)
                if tuple(lower[i : i + n]) in known
            ),
            1,
        )
        out.append("_".join(syllables[i : i + size]))
        i += size
    return " ".join(out)


_STEPS: dict[tuple[str, int], Callable[[Path], Step]] = {
    ("none", 1): _none,
    ("nfc", 1): _nfc,
    ("words", 1): _words,
}

# Steps that need nothing of the snapshot, by their names.
TRAVELLING: dict[str, Step] = {str(step): step for step in (_none(Path()), _nfc(Path()))}
