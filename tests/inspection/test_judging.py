"""The tables behind the judgements: licences, names, pickles on paper."""

from __future__ import annotations

import pickle

import pytest

from registry.inspection.containers import pickle_kind
from registry.inspection.licence import (
    HUB_IDS,
    contradiction_with_base,
    family_of_text,
    licence_index,
    look_up,
)
from registry.inspection.names import KNOWN_ORGANISATIONS, resembles


def test_each_row_of_the_own_table_leads_to_a_licence_or_to_a_person() -> None:
    assert len(HUB_IDS) == 31
    for identifier, key in HUB_IDS.items():
        assert not key or key in licence_index(), identifier
        assert look_up(identifier)["category"] != "Needs review" or not key


@pytest.mark.parametrize(
    ("declared", "category", "non_commercial", "no_derivatives"),
    [
        ("apache-2.0", "Permissive", False, False),
        ("Apache-2.0", "Permissive", False, False),
        ("mit", "Permissive", False, False),
        ("gpl-3.0", "Copyleft", False, False),
        ("cc-by-nc-4.0", "Source-available", True, False),
        ("cc-by-nd-4.0", "Source-available", False, True),
        ("cc-by-nc-nd-4.0", "Source-available", True, True),
        ("llama3.1", "Proprietary Free", False, False),
        ("llama3", "Needs review", False, False),
        ("fair-noncommercial-research-license", "Needs review", True, False),
        ("never heard of", "Needs review", False, False),
        ("", "Needs review", False, False),
    ],
)
def test_licence_is_looked_up(
    declared: str, category: str, non_commercial: bool, no_derivatives: bool
) -> None:
    found = look_up(declared)
    assert (found["category"], found["non_commercial"], found["no_derivatives"]) == (
        category, non_commercial, no_derivatives,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ("                    Apache License\n              Version 2.0, January 2004", "apache-2.0"),
        (
            "MIT License\n\nPermission is hereby granted, free of charge, to any person obtaining a copy",
            "mit",
        ),
        ("GNU AFFERO GENERAL PUBLIC LICENSE\nVersion 3", "agpl"),
        ("GNU LESSER GENERAL PUBLIC LICENSE\n... the GNU General Public License", "lgpl"),
        ("Creative Commons Attribution-NonCommercial-NoDerivatives 4.0 International", "cc-by-nc-nd"),
        ("Attribution-ShareAlike 4.0 International", "cc-by-sa"),
        ("Do as you like, but not on Mondays.", ""),
    ],
)
def test_first_words_of_a_licence_file_tell_its_family(text: str, family: str) -> None:
    assert family_of_text(text) == family


@pytest.mark.parametrize(
    ("own", "base", "words"),
    [
        ("apache-2.0", "cc-by-nc-4.0", "forbids commercial use"),
        ("mit", "gemma", "cannot drop those conditions"),
        ("mit", "my-terms", "cannot judge"),
        ("apache-2.0", "mit", ""),
        ("cc-by-nc-4.0", "cc-by-nc-4.0", ""),
        ("apache-2.0", "", ""),
    ],
)
def test_licence_of_the_base_model_is_compared(own: str, base: str, words: str) -> None:
    said = contradiction_with_base([look_up(own)], "acme/base", base)
    assert words in said and bool(said) == bool(words)


@pytest.mark.parametrize("organisation", KNOWN_ORGANISATIONS)
def test_a_known_organisation_resembles_nobody(organisation: str) -> None:
    assert resembles(f"{organisation}/model") == ""


@pytest.mark.parametrize(
    "owner", ["acme", "vingroup", "my-company", "intern", "apps", "fpt-ai", "zalo", "nlp-lab"]
)
def test_an_ordinary_owner_resembles_nobody(owner: str) -> None:
    assert resembles(f"{owner}/model") == ""


@pytest.mark.parametrize(
    "text",
    [
        "", "c\nb\na\n", "I love it.\n", "[PAD]\n[UNK]\nthe\n", "#version: 0.2\nt h\n", "{}", "MIT License\n",
        "Permission is hereby granted\nto any person.\n", "(see below)\n", "Nobody knows.\n", "}\n", "the\nof\nand\n.",
        "Copyright 2024\n", "cos\nsystem\n", "S'text'\n", "# Model\n\ncos(x)\n", "ok\n", "0\n1\n2\n", "],\n",
    ],
)  # fmt: skip
def test_honest_text_is_no_pickle(text: str) -> None:
    assert pickle_kind(text.encode()) is None


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("value", [{"a": [1, 2.5]}, ["x", "y", "z"], (1, {"b": None})], ids=str)
def test_pickled_data_is_a_pickle(protocol: int, value: object) -> None:
    assert pickle_kind(pickle.dumps(value, protocol)) is not None
