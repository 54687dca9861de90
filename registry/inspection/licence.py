"""What the licence says, as far as a table can say it: the LicenseDB's categories and our own rows for the Hub's ids.

Nothing here is legal advice. Whatever is not in a table needs review by a person.
"""

from __future__ import annotations

import functools
import json
import re
from importlib import resources
from typing import Any

from registry.inspection.findings import Inspection

REVIEW = "Needs review"
MAX_LICENCE_BYTES = 256 * 1024

# The Hub's ids that LicenseDB does not know by name: LicenseDB's key, or "" where only a person can tell.
HUB_IDS: dict[str, str] = {
    "bigscience-bloom-rail-1.0": "bigscience-rail-1.0",
    "bigscience-openrail-m": "bigscience-open-rail-m",
    "bigcode-openrail-m": "bigcode-open-rail-m-v1",
    "creativeml-openrail-m": "stable-diffusion-2022-08-22",
    "llama2": "llama-2-license-2023",
    "llama3.1": "llama-3.1-license-2024",
    "llama3.2": "llama-3.2-license-2024",
    "llama3.3": "llama-3.3-license-2024",
    "llama4": "llama-4-cla-2025",
    "gemma": "gemma-tou-2024-04-01",
    "odc-by": "odc-by-1.0",
    "odbl": "odbl-1.0",
    "pddl": "pddl-1.0",
    "c-uda": "c-uda-1.0",
    "lgpl-lr": "lgpllr",
    "llama3": "",
    "openrail": "",
    "openrail++": "",
    "bsd": "",
    "cc": "",
    "lgpl": "",
    "gfdl": "",
    "other": "",
    "unknown": "",
    "h-research": "",
    "intel-research": "",
    "apple-amlr": "",
    "deepfloyd-if-license": "",
    "fair-noncommercial-research-license": "",
    "grok2-community": "",
    "openmdw-1.1": "",
}

# First words of well-known licence files. Enough to see a contradiction with the card, not to prove a licence.
_TEXTS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), family)
    for pattern, family in (
        (r"apache\s+license\s*,?\s*version\s+2\.0", "apache-2.0"),
        (r"permission is hereby granted, free of charge, to any person obtaining a copy", "mit"),
        (r"gnu affero general public license", "agpl"),
        (r"gnu lesser general public license", "lgpl"),
        (r"gnu general public license", "gpl"),
        (r"mozilla public license", "mpl"),
        (r"redistribution and use in source and binary forms", "bsd"),
        (r"(creative commons )?attribution-?\s*non-?commercial-?\s*share-?alike", "cc-by-nc-sa"),
        (r"(creative commons )?attribution-?\s*non-?commercial-?\s*no-?derivatives", "cc-by-nc-nd"),
        (r"(creative commons )?attribution-?\s*non-?commercial", "cc-by-nc"),
        (r"(creative commons )?attribution-?\s*no-?derivatives", "cc-by-nd"),
        (r"(creative commons )?attribution-?\s*share-?alike", "cc-by-sa"),
        (r"creative commons attribution|attribution 4\.0 international", "cc-by"),
        (r"cc0|creative commons zero", "cc0"),
        (r"(meta )?llama \d(\.\d)? community license", "llama"),
        (r"gemma terms of use", "gemma"),
        (r"openrail|open rail|responsible ai license", "rail"),
    )
)
_RESTRICTED = {
    "non_commercial": re.compile(
        r"(^|-)nc(-|$)|non-?commercial|research(-only)?($|-)|apple-amlr|deepfloyd", re.I
    ),
    "no_derivatives": re.compile(r"(^|-)nd(-|$)|no-?deriv", re.I),
}


@functools.cache
def licence_index() -> dict[str, dict[str, Any]]:
    """LicenseDB by every name that it knows, lower case."""
    text = (
        resources.files("license_expression")
        .joinpath("data/scancode-licensedb-index.json")
        .read_text(encoding="utf-8")
    )
    found: dict[str, dict[str, Any]] = {}
    for entry in json.loads(text):
        names = [
            entry.get("license_key"),
            entry.get("spdx_license_key"),
            *entry.get("other_spdx_license_keys", []),
        ]
        for name in names:
            if name:
                found.setdefault(str(name).lower(), entry)
    return found


def look_up(declared: str) -> dict[str, Any]:
    """{"id", "spdx", "category", "non_commercial", "no_derivatives"}; the category is "Needs review" for anything unmapped."""
    identifier = declared.strip().lower()
    mapped = HUB_IDS.get(identifier, identifier)
    entry = licence_index().get(mapped) if mapped else None
    spdx = str(entry.get("spdx_license_key") or "") if entry else ""
    words = f"{identifier} {mapped}"
    return {
        "id": declared[:120],
        "spdx": "" if spdx.startswith("LicenseRef") else spdx,
        "category": str(entry.get("category") or REVIEW) if entry else REVIEW,
        **{
            name: any(pattern.search(word) for word in words.split()) for name, pattern in _RESTRICTED.items()
        },
    }


def family_of_text(text: str) -> str:
    """The family a licence file seems to belong to, "" when its first words are not known.

    The first match in the text counts: a licence often names others further down.
    """
    first = " ".join(text[:4000].split())
    found = [
        (match.start(), -len(match.group(0)), family)
        for pattern, family in _TEXTS
        if (match := pattern.search(first))
    ]
    return min(found)[2] if found else ""


def _same_family(declared: str, family: str) -> bool:
    identifier = declared.lower()
    if family in ("cc-by", "cc-by-nc", "cc-by-sa", "cc-by-nd", "cc-by-nc-sa", "cc-by-nc-nd"):
        return bool(re.fullmatch(rf"{family}(-\d.*)?", identifier))
    if family == "rail":
        return "rail" in identifier
    return identifier.startswith(family)


def inspect_licence(card_data: dict[str, Any], licence_files: dict[str, str]) -> Inspection:
    """`licence_files` = path -> text. Facts: `declared` (one entry a licence), `files` {path: family}, `needs_review`."""
    result = Inspection()
    raw = card_data.get("license")
    declared = [str(item) for item in (raw if isinstance(raw, list) else [raw]) if item not in (None, "")]
    known = [look_up(item) for item in declared]
    families = {path: family_of_text(text) for path, text in sorted(licence_files.items())}
    for entry in known:
        _say(entry, result)
    if any(entry["id"].lower() == "other" for entry in known):
        for key in ("license_name", "license_link"):
            if not card_data.get(key):
                result.warn(
                    "README.md",
                    f"The licence is 'other' and the card does not give {key}.",
                    "Ask the author which licence this is and where its text lies.",
                    key=key,
                )
    for path, family in families.items():
        if family and declared and not any(_same_family(item, family) for item in declared):
            if not any(entry["id"].lower() in ("other", "unknown") for entry in known):
                result.fail(
                    path,
                    f"The card declares {', '.join(declared)}, the file {path} reads like {family}.",
                    "The two contradict each other. Ask the author which one is meant; until then the stricter one counts.",
                )
        elif not family:
            result.warn(path, "This licence file's text is not one that Assay knows.", "Let legal read it.")
    if not declared and families:
        result.warn("README.md", f"Only {', '.join(families)} says something about the licence.", "Read it.")
    result.facts = {
        "declared": known,
        "files": families,
        "name": str(card_data.get("license_name") or "")[:200],
        "link": str(card_data.get("license_link") or "")[:500],
        "needs_review": not known or any(entry["category"] == REVIEW for entry in known),
        "base_models": _base_models(card_data),
    }
    return result


def _say(entry: dict[str, Any], result: Inspection) -> None:
    name = entry["id"]
    if entry["category"] == REVIEW:
        result.warn(
            "README.md",
            f"The licence {name!r} is not one that a table can judge.",
            "Let legal read it.",
            key="license",
        )
    elif entry["category"] not in ("Permissive", "Public Domain"):
        result.warn(
            "README.md",
            f"The licence {name!r} is of the category “{entry['category']}”, so it has conditions.",
            "Read its conditions against your use case.",
            key="license",
        )
    if entry["non_commercial"]:
        result.warn(
            "README.md",
            f"The licence {name!r} forbids commercial use.",
            "Do not use it in a product.",
            key="license",
        )
    if entry["no_derivatives"]:
        result.warn(
            "README.md",
            f"The licence {name!r} forbids derivatives.",
            "Do not fine-tune or quantise it.",
            key="license",
        )


def _base_models(card_data: dict[str, Any]) -> list[str]:
    raw = card_data.get("base_model")
    return [str(item)[:200] for item in (raw if isinstance(raw, list) else [raw]) if item][:20]


def contradiction_with_base(own: list[dict[str, Any]], base: str, base_licence: str) -> str:
    """A sentence when this model promises more than the model it was made from allows; "" when nothing is seen."""
    if not base_licence or not own:
        return ""
    parent = look_up(base_licence)
    mine = own[0]
    for flag, what in (("non_commercial", "commercial use"), ("no_derivatives", "derivatives")):
        if parent[flag] and not mine[flag]:
            return f"The card declares {mine['id']}, but its base model {base} is under {base_licence}, which forbids {what}."
    if parent["category"] == REVIEW:
        return f"The base model {base} is under {base_licence!r}, which a table cannot judge."
    open_kinds = ("Permissive", "Public Domain")
    if mine["category"] in open_kinds and parent["category"] not in open_kinds:
        return (
            f"The card declares {mine['id']} ({mine['category']}), but its base model {base} is under {base_licence} "
            f"({parent['category']}): a derived model cannot drop those conditions."
        )
    return ""
