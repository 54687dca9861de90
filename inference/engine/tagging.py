"""Token scores to entities, as the token classification pipeline of transformers groups them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.engine.backend import Encoding, Piece
from inference.engine.tasks import Aggregation, Tag
from inference.engine.types import Entities, Entity

Join = Callable[[Sequence[str]], str]


@dataclass(frozen=True)
class _Marked:
    """A token or a word with its label."""

    label: str
    confidence: float
    word: str
    start: int
    end: int


def find_entities(
    scores: NDArray[np.float64], encoding: Encoding, labels: Sequence[str], asked: Tag, join: Join
) -> Entities:
    """The entities of one text. `scores` has a row for each token, special ones included."""
    marked = _mark(scores, encoding.pieces, labels, asked.aggregation, join)
    found = marked if asked.aggregation == "none" else [_merge(group, join) for group in _group(marked)]
    entities = tuple(
        Entity(e.label, round(e.confidence, 6), e.word, e.start, e.end)
        for e in found
        if e.label not in asked.ignore_labels
    )
    return Entities(entities, len(encoding), encoding.truncated)


def _mark(
    scores: NDArray[np.float64],
    pieces: Sequence[Piece],
    labels: Sequence[str],
    aggregation: Aggregation,
    join: Join,
) -> list[_Marked]:
    if aggregation in ("none", "simple"):
        return [_choose(scores[p.index], labels, p.word, p.start, p.end) for p in pieces]
    words: list[list[Piece]] = []
    for piece in pieces:
        if words and piece.subword:
            words[-1].append(piece)
        else:
            words.append([piece])
    return [
        _choose(
            _word_scores(scores[[p.index for p in word]], aggregation),
            labels,
            join([p.word for p in word]),
            word[0].start,
            word[-1].end,
        )
        for word in words
    ]


def _word_scores(rows: NDArray[np.float64], aggregation: Aggregation) -> NDArray[np.float64]:
    if aggregation == "first":
        chosen = rows[0]
    elif aggregation == "max":
        chosen = rows[int(rows.max(axis=1).argmax())]
    else:
        chosen = rows.mean(axis=0)
    return np.asarray(chosen)


def _choose(row: NDArray[np.float64], labels: Sequence[str], word: str, start: int, end: int) -> _Marked:
    best = int(row.argmax())
    return _Marked(labels[best], float(row[best]), word, start, end)


def _group(marked: Sequence[_Marked]) -> list[list[_Marked]]:
    """Neighbours of one tag belong together, unless the later one begins anew (B-)."""
    groups: list[list[_Marked]] = []
    for item in marked:
        begins, tag = _tag(item.label)
        if groups and not begins and tag == _tag(groups[-1][-1].label)[1]:
            groups[-1].append(item)
        else:
            groups.append([item])
    return groups


def _merge(group: Sequence[_Marked], join: Join) -> _Marked:
    return _Marked(
        label=group[0].label.split("-", 1)[-1],
        confidence=float(np.mean([item.confidence for item in group])),
        word=join([item.word for item in group]),
        start=group[0].start,
        end=group[-1].end,
    )


def _tag(label: str) -> tuple[bool, str]:
    """Whether the label begins an entity, and its tag. Without B- or I- it continues."""
    return label.startswith("B-"), label[2:] if label[:2] in ("B-", "I-") else label
