"""Two languages: nothing marked for translation is left untranslated, and the switch does what it says."""

from __future__ import annotations

import ast
import gettext
import re
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.translation import override
from django.utils.translation.template import templatize

from tests.factories import World
from tests.pages.test_pages import Story, signed_in


@pytest.fixture
def story(world: World) -> Story:
    return Story(world)


ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "locale/vi/LC_MESSAGES"
_CALL = re.compile(
    r"""(?<![\w.])n?gettext\(\s*u?(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|_\(\s*(?P<short>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
)
MARKERS = {"_", "gettext", "gettext_lazy", "gettext_noop", "ngettext"}


def marked_in_templates() -> set[str]:
    found: set[str] = set()
    for path in (ROOT / "templates").rglob("*.html"):
        source = templatize(path.read_text(encoding="utf-8"), origin=str(path))
        for match in _CALL.finditer(source):
            found.add(ast.literal_eval(match["text"] or match["short"]))
    return found


def marked_in_code() -> set[str]:
    found: set[str] = set()
    for folder in ("config", "registry", "inference", "reviews"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") in MARKERS and node.args:
                    first = node.args[0]
                    if isinstance(first, ast.Constant) and isinstance(first.value, str):
                        found.add(first.value)
    return found


def catalogue() -> dict[str, str]:
    """The .po file: {msgid: msgstr}, of a plural its first form. Only what this file's own shape needs is read."""
    entries: dict[str, str] = {}
    for block in (FOLDER / "django.po").read_text(encoding="utf-8").split("\n\n"):
        texts: dict[str, str] = {}
        name = ""
        for line in block.splitlines():
            if match := re.match(r'(msgid|msgid_plural|msgstr|msgstr\[0\]) (".*")$', line):
                name = match[1].removesuffix("[0]")
                texts[name] = ast.literal_eval(match[2])
            elif line.startswith('"') and name:
                texts[name] += ast.literal_eval(line)
        if texts.get("msgid"):
            entries[texts["msgid"]] = texts.get("msgstr", "")
    return entries


def test_every_marked_word_is_translated() -> None:
    marked, known = marked_in_templates() | marked_in_code(), catalogue()
    assert len(marked) > 100
    assert sorted(word for word in marked if not known.get(word)) == [], "run `make messages`, then translate"


def test_catalogue_holds_nothing_that_is_gone() -> None:
    assert sorted(set(catalogue()) - marked_in_templates() - marked_in_code()) == []


def test_translations_keep_the_names_to_fill_in() -> None:
    names = re.compile(r"%\(\w+\)[sd]")
    wrong = [
        text
        for text, told in catalogue().items()
        if sorted(names.findall(text)) != sorted(names.findall(told))
    ]
    assert wrong == []


def test_compiled_file_is_the_catalogue() -> None:
    with (FOLDER / "django.mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    read = {key if isinstance(key, str) else key[0]: text for key, text in compiled._catalog.items()}  # type: ignore[attr-defined]
    read.pop("", None)
    assert read == catalogue(), "run `make messages`"


def test_switch_changes_the_page_and_comes_back_to_it(world: World) -> None:
    client = signed_in(world.reviewer)
    address = reverse("review_list")
    answer = client.post(reverse("language_switch"), {"language": "vi", "next": address})
    assert (answer.status_code, answer.headers["Location"]) == (302, address)
    page = client.get(address).content.decode()
    assert '<html lang="vi">' in page and "Trang chủ" in page
    client.post(reverse("language_switch"), {"language": "en", "next": address})
    assert '<html lang="en">' in client.get(address).content.decode()


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example/", "javascript:alert(1)"])
def test_switch_goes_back_to_local_addresses_only(world: World, target: str) -> None:
    answer = signed_in(world.reviewer).post(reverse("language_switch"), {"language": "vi", "next": target})
    assert "evil" not in answer.headers["Location"] and answer.headers["Location"].startswith("/")


def test_review_is_asked_in_the_readers_language(story: Story) -> None:
    address = story.addresses["review"]
    page = signed_in(story.world.reviewer).get(address, headers={"Accept-Language": "vi"}).content.decode()
    assert "Ngôn ngữ và locale" in page and "Có được dùng commercial/internal không?" in page
    assert "Language and locale" not in page


def test_state_votes_record_and_buttons_are_in_the_readers_language(story: Story) -> None:
    address = story.addresses["review"]
    client = signed_in(story.world.reviewer)
    page = client.get(address, headers={"Accept-Language": "vi"}).content.decode()
    for word in ("Đang review", "Yêu cầu sửa", "Hỏi legal", "Bản ghi quyết định", "chưa nêu", "0 trên 2 phiếu",
                 "Một reviewer hoặc security auditor", "Rủi ro trung bình:"):  # fmt: skip
        assert word in page, word
    for word in ("In review", "Request changes", "Decision record", "not stated"):
        assert word not in page, word
    for word in ("In review", "Request changes", "Decision record", "0 of 2 votes", "Medium risk:"):
        assert word in client.get(address).content.decode(), word


def test_stranger_with_a_vietnamese_browser_can_sign_in(client: Client, db: None) -> None:
    answer = client.get(reverse("login"), headers={"Accept-Language": "vi,en;q=0.5"})
    assert answer.status_code == 200


def test_language_of_one_request_does_not_stay_for_the_next(story: Story) -> None:
    client = signed_in(story.world.reviewer)
    client.get(story.addresses["review"], headers={"Accept-Language": "vi"})
    with override(None):
        assert '<html lang="en">' in client.get(story.addresses["review"]).content.decode()
