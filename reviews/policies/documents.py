"""A policy as YAML: read, checked line by line, and kept as written."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from registry.exceptions import InvalidInput
from registry.inspection.documents import BadDocument, read_yaml
from registry.stored_words import retold
from registry.words import gettext
from reviews.enums import Environment
from reviews.policies.facts import BY_NAME, SAMPLES
from reviews.policies.language import Expression, RuleError, compile_rule
from reviews.tiers import TIERS

MAX_BYTES = 32 * 1024
MAX_RULES = 50
EFFECTS = ("info", "warn", "fail")
EVIDENCE = ("", "review", "code", "benchmark", "evaluation")
TEXTS = {"key": 60, "title": 120, "message": 500, "missing": 500, "met": 500, "who": 200, "help": 1_000}
KEYS = {*TEXTS, "when", "require", "effect", "panel", "waivable", "environments", "tiers", "evidence"}
_KEY = re.compile(r"[a-z][a-z0-9_-]{1,59}")
_HOLE = re.compile(r"\{([a-z0-9_.]+)\}")
DEFAULT = Path(__file__).with_name("default.yaml")


@dataclass(frozen=True)
class Rule:
    key: str
    title: str
    require: Expression
    effect: str
    message: str
    when: Expression | None = None
    missing: str = ""
    met: str = ""
    who: str = ""
    help: str = ""
    evidence: str = ""
    panel: bool = False
    waivable: bool = True
    environments: frozenset[str] = frozenset()
    tiers: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Document:
    """A policy that was read: `key` names it within the team, `rules` in the order they were written."""

    key: str
    title: str
    rules: tuple[Rule, ...]
    source: str
    sha256: str


class PolicyError(InvalidInput):
    """Refused with the line (1-based) of the YAML, what is wrong and the cure; nothing was written."""

    code = "bad_policy"

    def __init__(self, sentence: str, cure: str, line: int = 1, column: int = 1) -> None:
        super().__init__(
            gettext("Line %(line)s: %(sentence)s %(cure)s", line=line, sentence=sentence, cure=cure),
            line=line,
            column=column,
            cure=cure,
            field="source",
        )


@lru_cache(maxsize=500)
def read_policy(source: str) -> Document:
    """Raises PolicyError."""
    if len(source.encode()) > MAX_BYTES:
        raise PolicyError(
            gettext("The policy is larger than %(limit)s KiB.", limit=MAX_BYTES // 1024),
            gettext("Split it into several policies."),
        )
    data, lines = _loaded(source), _Lines(source)
    unknown = set(data) - {"policy", "title", "rules"}
    if unknown:
        raise PolicyError(
            gettext("There is no field `%(name)s`.", name=min(unknown)[:40]),
            gettext("A policy has policy, title and rules."),
            lines.of(min(unknown)),
        )
    key, title = data.get("policy"), data.get("title")
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise PolicyError(
            gettext("`policy` is its name in small letters."),
            gettext("Write for example `policy: our-rules`."),
            lines.of("policy"),
        )
    if not isinstance(title, str) or not 0 < len(title.strip()) <= 120:
        raise PolicyError(
            gettext("`title` is missing or too long."),
            gettext("Say in a few words what it asks for."),
            lines.of("title"),
        )
    rows = data.get("rules")
    if not isinstance(rows, list) or not 0 < len(rows) <= MAX_RULES:
        raise PolicyError(
            gettext("`rules` is a list of 1 to %(limit)s rules.", limit=MAX_RULES),
            gettext("Start each with `- key:`."),
            lines.of("rules"),
        )
    rules = tuple(_rule(row, number, lines) for number, row in enumerate(rows))
    keys = [rule.key for rule in rules]
    for number, name in enumerate(keys):
        if name in keys[:number]:
            raise PolicyError(
                gettext("Two rules are called `%(name)s`.", name=name),
                gettext("Give one another key."),
                lines.of("rules", number, "key"),
            )
    return Document(key, title.strip(), rules, source, hashlib.sha256(source.encode()).hexdigest())


def default_policy() -> Document:
    """The minimum that Assay ships: in force for every team that has no version of its own in force."""
    return read_policy(DEFAULT.read_text(encoding="utf-8"))


def _loaded(source: str) -> dict[str, Any]:
    if "\x00" in source:
        raise PolicyError(gettext("The text holds a NUL character."), gettext("Remove it."))
    try:
        return read_yaml("policy.yaml", source)
    except BadDocument as error:
        line, column, words = _where(source)
        sentence = words or error.message.replace("The YAML header of policy.yaml", "The policy")
        raise PolicyError(
            sentence.rstrip(".") + ".", gettext("Correct the YAML there."), line, column
        ) from None


def _where(source: str) -> tuple[int, int, str]:
    try:
        yaml.compose(source, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        return (
            (mark.line + 1, mark.column + 1, gettext("This is not YAML: %(problem)s", problem=error.problem))
            if mark
            else (1, 1, "")
        )
    except (yaml.YAMLError, RecursionError):
        pass
    return 1, 1, ""


class _Lines:
    """Where each value was written: ("rules", 0, "require") -> its first line."""

    def __init__(self, source: str) -> None:
        self.places: dict[tuple[Any, ...], tuple[int, int]] = {}
        node = yaml.compose(source, Loader=yaml.SafeLoader)
        if node is not None:
            self._walk(node, ())

    def _walk(self, node: yaml.Node, path: tuple[Any, ...]) -> None:
        block = isinstance(node, yaml.ScalarNode) and node.style in ("|", ">")
        quoted = isinstance(node, yaml.ScalarNode) and node.style in ("'", '"')
        self.places[path] = (
            node.start_mark.line + 1 + block,
            1 if block else node.start_mark.column + 1 + quoted,
        )
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                self._walk(value, (*path, str(key.value)))
        elif isinstance(node, yaml.SequenceNode):
            for number, value in enumerate(node.value):
                self._walk(value, (*path, number))

    def at(self, *path: Any) -> tuple[int, int]:
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, (1, 1))

    def of(self, *path: Any) -> int:
        return self.at(*path)[0]


def _rule(row: Any, number: int, lines: _Lines) -> Rule:
    place = ("rules", number)
    if not isinstance(row, dict):
        raise PolicyError(
            gettext("A rule is a list of `key: value` lines."),
            gettext("Start with `- key:`."),
            lines.of(*place),
        )
    unknown = sorted(str(key) for key in set(row) - KEYS)
    if unknown:
        raise PolicyError(
            gettext("A rule has no field `%(name)s`.", name=unknown[0][:40]),
            gettext("It has: %(keys)s.", keys=", ".join(sorted(KEYS))),
            lines.of(*place, unknown[0]),
        )
    texts = {name: _text(row, name, limit, lines, place) for name, limit in TEXTS.items()}
    if not _KEY.fullmatch(texts["key"]):
        raise PolicyError(
            gettext("`key` is missing or not in small letters."),
            gettext("Write for example `key: no_pickle`."),
            lines.of(*place, "key"),
        )
    for name in ("title", "message"):
        if not texts[name]:
            raise PolicyError(
                gettext("The rule `%(rule)s` has no %(name)s.", rule=texts["key"], name=name),
                gettext("People read it; write a sentence."),
                lines.of(*place),
            )
    effect = row.get("effect", "fail")
    if effect not in EFFECTS:
        raise PolicyError(
            gettext("`effect` is info, warn or fail."), gettext("Choose one."), lines.of(*place, "effect")
        )
    if row.get("evidence", "") not in EVIDENCE:
        raise PolicyError(
            gettext("`evidence` is review, code, benchmark or evaluation."),
            gettext("Choose one, or leave it out."),
            lines.of(*place, "evidence"),
        )
    for name in ("panel", "waivable"):
        if not isinstance(row.get(name, True), bool):
            raise PolicyError(
                gettext("`%(name)s` is true or false.", name=name),
                gettext("Write one of them."),
                lines.of(*place, name),
            )
    return Rule(
        require=_expression(row, "require", lines, place),
        when=_expression(row, "when", lines, place) if row.get("when") not in (None, "") else None,
        effect=effect,
        evidence=row.get("evidence", ""),
        panel=row.get("panel", False),
        waivable=row.get("waivable", True),
        environments=_choices(row, "environments", tuple(Environment.values), lines, place),
        tiers=_choices(row, "tiers", TIERS, lines, place),
        **texts,
    )


def _text(row: dict[str, Any], name: str, limit: int, lines: _Lines, place: tuple[Any, ...]) -> str:
    value = row.get(name, "")
    if not isinstance(value, str) or len(value) > limit:
        raise PolicyError(
            gettext("`%(name)s` is a text of at most %(limit)s characters.", name=name, limit=limit),
            gettext("Put it in quotes, or shorten it."),
            lines.of(*place, name),
        )
    for hole in _HOLE.findall(value):
        if hole not in BY_NAME:
            raise PolicyError(
                gettext("There is no fact `%(name)s` to fill in.", name=hole[:60]),
                gettext("Use a name of the list of facts."),
                lines.of(*place, name),
            )
    return value.strip()


def _choices(
    row: dict[str, Any], name: str, among: tuple[str, ...], lines: _Lines, place: tuple[Any, ...]
) -> frozenset[str]:
    value = row.get(name, [])
    if not isinstance(value, list) or not all(item in among for item in value):
        raise PolicyError(
            gettext("`%(name)s` is a list of: %(known)s.", name=name, known=", ".join(among)),
            gettext("Write for example `%(name)s: [%(known)s]`.", name=name, known=among[-1]),
            lines.of(*place, name),
        )
    return frozenset(value)


def _expression(row: dict[str, Any], name: str, lines: _Lines, place: tuple[Any, ...]) -> Expression:
    value = row.get(name)
    line, column = lines.at(*place, name)
    if isinstance(value, bool):
        value = "true" if value else "false"
    if not isinstance(value, str):
        raise PolicyError(
            gettext("`%(name)s` is an expression over facts.", name=name),
            gettext("Write for example `require: findings.fail == 0`."),
            line,
        )
    try:
        return compile_rule(value, SAMPLES)
    except RuleError as error:
        at = error.column + (column - 1 if error.line == 1 else 0)
        raise PolicyError(
            gettext("`%(name)s`: %(problem)s", name=name, problem=error.sentence),
            error.cure,
            line + error.line - 1,
            at,
        ) from None


def _shown(found: Any) -> str:
    """A fact in a sentence: kept words in the reader's language, and a state (`not_applicable`) as words."""
    if isinstance(found, str) and re.fullmatch(r"[a-z]+(_[a-z]+)*", found):
        return gettext(found.replace("_", " "))
    return retold(found) if isinstance(found, str) else str(found)


def filled(text: str, facts: dict[str, Any]) -> str:
    """The sentence with the facts in it; what is not known reads “not known”."""

    def value(match: re.Match[str]) -> str:
        found = facts.get(match[1])
        if match[1] == "revision.sha" and found:
            return str(found)[:7]
        return (
            gettext("not known")
            if found is None
            else f"{found:.3f}"
            if isinstance(found, float)
            else _shown(found)
        )

    # A fact that ends with a full stop, at the end of a sentence: one is enough. Three are meant.
    return re.sub(r"(?<!\.)\.\.(?!\.)", ".", _HOLE.sub(value, text))
