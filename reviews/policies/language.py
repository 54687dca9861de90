"""The rules' language: CEL by celpy, cut down to what cannot run away.

A rule is read before it is kept: its length, its depth, each name and each function. Comprehensions walk one fact's list and
do not nest, `*` and `%` do not exist (Python would multiply a text a billion times), and an evaluation counts its steps and
looks at the clock.
"""

from __future__ import annotations

import difflib
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import celpy
import lark
from celpy.evaluation import CELEvalError, Evaluator

from registry.exceptions import InvalidInput
from registry.words import gettext

MAX_CHARACTERS = 1_000
MAX_BRACKETS = 8
MAX_DEPTH = 120  # levels of the syntax tree; the evaluation takes four Python frames for each
MAX_STEPS = 50_000
MAX_SECONDS = 2.0  # a second bound besides the steps: what one step costs is the library's secret
MACROS = frozenset({"all", "exists", "exists_one", "filter", "map"})
METHODS = frozenset({"contains", "startsWith", "endsWith", "size"})
FUNCTIONS = frozenset({"size", "string", "int", "double"})
FORBIDDEN = {"multiplication_mul": "*", "multiplication_mod": "%"}


class RuleError(InvalidInput):
    """A rule that is not kept: where (1-based, in the expression), what is wrong, and the cure."""

    code = "bad_rule"

    def __init__(self, sentence: str, cure: str, line: int = 1, column: int = 1) -> None:
        super().__init__(f"{sentence} {cure}", line=line, column=column, cure=cure)
        self.sentence, self.cure, self.line, self.column = sentence, cure, line, column


class TooExpensive(Exception):
    """An evaluation took more steps, or more time, than any honest rule."""


@dataclass(frozen=True)
class Expression:
    """`reads` are the facts that must be known; those behind `has(...)` may be missing."""

    source: str
    tree: lark.Tree[Any]
    reads: frozenset[str]
    asked: frozenset[str]


class _Counting(Evaluator):  # type: ignore[misc]
    """celpy's evaluator, with a number of steps and an end that it shares with those of its comprehensions."""

    steps: list[int]
    until: float

    def sub_evaluator(self, ast: lark.Tree[Any]) -> Evaluator:
        inner = _Counting(ast, activation=self.activation)
        inner.steps, inner.until = self.steps, self.until
        return inner

    def _visit_tree(self, tree: lark.Tree[Any]) -> Any:
        self.steps[0] += 1
        if self.steps[0] > MAX_STEPS or time.monotonic() > self.until:
            raise TooExpensive
        return super()._visit_tree(tree)


_environment = celpy.Environment()


def compile_rule(source: str, known: Mapping[str, Any]) -> Expression:
    """Reads an expression over the facts `known` (name -> a sample value). Raises RuleError."""
    return _compiled(source, _Known(known))


class _Known(dict[str, Any]):
    """A catalogue as a key of the cache: by identity of its names."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self))


@lru_cache(maxsize=2_000)
def _compiled(source: str, known: _Known) -> Expression:
    _check_size(source)
    try:
        tree = cast("lark.Tree[Any]", _environment.compile(source))
    except celpy.CELParseError as error:
        raise RuleError(
            gettext("The expression cannot be read here."), gettext("Look for a missing operator, quote or bracket."),
            error.line or 1, error.column or 1,
        ) from None  # fmt: skip
    if _depth(tree) > MAX_DEPTH:
        raise RuleError(
            gettext("The expression is nested too deeply."), gettext("Split it into several rules.")
        )
    expression = _named(source, tree, known)
    _try_out(expression, known)
    return expression


def _check_size(source: str) -> None:
    if not source.strip():
        raise RuleError(
            gettext("The expression is empty."), gettext("Write a condition over facts, or `true`.")
        )
    if len(source) > MAX_CHARACTERS:
        raise RuleError(
            gettext(
                "The expression has %(n)s characters; at most %(limit)s are read.",
                n=len(source),
                limit=MAX_CHARACTERS,
            ),
            gettext("Split it into several rules."),
        )
    level = 0
    for number, character in enumerate(re.sub(r"\"[^\"\n]*\"|'[^'\n]*'", lambda m: "_" * len(m[0]), source)):
        level += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(character, 0)
        if level > MAX_BRACKETS:
            line = source.count("\n", 0, number) + 1
            raise RuleError(
                gettext("Brackets are nested deeper than %(limit)s.", limit=MAX_BRACKETS),
                gettext("Split it into several rules."), line,
                number - source.rfind("\n", 0, number),
            )  # fmt: skip


def _depth(tree: lark.Tree[Any]) -> int:
    deepest, stack = 0, [(tree, 1)]
    while stack:
        node, level = stack.pop()
        deepest = max(deepest, level)
        stack += [(child, level + 1) for child in node.children if isinstance(child, lark.Tree)]
    return deepest


def _bare(node: Any) -> Any:
    """Without the wrappers that the grammar puts around one child."""
    wrappers = ("expr", "conditionalor", "conditionaland", "relation", "addition", "multiplication", "unary",
                "member", "primary")  # fmt: skip
    while isinstance(node, lark.Tree) and node.data in wrappers and len(node.children) == 1:
        node = node.children[0]
    return node


def _path(node: Any) -> str:
    """`a.b.c` when the node spells that, else nothing."""
    node = _bare(node)
    if not isinstance(node, lark.Tree):
        return ""
    if node.data == "ident":
        return str(node.children[0])
    if node.data == "member_dot":
        before = _path(node.children[0])
        return f"{before}.{node.children[1]}" if before else ""
    return ""


def _token(node: Any) -> lark.Token:
    found: lark.Token = next(node.scan_values(lambda value: isinstance(value, lark.Token)))
    return found


def _named(source: str, tree: lark.Tree[Any], known: Mapping[str, Any]) -> Expression:
    asked, reads = set[str](), set[str]()
    for path, place, how in _uses(tree, frozenset()):
        if how == "fact" or how == "has":
            if path not in known:
                close = difflib.get_close_matches(path, known, n=1, cutoff=0.5)
                cure = (
                    gettext("Did you mean `%(name)s`?", name=close[0])
                    if close
                    else gettext("The facts beside the editor are all there are.")
                )
                raise RuleError(
                    gettext("There is no fact `%(name)s`.", name=path[:60]),
                    cure,
                    place.line or 1,
                    place.column or 1,
                )
            (asked if how == "has" else reads).add(path)
        else:
            raise RuleError(how, path, place.line or 1, place.column or 1)
    return Expression(source, tree, frozenset(reads - asked), frozenset(asked))


Use = tuple[str, lark.Token, str]  # (path, where, "fact" | "has"), or (cure, where, sentence)


def _uses(node: Any, bound: frozenset[str]) -> Iterator[Use]:
    """Every fact that is used, and everything that is not allowed."""
    if not isinstance(node, lark.Tree):
        return
    if node.data in FORBIDDEN:
        yield (
            gettext("Compare with `+`, `-`, `/`, or say the bound itself."),
            _token(node),
            (gettext("The operator `%(name)s` does not exist here.", name=FORBIDDEN[node.data])),
        )
        return
    path = _path(node)
    if path:
        if path.split(".")[0] not in bound:
            yield path, _token(node), "fact"
        return
    if node.data in ("ident_arg", "dot_ident_arg"):
        yield from _call(node, bound)
    elif node.data == "member_dot_arg":
        yield from _method(node, bound)
    elif node.data in ("member_object", "dot_ident"):
        yield (
            gettext("Write a condition over facts."),
            _token(node),
            gettext("Objects cannot be made in a rule."),
        )
    else:
        for child in node.children:
            yield from _uses(child, bound)


def _call(node: lark.Tree[Any], bound: frozenset[str]) -> Iterator[Use]:
    name, arguments = str(node.children[0]), node.children[1:]
    if name == "has":
        path = _path(arguments[0].children[0]) if arguments else ""
        if path.split(".")[0] not in bound:
            yield path, _token(node), "has"
        return
    if name not in FUNCTIONS:
        yield (
            gettext("There are: %(known)s.", known=", ".join(sorted(FUNCTIONS | {"has"}))),
            _token(node),
            gettext("There is no function `%(name)s`.", name=name[:40]),
        )
        return
    for child in arguments:
        yield from _uses(child, bound)


def _method(node: lark.Tree[Any], bound: frozenset[str]) -> Iterator[Use]:
    receiver: Any = node.children[0]
    name: Any = node.children[1]
    arguments = node.children[2].children if len(node.children) > 2 else []
    if str(name) not in MACROS | METHODS:
        yield (
            gettext("There are: %(known)s.", known=", ".join(sorted(MACROS | METHODS))),
            name,
            gettext("There is no function `%(name)s`.", name=str(name)[:40]),
        )
        return
    yield from _uses(receiver, bound)
    if str(name) in METHODS:
        for child in arguments:
            yield from _uses(child, bound)
        return
    variable = _path(arguments[0]) if len(arguments) == 2 else ""
    if not variable or "." in variable:
        yield (
            gettext("Write `list.%(name)s(x, condition)`.", name=name),
            name,
            gettext("`%(name)s` needs a name and a condition.", name=name),
        )
    elif bound:
        yield (
            gettext("Split it into two rules."),
            name,
            gettext("One walk over a list inside another is not allowed."),
        )
    elif not _path(receiver) and not _is_list(receiver):
        yield (
            gettext("Name the fact itself."),
            name,
            gettext("Only a fact's list or a written list can be walked."),
        )
    else:
        yield from _uses(arguments[1], bound | {variable})


def _is_list(node: Any) -> bool:
    found = _bare(node)
    return isinstance(found, lark.Tree) and found.data == "list_lit"


def _try_out(expression: Expression, known: Mapping[str, Any]) -> None:
    """Types are seen by running it once on sample values: what compares a text with a number is refused here."""
    try:
        value = _run(expression, nested(known))
    except TooExpensive:
        raise RuleError(
            gettext("The expression takes too many steps."), gettext("Split it into several rules.")
        ) from None
    except CELEvalError as error:
        why = str(error.args[0] if error.args else "")
        why = gettext("two sides of different kinds") if "overload" in why else why[:120]
        raise RuleError(
            gettext("The types do not fit: %(why)s.", why=why),
            gettext("Compare a text with a text, a whole number with a whole number (1), a decimal with a " "decimal (1.0)."),
            error.line or 1, error.column or 1,
        ) from None  # fmt: skip
    except (RecursionError, ArithmeticError, ValueError, TypeError, LookupError) as error:
        raise RuleError(
            gettext("The expression cannot be computed (%(name)s).", name=type(error).__name__),
            gettext("Write it simpler."),
        ) from None
    if not isinstance(value, bool | celpy.celtypes.BoolType):
        raise RuleError(
            gettext("The expression gives no yes or no."), gettext("Compare the fact with something.")
        )


def nested(facts: Mapping[str, Any]) -> dict[str, Any]:
    """{"licence.category": x} -> {"licence": {"category": x}} in CEL's types."""
    tree: dict[str, Any] = {}
    for name, value in facts.items():
        group, _, rest = name.partition(".")
        tree.setdefault(group, {})[rest] = value
    return {group: celpy.json_to_cel(values) for group, values in tree.items()}


def _run(expression: Expression, activation: Mapping[str, Any]) -> Any:
    runner = celpy.InterpretedRunner(_environment, expression.tree)
    evaluator = _Counting(expression.tree, activation=runner.new_activation())
    evaluator.steps, evaluator.until = [0], time.monotonic() + MAX_SECONDS
    return evaluator.evaluate(dict(activation))


def holds(expression: Expression, facts: Mapping[str, Any]) -> bool:
    """The expression over known facts. Raises ValueError when it cannot be computed: the caller fails closed."""
    used = expression.reads | expression.asked
    groups: dict[str, Any] = {name.partition(".")[0] + "._": None for name in used}
    try:
        value = _run(expression, nested({**groups, **{name: facts[name] for name in used if name in facts}}))
    except (CELEvalError, TooExpensive, RecursionError, ArithmeticError, TypeError, LookupError) as error:
        raise ValueError(str(error)[:200]) from None
    return bool(value)
