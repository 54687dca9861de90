"""What the README tells a stranger to type exists: make targets, addresses with their verb, linked files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.urls import resolve

from registry.access import declared_access

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
CURLS = [line for line in re.sub(r"\n  +", " ", TEXT).splitlines() if line.startswith("curl")]


def test_readme_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"^make ([a-z-]+)", TEXT, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("line", [line for line in CURLS if "$API" in line], ids=lambda line: line[:60])
def test_readme_address_answers_that_verb(line: str) -> None:
    address = re.search(r"\$API(/[^\s\"?]*)", line)
    assert address
    verb = "PUT" if "-X PUT" in line else "POST" if " -d " in line or " -F " in line else "GET"
    access = declared_access(resolve(f"/api/v1{address[1]}").func)
    assert access is not None
    assert verb in access


def test_readme_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (ROOT / target).exists(), target
