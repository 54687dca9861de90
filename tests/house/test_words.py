"""Sentences for people go through the catalogue, and what is kept of them is English whoever was looking."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.utils.translation import gettext_lazy, override

from config.errors import note_refusal
from registry import audit, stored_words
from registry.enums import Role
from registry.exceptions import NotAllowed
from registry.inspection import python_code
from registry.models import AccessEvent, AuditEvent
from registry.permissions import Action, check
from registry.stored_words import retold
from registry.words import both, either, english, gettext, joined, lowered, ngettext
from reviews.policies.documents import default_policy
from reviews.policies.words import SHIPPED
from tests.factories import World

ROOT = Path(__file__).resolve().parents[2]
REFUSALS = {
    "NotAllowed",
    "Conflict",
    "InvalidInput",
    "NotFound",
    "NotAvailable",
    "PolicyError",
    "RuleError",
    "TooManyAttempts",
}
TRANSLATES = {"gettext", "ngettext", "joined", "title_of"}
# What only programs and operators meet: the API's own parsers and parameters, the Hub endpoint, lock files, what consumers
# are told, files and the store. It stays English (ADR 0012).
FOR_PROGRAMS = re.compile(
    r"^(registry/(api|gateway|inspection)/|reviews/api/|inference/api/|registry/(consumption|lock|store|store_s3|signing|intake"
    r"|inspecting|jobs)\.py|inference/(engine|server|child|evaluations|probing)|.*/(migrations|management|demo)/)"
)
# Refusals whose sentence was made elsewhere, from words that were marked there: {file: names}.
PASSED_ON = {
    "registry/access.py": {"refusal"},
    "registry/inspecting.py": {"str"},
    "reviews/code_audits/judging.py": {"why"},
    "reviews/policies/documents.py": {"sentence", "words"},
    "reviews/policies/language.py": {"how"},
    "reviews/votes.py": {"reason"},
}


def sources() -> Iterator[tuple[str, ast.Module]]:
    for folder in ("registry", "reviews", "inference"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            if not FOR_PROGRAMS.match(name):
                yield name, ast.parse(path.read_text(encoding="utf-8"))


def called(node: ast.AST) -> str:
    if isinstance(node, ast.Call):
        return getattr(node.func, "id", "") or getattr(node.func, "attr", "")
    return ""


def bare_sentences(name: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if called(node) not in REFUSALS or not isinstance(node, ast.Call) or not node.args:
            continue
        first = node.args[0]
        if called(first) in TRANSLATES or called(first) in PASSED_ON.get(name, ()):
            continue
        if isinstance(first, ast.IfExp) and all(
            called(each) in TRANSLATES for each in (first.body, first.orelse)
        ):
            continue
        root = first
        while isinstance(root, ast.Call | ast.Attribute | ast.BinOp | ast.Subscript):
            root = (
                root.func
                if isinstance(root, ast.Call)
                else root.value
                if isinstance(root, ast.Attribute | ast.Subscript)
                else root.left
            )
        if isinstance(root, ast.Name) and root.id in PASSED_ON.get(name, ()):
            continue
        yield f"{name}:{node.lineno} {ast.unparse(first)[:80]}"


def test_every_refusal_goes_through_the_catalogue() -> None:
    found = [sentence for name, tree in sources() for sentence in bare_sentences(name, tree)]
    assert found == [], "wrap the sentence in registry.words.gettext"


def test_a_bare_refusal_is_found() -> None:
    tree = ast.parse(
        'raise Conflict(f"It is {state}.")\nraise NotAllowed("No.")\nraise NotFound(gettext("Gone."))'
    )
    assert len(list(bare_sentences("reviews/x.py", tree))) == 2


def reason_functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and re.match(
            r"_?(check|missing|blocking|reason|why|headline)_?", node.name
        ):
            yield node


def test_sentences_of_checks_and_reasons_go_through_the_catalogue() -> None:
    """Sentences, that is: a capital letter first, a full stop last. What is kept in English is named."""
    kept = {"No licence is declared.", "Not approved: no consumer can get this revision."}
    found = []
    for name, tree in sources():
        for function in reason_functions(tree):
            inside = {
                id(n) for call in ast.walk(function) if called(call) in TRANSLATES for n in ast.walk(call)
            }
            body = function.body[1:] if ast.get_docstring(function) else function.body
            for node in (each for statement in body for each in ast.walk(statement)):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
                    text = node.value.strip()
                    if re.match(r"[A-Z].* .*\.$", text) and text not in kept:
                        found.append(f"{name}:{node.lineno} {text[:80]}")
    assert found == []


# --- Told: a sentence remembers its English ---------------------------------------------------------------------------


def test_sentence_is_in_the_readers_language_and_remembers_english() -> None:
    with override("vi"):
        told = gettext("Sign in first.")
        assert (told, english(told)) == ("Hãy đăng nhập trước.", "Sign in first.")


def test_what_is_filled_in_is_remembered_in_english_too() -> None:
    with override("vi"):
        needed = either([lowered(gettext_lazy("Viewer")), lowered(Role.ADMIN.label)])
        told = gettext(
            "To %(action)s you need the role %(needed)s in this team. Ask an admin of the team.",
            action=gettext("submit a model"), needed=needed,
        )  # fmt: skip
    assert (
        told == "Để gửi model, bạn cần vai trò người xem hoặc admin trong đội này. Hãy nhờ một admin của đội."
    )
    assert english(told) == (
        "To submit a model you need the role viewer or admin in this team. Ask an admin of the team."
    )


def test_joined_counted_and_nested_words() -> None:
    with override("vi"):
        votes = ngettext("%(n)s run", "%(n)s runs", 2)
        assert (str(votes), english(votes)) == ("2 lượt chạy", "2 runs")
        together = joined([gettext("It holds."), "x"])
        assert (str(together), english(together)) == ("Thỏa. x", "It holds. x")
        assert english(both(["a", "b"])) == "a and b" and str(both(["a", "b"])) == "a và b"
        assert english({"of": [gettext_lazy("Viewer"), 3]}) == {"of": ["Viewer", 3]}


def test_percent_signs_without_names_stay() -> None:
    assert gettext("100 % of it") == "100 % of it"


# --- what is kept --------------------------------------------------------------------------------------------------------


def test_audit_event_is_english_whoever_acted(world: World) -> None:
    with override("vi"):
        audit.record_access(actor=world.viewer, verb="access.denied", action="x", code="y")
        audit.record(
            actor=world.admin,
            verb="membership.granted",
            subject=world.team,
            member="A",
            role=Role.ADMIN.label,
        )
    event = AuditEvent.objects.latest("seq")
    assert json.loads(event.body)["data"]["role"] == "Admin"


def test_refusal_is_noted_in_english(world: World) -> None:
    with override("vi"), pytest.raises(NotAllowed) as refused:
        check(world.viewer, Action.SUBMIT_MODEL)
    assert refused.value.message.startswith("Để gửi model")
    with override("vi"):
        note_refusal(refused.value, world.viewer)
    noted = json.loads(AccessEvent.objects.latest("seq").body)["data"]["action"]
    assert noted.startswith("To submit a model you need the role admin or submitter")


def test_kept_event_is_read_in_the_readers_language(world: World) -> None:
    audit.record(
        actor=world.admin, verb="membership.granted", subject=world.team, member="Lan", role="Reviewer"
    )
    event = AuditEvent.objects.latest("seq")
    with override("vi"):
        assert "đã giao cho Lan vai trò Reviewer" in audit.shown([event])[0].sentence
    assert "made Lan Reviewer" in audit.shown([event])[0].sentence


# --- sentences that are kept in English and said again -----------------------------------------------------------------

SAYS = {"warn", "fail", "info", "say"}
WRITERS = [
    *sorted((ROOT / "registry/inspection").glob("*.py")),
    ROOT / "registry/provenance.py",
    ROOT / "registry/probes.py",
]
HOLE = "README.md"


def said_by(path: Path) -> Iterator[str]:
    """Messages and advice that an inspector writes, with a word in each place that is filled in."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SAYS:
            for argument in node.args:
                for each in (
                    (argument.body, argument.orelse) if isinstance(argument, ast.IfExp) else (argument,)
                ):
                    text = ""
                    if isinstance(each, ast.JoinedStr):
                        text = "".join(
                            str(v.value) if isinstance(v, ast.Constant) else HOLE for v in each.values
                        )
                    elif isinstance(each, ast.Constant) and isinstance(each.value, str):
                        text = each.value
                    if re.search(r"[a-z] [a-z].*[.?]$", text):
                        yield text


@pytest.mark.parametrize("path", WRITERS, ids=lambda path: path.stem)
def test_findings_are_said_again(path: Path) -> None:
    with override("vi"):
        assert [text for text in said_by(path) if retold(text) == text] == [], (
            "add it to registry/stored_words.py"
        )


def test_inspectors_say_something() -> None:
    assert sum(len(list(said_by(path))) for path in WRITERS) > 80


def test_flags_of_code_are_said_again() -> None:
    reasons = {why for _, why in python_code._CALLS} | set(python_code._ATTRIBUTES.values())
    with override("vi"):
        assert sorted(why for why in reasons if retold(why) == why) == []


def test_words_of_the_shipped_policy_are_in_the_catalogue() -> None:
    document = default_policy()
    said = {document.title}
    for rule in document.rules:
        said |= {rule.title, rule.met, rule.message, rule.missing, rule.who, rule.help}
    assert said - {""} == set(SHIPPED)


@pytest.mark.parametrize(
    ("kept", "read"),
    [
        ("Intake of acme/x at main", "Intake acme/x tại main"),
        ("The key auto_map.AutoModel makes a loader run code of the repository.",
         "Khóa auto_map.AutoModel khiến chương trình nạp chạy mã nguồn của repo."),
        ("a%sb and words of a person", "a%sb and words of a person"),
        ("", ""),
    ],
)  # fmt: skip
def test_kept_sentence_is_said_again_with_what_was_filled_in(kept: str, read: str) -> None:
    with override("vi"):
        assert retold(kept) == read
    assert retold(kept) == kept


def test_no_kept_sentence_is_all_hole() -> None:
    """A pattern without words of its own would take every text for itself."""
    bare = [text for text in stored_words.KEPT if len(re.sub(r"%\(\w+\)s", "", text).strip()) < 3]
    assert bare == []
